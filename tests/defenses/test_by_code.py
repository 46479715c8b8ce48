"""Loops over codes give what all distances at once give."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.defenses import by_code, discretize

NORMS = pytest.mark.parametrize('norm', discretize.NORMS)


@pytest.fixture
def x():
  return np.random.default_rng(0).random((6, 5, 3), np.float32)


@pytest.fixture(params=(2, 37, 40))  # rounds of 1, of 1 and of 8
def codes(request):
  return np.random.default_rng(1).random((request.param, 3), np.float32)


def at_once(x, codes, alpha, norm):
  """The formula of paper A, by JAX's own derivatives."""
  distance = discretize.channel_distance(x, codes, norm)
  weights = jax.nn.softmax(-alpha * distance, axis=-1)
  return jnp.matmul(weights, codes, precision='highest')


@NORMS
def test_the_nearest_is_that_of_numpy(x, codes, norm):
  order = {'linf': np.inf, 'l2': 2, 'l1': 1}[norm]
  distances = np.linalg.norm(
    x[..., None, :].astype(np.float64) - codes, order, axis=-1
  )
  got = by_code.nearest(x, codes, norm)
  np.testing.assert_array_equal(got, distances.argmin(-1))


def test_ties_go_to_the_lowest():
  codes = np.float32([[0.75], [0.25], [0.75], [0.5]])
  x = np.float32([[0.625], [0.375], [0.75]])
  assert by_code.nearest(x, codes, 'l1').tolist() == [0, 1, 0]


@NORMS
def test_values_and_derivatives_are_those_of_the_formula(x, codes, norm):
  given = (jnp.asarray(x), jnp.asarray(codes), jnp.float32(20.0))

  def total(fn):
    return jax.jit(
      jax.value_and_grad(
        lambda *given: (fn(*given, norm) ** 2).sum(), argnums=(0, 1, 2)
      )
    )

  value, slopes = total(by_code.soft)(*given)
  expected, expected_slopes = total(at_once)(*given)
  # Sums of up to 40 codes in another order; slopes carry a factor alpha.
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  for slope, expected in zip(slopes, expected_slopes, strict=True):
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=2e-4)


def test_forward_and_reverse_agree_and_vmap_is_a_loop(x, codes):
  soft = jax.jit(lambda x: by_code.soft(x, codes, 20.0, 'linf'))
  direction = jnp.ones_like(x)
  _, forward = jax.jvp(soft, (x,), (direction,))
  value, back = jax.vjp(soft, x)
  (reverse,) = back(jnp.ones_like(value))
  np.testing.assert_allclose(forward.sum(), reverse.sum(), rtol=1e-4)
  two = np.stack([x, x[::-1]])
  looped = np.stack([soft(one) for one in two])
  np.testing.assert_allclose(jax.vmap(soft)(two), looped, rtol=1e-6)


def in_float64(x, codes, alpha, norm, slope):
  """Derivative of <slope, g> by pairs of codes, without a cancellation."""
  x, codes = np.float64(x), np.float64(codes)
  apart = x[:, None] - codes
  sizes = abs(apart)
  if norm == 'l1':
    distance, slopes = sizes.sum(-1), np.sign(apart)
  elif norm == 'l2':
    distance = np.sqrt((apart**2).sum(-1))
    slopes = apart / np.maximum(distance, 1e-300)[..., None]
  else:
    distance = sizes.max(-1)
    tied = sizes == distance[..., None]
    slopes = np.sign(apart) * tied / tied.sum(-1, keepdims=True)
  weights = np.exp(-alpha * (distance - distance.min(-1, keepdims=True)))
  weights /= weights.sum(-1, keepdims=True)
  found = np.zeros_like(x)
  for i, j in itertools.combinations(range(len(codes)), 2):
    both = weights[:, i] * weights[:, j] * ((codes[i] - codes[j]) @ slope)
    found -= alpha * both[:, None] * (slopes[:, i] - slopes[:, j])
  return found


@pytest.mark.parametrize('num_codes, alpha', [(2, 25.5), (4, 100.0)])
@pytest.mark.parametrize('how', [lambda fn: fn, jax.jit], ids=['eager', 'jit'])
def test_derivatives_are_right_relative_to_their_size(num_codes, alpha, how):
  x = np.linspace(0, 1, 1001, dtype=np.float32)[:, None]
  codes = np.linspace(0, 1, num_codes, dtype=np.float32)[:, None]
  total = lambda x: by_code.soft(x, codes, alpha, 'linf').sum()
  got = how(jax.grad(total))(x)
  expected = in_float64(x, codes, alpha, 'linf', np.ones(1))
  assert abs(expected).min() < 1e-9  # of one weight, rounding leaves nothing
  # alpha times distances of up to 1, each rounded to 6e-8.
  np.testing.assert_allclose(got, expected, rtol=1e-5)


@NORMS
def test_derivatives_in_color_are_right_relative_to_their_size(norm, x):
  codes = np.random.default_rng(2).random((8, 3), np.float32)
  slope = np.float32([0.3, -1.0, 0.7])
  x = np.concatenate([x.reshape(-1, 3), codes])  # distances of 0, too
  total = lambda x: (by_code.soft(x, codes, 60.0, norm) @ slope).sum()
  got = jax.grad(total)(x)
  expected = in_float64(x, codes, 60.0, norm, slope)
  size = np.linalg.norm(expected, axis=-1)
  assert size.min() < 1e-7  # less than rounding leaves of a weight
  # As above; derivatives of some codes cancel in part.
  assert (np.linalg.norm(got - expected, axis=-1) <= 1e-4 * size).all()


@NORMS
@pytest.mark.parametrize('num_codes', [2, 5, 16])
def test_outside_the_codes_of_a_channel_derivatives_are_zero(num_codes, norm):
  codes = np.linspace(0.1, 0.8, num_codes, dtype=np.float32)[:, None]
  x = np.concatenate([np.linspace(-0.2, 0.099, 99), np.linspace(0.801, 1.2)])
  total = lambda x: by_code.soft(x, codes, 10.0, norm).sum()
  for fn in (jax.grad(total), jax.jit(jax.grad(total))):
    np.testing.assert_array_equal(fn(np.float32(x)[:, None]), 0)


@NORMS
def test_at_a_code_and_far_away_slopes_are_finite(codes, norm):
  x = jnp.asarray(codes[:2])[None]
  total = lambda x: by_code.soft(x, codes, 1e4, norm).sum()
  slope = jax.jit(jax.grad(total))(x)
  assert jnp.isfinite(slope).all()


def test_more_codes_need_no_more_memory(x):
  def temporary(num_codes):
    codes = jnp.linspace(0, 1, num_codes * 3).reshape(num_codes, 3)
    total = lambda x: by_code.soft(x, codes, 20.0, 'linf').sum()
    compiled = jax.jit(jax.grad(total)).lower(jnp.asarray(x)).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  # But for the codes themselves, in one order and the other.
  assert temporary(320) - temporary(32) <= 3 * 288 * 3 * 4

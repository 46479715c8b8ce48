"""Loops over codes give what all distances at once give."""

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

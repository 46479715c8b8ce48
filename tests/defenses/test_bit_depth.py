"""Bit depth against whole numbers and the sigmoids of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from rdefense.defenses.bit_depth import bit_depth, bit_depth_steep

KEY = jax.random.key(0)


def column(values):
  return np.asarray(values, np.float32).reshape(1, -1, 1)


def literal(x, num_levels, alpha):
  """The mean of the sigmoids in float64."""
  x = np.asarray(x, np.float64)
  return np.mean(
    [expit(alpha * (x - j / num_levels)) for j in range(1, num_levels)], axis=0
  )


@pytest.mark.parametrize('num_levels', [2, 3, 4, 16, 255])
def test_bytes_are_the_thresholds_in_integers(num_levels):
  byte = np.arange(256)
  got = bit_depth(num_levels).apply(KEY, column(byte) / np.float32(255))
  # b / 255 >= j / k in whole numbers, ties included.
  level = sum(num_levels * byte >= 255 * j for j in range(1, num_levels))
  # One ulp: compiled, a division by a constant may become a product.
  np.testing.assert_allclose(
    got.ravel(), level / (num_levels - 1), rtol=np.finfo(np.float32).eps
  )


def test_four_levels_are_those_of_paper_b():
  x = [0.0, 0.2499, 0.25, 0.4999, 0.5, 0.7499, 0.75, 1.0]
  got = bit_depth().apply(KEY, column(x)).ravel()
  expected = np.array([0, 0, 1, 1, 2, 2, 3, 3]) / 3
  np.testing.assert_allclose(got, expected, rtol=1e-7)


@pytest.mark.parametrize('num_levels, alpha', [(4, 20.0), (4, 40.0), (7, 3.0)])
def test_the_surrogate_is_the_mean_of_sigmoids(num_levels, alpha):
  x = np.random.default_rng(0).uniform(size=(3, 4, 3)).astype(np.float32)
  got = bit_depth(num_levels, alpha).surrogate(KEY, x)
  # alpha (v - j / k) up to 40 in float32 has an error of 4e-6.
  np.testing.assert_allclose(got, literal(x, num_levels, alpha), atol=2e-6)


def test_the_default_steepness_is_ten_per_unit_of_minus_one_to_one():
  x = np.linspace(0, 1, 33)
  u, steps = 2 * x - 1, np.array([-0.5, 0.0, 0.5])
  out = -1 + 2 * expit(10 * (u[:, None] - steps)).sum(1) / 3
  got = bit_depth().surrogate(KEY, column(x)).ravel()
  np.testing.assert_allclose(2 * got - 1, out, atol=4e-6)  # as above


def test_as_alpha_grows_the_surrogate_tends_to_the_steps():
  x = np.linspace(0, 1, 64)  # of 4 thresholds, 1/252 is the nearest distance
  error = [
    float(abs(d.surrogate(KEY, column(x)) - d.apply(KEY, column(x))).max())
    for d in (bit_depth(4, alpha) for alpha in (100, 1000, 10_000))
  ]
  assert error[0] > error[1] > error[2]
  assert error[2] < 1e-6


def test_the_steep_sigmoid_is_a_step_but_near_the_thresholds():
  steep, step = bit_depth_steep(), bit_depth()
  x = column(np.linspace(0, 1, 64))
  np.testing.assert_allclose(steep.apply(KEY, x), step.apply(KEY, x), rtol=1e-6)
  # 1e-4 on [-1, 1] above a threshold, times 1e4.
  near = column([0.5 + 0.5e-4])
  expected = (1 + expit(1.0)) / 3
  # float32 knows the distance 5e-5 from 1/2 to 6e-8.
  np.testing.assert_allclose(steep.apply(KEY, near), expected, atol=1e-3)
  np.testing.assert_array_equal(steep.surrogate(KEY, x), step.surrogate(KEY, x))


@pytest.mark.parametrize('make', [bit_depth, bit_depth_steep])
def test_the_gradient_of_the_surrogate_is_its_finite_difference(make):
  x = np.random.default_rng(1).uniform(size=(2, 3, 2)).astype(np.float32)
  surrogate = make(5, 7.0).surrogate
  got = jax.grad(lambda x: surrogate(KEY, x).sum())(x)
  step, wide = 1e-6, x.astype(np.float64)
  numeric = literal(wide + step, 5, 7.0) - literal(wide - step, 5, 7.0)
  # The float64 quotient is good to 1e-9; slopes are up to 2.
  np.testing.assert_allclose(got, numeric / (2 * step), atol=1e-5)


@pytest.mark.parametrize('alpha', [1e-3, 20.0, 1e30])
def test_gradients_are_finite_at_thresholds_and_far_away(alpha):
  surrogate = bit_depth(4, alpha).surrogate
  x = column([0.0, 0.25, 0.5, 1.0])
  assert np.isfinite(jax.grad(lambda x: surrogate(KEY, x).sum())(x)).all()


@pytest.mark.parametrize('make', [bit_depth, bit_depth_steep])
@pytest.mark.parametrize(
  'arguments, message',
  [
    ((1,), 'num_levels=1 .*at least 2.*constant'),
    ((0,), 'num_levels=0 '),
    ((4, 0.0), 'alpha=0.0 .*positive'),
    ((4, np.inf), 'alpha=inf must be finite'),
    ((4, -1.0), 'alpha=-1.0 '),
  ],
  ids=str,
)
def test_bad_arguments_are_named(make, arguments, message):
  with pytest.raises(ValueError, match=message):
    make(*arguments)


def test_alpha_may_be_traced():
  x = jnp.full((2, 2, 1), 0.3)
  fn = jax.jit(lambda alpha: bit_depth(4, alpha).surrogate(KEY, x))
  np.testing.assert_allclose(fn(20.0), bit_depth().surrogate(KEY, x), rtol=1e-6)

"""Total variation against plain loops in the paper's [-1, 1] units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from rdefense.defenses.total_variation import total_variation

KEY = jax.random.key(0)
DIAGONALS = [(-1, -1), (-1, 1), (1, -1), (1, 1)]


def loops(x, num_steps=20, step_size=0.05, weight=0.2, sign=np.sign):
  """Paper B's steps pixel by pixel on u = 2 x - 1; returns (z + 1) / 2."""
  u = 2 * np.asarray(x, np.float64) - 1
  z = u.copy()
  for _ in range(num_steps):
    new = z.copy()
    for h, w, c in np.ndindex(z.shape):
      pull = 0.0
      for dh, dw in DIAGONALS:
        inside = 0 <= h + dh < z.shape[0] and 0 <= w + dw < z.shape[1]
        neighbour = z[h + dh, w + dw, c] if inside else 0.0
        pull += sign(neighbour - z[h, w, c])
      new[h, w, c] += step_size * (u[h, w, c] - z[h, w, c] + weight * pull)
    z = new
  return (z + 1) / 2


def soft_sign(v):
  return 2 * expit(25 * v) - 1


def image(seed, shape=(5, 6, 3)):
  return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def diagonal_variation(x):
  p = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=0.5)
  return (
    np.abs(p[1:, 1:] - p[:-1, :-1]).sum()
    + np.abs(p[1:, :-1] - p[:-1, 1:]).sum()
  )


@pytest.mark.parametrize('shape', [(5, 6, 3), (7, 4, 1), (1, 1, 1)], ids=str)
def test_the_defaults_are_paper_bs_constants_on_minus_one_to_one(shape):
  x = image(0, shape)
  got = total_variation().apply(KEY, x)
  # Twenty float32 steps; one sign that differs would be an error of 0.01.
  np.testing.assert_allclose(got, loops(x), atol=2e-6)


@pytest.mark.parametrize('shape', [(5, 6, 3), (7, 4, 1)], ids=str)
def test_the_surrogate_has_the_codes_sigmoid_for_the_sign(shape):
  x = image(1, shape)
  got = total_variation().surrogate(KEY, x)
  # Twenty float32 steps of slopes up to 25 times 0.05 times 0.2.
  np.testing.assert_allclose(got, loops(x, sign=soft_sign), atol=5e-6)


def test_other_numbers_of_steps_and_weights():
  x = image(2)
  got = total_variation(3, step_size=0.1, weight=0.4).apply(KEY, x)
  np.testing.assert_allclose(got, loops(x, 3, 0.1, 0.8), atol=1e-6)


def test_no_weight_changes_nothing_and_grey_is_a_fixed_point():
  x = image(3)
  np.testing.assert_array_equal(total_variation(weight=0).apply(KEY, x), x)
  grey = jnp.full((4, 4, 1), 0.5)
  for fn in total_variation():
    np.testing.assert_array_equal(fn(KEY, grey), grey)


@pytest.mark.parametrize('seed', range(2))
def test_the_objective_falls(seed):
  x = image(seed, (16, 16, 3))
  z = np.asarray(total_variation().apply(KEY, x))
  objective = 0.5 * ((z - x) ** 2).sum() + 0.1 * diagonal_variation(z)
  assert objective < 0.1 * diagonal_variation(x)


def test_as_alpha_grows_the_surrogate_tends_to_the_sign():
  x = image(4)
  # One step: signs of differences that are not 0, the smallest being 3e-4.
  make = lambda alpha: total_variation(1, alpha=alpha)
  hard = make(1.0).apply(KEY, x)
  error = [
    float(abs(make(alpha).surrogate(KEY, x) - hard).max())
    for alpha in (1e2, 1e3, 1e6)
  ]
  assert error[0] > error[1] > error[2]
  assert error[2] < 1e-6


def test_the_gradient_of_the_surrogate_is_its_finite_difference():
  x = image(5, (3, 4, 1))
  w = np.random.default_rng(6).normal(size=x.shape)
  surrogate = total_variation(4).surrogate
  got = jax.grad(lambda x: (surrogate(KEY, x) * w.astype(np.float32)).sum())(x)
  f = lambda x: (loops(x, 4, sign=soft_sign) * w).sum()
  step = 1e-6
  basis = step * np.eye(x.size).reshape(x.size, *x.shape)
  wide = x.astype(np.float64)
  numeric = [(f(wide + e) - f(wide - e)) / (2 * step) for e in basis]
  # The float64 quotient is good to 1e-9.
  np.testing.assert_allclose(got.ravel(), numeric, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_where_pixels_are_equal():
  x = jnp.zeros((4, 4, 3))
  gradient = jax.grad(lambda x: total_variation().surrogate(KEY, x).sum())(x)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
  'options, message',
  [
    ({'num_steps': 0}, 'num_steps=0 .*at least 1'),
    ({'step_size': 0.0}, 'step_size=0.0 .*positive'),
    ({'weight': -0.1}, 'weight=-0.1 .*at least 0.*adds variation'),
    ({'alpha': 0}, 'alpha=0 .*positive'),
    ({'alpha': np.inf}, 'alpha=inf must be finite'),
  ],
  ids=str,
)
def test_bad_arguments_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    total_variation(**options)

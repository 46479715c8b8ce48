"""Assignment of pixels to centres against SciPy and sums in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from rdefense.defenses.assignment import mixture, nearest_center


def problem(num_channels, num_centers, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.uniform(-0.3, 1.3, (5, 6, num_channels)).astype(np.float32)
  centers = rng.uniform(-0.2, 1.2, (num_centers, num_channels))
  return x, centers.astype(np.float32)


def literal_mixture(x, centers, alpha):
  x, centers = np.asarray(x, np.float64), np.asarray(centers, np.float64)
  square = ((x[..., None, :] - centers) ** 2).sum(-1)
  weight = np.exp(-alpha * (square - square.min(-1, keepdims=True)))
  weight /= weight.sum(-1, keepdims=True)
  return weight @ centers, weight


def literal_gradient(x, centers, alpha, slope):
  """alpha sum_ij w_i w_j (c_i - c_j) (c_i - c_j)^T slope, where no term cancels
  another of the same size, and the sum of the terms' sizes."""
  _, weight = literal_mixture(x, centers, alpha)
  apart = np.float64(centers)[:, None] - np.float64(centers)[None]
  pair = weight[..., :, None] * weight[..., None, :]

  def total(slope, apart):
    along = np.einsum('...c,ijc->...ij', np.float64(slope), apart)
    return alpha * np.einsum('...ij,...ij,ijc->...c', pair, along, apart)

  return total(slope, apart), total(abs(slope), abs(apart))


@pytest.mark.parametrize('num_channels', [1, 3])
@pytest.mark.parametrize('num_centers', [1, 2, 10, 40])
def test_the_nearest_center_is_scipys(num_channels, num_centers):
  x, centers = problem(num_channels, num_centers)
  square = cdist(x.reshape(-1, num_channels), centers, 'sqeuclidean')
  np.testing.assert_array_equal(
    nearest_center(x, centers), centers[square.argmin(1)].reshape(x.shape)
  )


def test_ties_go_to_the_lowest_index():
  x = jnp.full((1, 1, 3), 0.5)
  centers = np.float32([[1, 1, 1], [0.5, 0.25, 0.5], [0.5, 0.5, 0.75]])
  assert nearest_center(x, centers)[0, 0].tolist() == [0.5, 0.25, 0.5]
  flipped = nearest_center(x, centers[::-1])
  assert flipped[0, 0].tolist() == [0.5, 0.5, 0.75]


@pytest.mark.parametrize('num_channels', [1, 3])
@pytest.mark.parametrize('alpha', [2.0, 40.0, 400.0])
def test_the_mixture_is_the_softmax_of_squared_distances(num_channels, alpha):
  x, centers = problem(num_channels, 6)
  expected, _ = literal_mixture(x, centers, alpha)
  # An error of 1e-7 in x moves the mixture by 2 alpha Cov(c), at most 1e-4.
  np.testing.assert_allclose(
    mixture(x, centers, alpha), expected, atol=2.5e-7 * max(alpha, 4)
  )


def relative_error(fn, x, centers, alpha):
  """Largest error of the gradient of `fn` in units of its terms' sizes."""
  slope = np.random.default_rng(5).normal(size=x.shape).astype(np.float32)
  got = jax.jit(jax.grad(lambda x: (fn(x, centers, alpha) * slope).sum()))(x)
  expected, size = literal_gradient(x, centers, alpha, slope)
  size = size.max(-1)
  held = size > 1e-25  # less is lost to the range of float32
  small = held & (size < 1e-6)
  assert small.sum() > 100  # weights that are 1 but for rounding
  return (abs(got - expected).max(-1) / size)[held].max()


@pytest.mark.parametrize('num_channels, num_centers', [(1, 2), (3, 2), (3, 5)])
def test_the_gradient_is_right_relative_to_its_size(num_channels, num_centers):
  rng = np.random.default_rng(0)
  centers = rng.uniform(size=(num_centers, num_channels)).astype(np.float32)
  x = rng.uniform(size=(1, 4000, num_channels)).astype(np.float32)
  # Exponents of up to 60 with an error of float32 of 1e-6 each.
  assert relative_error(mixture, x, centers, 400.0) < 1e-4

  def stock(x, centers, alpha):  # rounding may even give it the wrong sign
    square = ((x[..., None, :] - centers[None, None]) ** 2).sum(-1)
    return jax.nn.softmax(-alpha * square) @ centers

  assert relative_error(stock, x, centers, 400.0) > 0.5


def test_the_gradient_in_the_centers_is_a_difference_quotient():
  x, centers = problem(3, 4)
  slope = np.random.default_rng(2).normal(size=x.shape)
  got = jax.jit(
    jax.grad(lambda c: (mixture(x, c, 7.0) * np.float32(slope)).sum())
  )(centers)
  f = lambda centers: (literal_mixture(x, centers, 7.0)[0] * slope).sum()
  step = 1e-6
  basis = step * np.eye(centers.size).reshape(-1, *centers.shape)
  numeric = [(f(centers + e) - f(centers - e)) / (2 * step) for e in basis]
  # Sums over 30 pixels of float32 terms up to 10.
  np.testing.assert_allclose(got.ravel(), numeric, rtol=1e-4, atol=1e-4)


def test_forward_and_reverse_derivatives_are_transposed():
  x, centers = problem(3, 4)
  rng = np.random.default_rng(3)
  fn = lambda x, centers: mixture(x, centers, 20.0)
  tangents = tuple(
    rng.normal(size=a.shape).astype(np.float32) for a in (x, centers)
  )
  slope = rng.normal(size=x.shape).astype(np.float32)
  forward = jax.jit(lambda *t: jax.jvp(fn, (x, centers), t)[1])(*tangents)
  reverse = jax.jit(lambda s: jax.vjp(fn, x, centers)[1](s))(slope)
  got = sum((np.float64(r) * t).sum() for r, t in zip(reverse, tangents))
  # Two orders of float32 sums over some 100 terms.
  np.testing.assert_allclose(got, (forward * slope).sum(), rtol=1e-4)


def test_as_alpha_grows_the_mixture_tends_to_the_nearest_center():
  x, centers = problem(3, 5)
  square = cdist(x.reshape(-1, 3), centers, 'sqeuclidean')
  least = np.sort(square, 1)
  clear = (least[:, 1] - least[:, 0] > 0.02).reshape(x.shape[:2])
  assert clear.sum() > 20
  nearest = nearest_center(x, centers)
  errors = [
    float(abs(mixture(x, centers, alpha) - nearest)[clear].max())
    for alpha in (10.0, 100.0, 1000.0)
  ]
  assert errors[0] > errors[1] > errors[2]
  assert errors[2] < 1e-6  # exp(-1000 * 0.02) is 2e-9, in float32 rounding


@jax.jit
def value_and_pull(x, centers, alpha):
  value, pull = jax.vjp(lambda *a: mixture(*a, alpha), x, centers)
  return value, *pull(jnp.ones_like(x))


@pytest.mark.parametrize('alpha', [1e-3, 40.0, 1e6, 1e30])
@pytest.mark.parametrize('kind', ['tie', 'same', 'far', 'one'])
def test_values_and_gradients_are_finite(kind, alpha):
  centers = {
    'tie': [[0, 0, 0], [1, 1, 1]],
    'same': [[0.3, 0.6, 0.9]] * 3,
    'far': [[-5, 9, 0], [0, 0, 0]],
    'one': [[0.1, 0.2, 0.3]],
  }[kind]
  x = jnp.asarray([[[0.5] * 3, [0.3, 0.6, 0.9], [0.0] * 3]])
  value, *slopes = value_and_pull(x, jnp.float32(centers), alpha)
  assert all(np.isfinite(a).all() for a in (value, *slopes))
  if kind in ('same', 'one'):
    expected = np.broadcast_to(centers[0], x.shape)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_array_equal(slopes[0], 0)

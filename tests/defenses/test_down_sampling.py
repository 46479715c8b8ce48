"""Pooling and resizing against plain loops and jax.image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.defenses import chain
from rdefense.defenses.down_sampling import (
  PAPER_B_POOLING,
  down_sample,
  max_pool_valid,
  max_pooling,
  resize,
  resize_bilinear,
)

KEY = jax.random.key(0)


def image(seed, shape):
  return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def pooled(x, window, stride):
  rows = range(0, x.shape[0] - window + 1, stride)
  columns = range(0, x.shape[1] - window + 1, stride)
  return np.array(
    [
      [x[i : i + window, j : j + window].max((0, 1)) for j in columns]
      for i in rows
    ]
  )


def legacy(x, size):
  """TensorFlow 1's bilinear resize, pixel by pixel."""
  height, width = x.shape[:2]
  out = np.zeros((size, size, x.shape[2]))
  for i, j in np.ndindex(size, size):
    row, column = i * height / size, j * width / size
    top, left = int(row), int(column)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    a, b = row - top, column - left
    out[i, j] = (1 - a) * ((1 - b) * x[top, left] + b * x[top, right])
    out[i, j] += a * ((1 - b) * x[below, left] + b * x[below, right])
  return out


# ---------------------------------------------------------------- pooling


@pytest.mark.parametrize(
  'height, width, window, stride',
  [(4, 9, 1, 2), (8, 8, 2, 2), (9, 7, 2, 3), (6, 8, 3, 1), (4, 4, 4, 4)],
)
def test_pooling_is_the_maximum_over_inner_windows(
  height, width, window, stride
):
  x = image(height, (height, width, 2))
  np.testing.assert_array_equal(
    max_pool_valid(x, window, stride), pooled(x, window, stride)
  )


def test_paper_bs_pairs_have_the_sizes_of_table_1():
  x = image(0, (28, 28, 1))
  sides = [
    max_pooling(window, stride).apply(KEY, x).shape[0]
    for _, window, stride in PAPER_B_POOLING
  ]
  assert sides == [28, 14, 9, 7, 4]


@pytest.mark.parametrize('window, stride', [(1, 2), (2, 3), (2, 4), (3, 1)])
def test_pooling_does_not_enlarge_a_distance_in_linf(window, stride):
  x = image(1, (12, 12, 3))
  z = np.clip(x + np.random.default_rng(2).uniform(-0.1, 0.1, x.shape), 0, 1)
  one, other = (max_pool_valid(v, window, stride) for v in (x, z))
  assert np.abs(one - other).max() <= np.abs(x - z).max() + 1e-7


def test_the_gradient_of_a_pool_goes_to_the_maximum():
  x = image(3, (7, 7, 1))
  gradient = jax.grad(lambda x: max_pool_valid(x, 2, 3).sum())(x)
  expected = np.zeros_like(x)
  for i, j in np.ndindex(2, 2):
    part = np.s_[3 * i : 3 * i + 2, 3 * j : 3 * j + 2]
    expected[part] = x[part] == x[part].max()
  np.testing.assert_array_equal(gradient, expected)


def test_ties_share_the_gradient():
  gradient = jax.grad(lambda x: max_pool_valid(x, 2, 2).sum())(
    jnp.zeros((2, 2, 1))
  )
  np.testing.assert_array_equal(gradient.ravel(), [0.25] * 4)


# --------------------------------------------------------------- resizing

SIZES = [((7, 7, 1), 28), ((4, 4, 3), 28), ((9, 6, 2), 13), ((12, 12, 1), 5)]


@pytest.mark.parametrize('shape, size', SIZES, ids=str)
def test_legacy_is_tensorflow_1s_loop(shape, size):
  x = image(4, shape)
  # Products and sums of a few numbers up to 1 in float32.
  np.testing.assert_allclose(
    resize_bilinear(x, size), legacy(x, size), atol=1e-6
  )


@pytest.mark.parametrize('shape, size', SIZES, ids=str)
def test_modern_is_jax_image_without_antialiasing(shape, size):
  x = image(5, shape)
  expected = jax.image.resize(
    x, (size, size, shape[2]), 'bilinear', antialias=False
  )
  np.testing.assert_allclose(
    resize_bilinear(x, size, 'modern'), expected, atol=1e-6
  )


def test_legacy_keeps_pixels_at_whole_places_and_is_not_centred():
  x = image(6, (4, 4, 1))
  out = resize_bilinear(x, 8)
  np.testing.assert_array_equal(out[::2, ::2], x)
  np.testing.assert_array_equal(out[-1], out[-2])  # the last row repeats


@pytest.mark.parametrize('method', ['legacy', 'modern'])
def test_one_size_is_the_identity(method):
  x = image(7, (6, 6, 3))
  np.testing.assert_array_equal(resize(6, method).apply(KEY, x), x)


# ----------------------------------------------------------- down-sampling


@pytest.mark.parametrize('method', ['legacy', 'modern'])
def test_down_sampling_is_the_chain_of_its_halves(method):
  x = image(8, (28, 28, 1))
  halves = chain(max_pooling(2, 4), resize(28, method))
  whole = down_sample(2, 4, method=method)
  for fn, expected in zip(whole, halves):
    np.testing.assert_array_equal(fn(KEY, x), expected(KEY, x))
  same = down_sample(2, 4, 28, method)
  np.testing.assert_array_equal(same.apply(KEY, x), whole.apply(KEY, x))


def test_the_gradient_is_the_finite_difference():
  x = image(9, (9, 9, 1))
  w = np.random.default_rng(10).normal(size=x.shape)
  surrogate = down_sample(2, 3).surrogate
  got = jax.grad(lambda x: (surrogate(KEY, x) * w.astype(np.float32)).sum())(x)
  f = lambda x: (legacy(pooled(x, 2, 3), 9) * w).sum()
  step, wide = 1e-6, x.astype(np.float64)
  basis = step * np.eye(x.size).reshape(x.size, *x.shape)
  numeric = [(f(wide + e) - f(wide - e)) / (2 * step) for e in basis]
  np.testing.assert_allclose(got.ravel(), numeric, atol=1e-5)  # linear pieces


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: max_pooling(0, 1), 'window=0 .*at least 1'),
    (lambda: max_pooling(1, 0), 'stride=0 .*at least 1'),
    (lambda: max_pool_valid(jnp.zeros((4, 6, 1)), 5, 1), 'window=5 .*4x6'),
    (lambda: max_pool_valid(jnp.zeros((4, 6, 1)), 1, 5), 'stride=5 .*4x6'),
    (lambda: resize(0), 'size=0 .*at least 1'),
    (lambda: resize(4, 'cubic'), "method='cubic'.*legacy, modern"),
    (lambda: resize_bilinear(jnp.zeros((4, 4, 1)), -1), 'size=-1 '),
    (lambda: down_sample(0, 1), 'window=0 '),
    (lambda: down_sample(1, 0), 'stride=0 '),
    (lambda: down_sample(1, 1, 0), 'size=0 '),
    (lambda: down_sample(1, 1, method='new'), "method='new'"),
    (
      lambda: down_sample(2, 2).apply(KEY, jnp.zeros((4, 6, 1))),
      '4x6, not square',
    ),
    (
      lambda: max_pooling(5, 1).apply(KEY, jnp.zeros((4, 4, 1))),
      'window=5 .*larger than the image',
    ),
  ],
)
def test_bad_arguments_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()

"""Depthwise convolution against loops, its derivatives against XLA's own."""

import jax
import numpy as np
import pytest

from rdefense.models.depthwise import depthwise_conv

CASES = [  # height, width, kernel, stride
  (6, 6, 3, 1),
  (6, 7, 3, 2),
  (5, 8, 5, 1),
  (9, 6, 5, 2),
  (7, 8, 3, 3),
  (4, 5, 2, 2),
  (5, 4, 1, 2),  # some positions are never looked at
  (1, 2, 5, 2),
]


def draw(height, width, kernel):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
  return x, rng.normal(size=(kernel, kernel, 1, 3)).astype(np.float32)


def loops(x, kernel, stride):
  """The definition, in float64, with TensorFlow's SAME."""
  k, (batch, height, width, channels) = len(kernel), x.shape
  rows, columns = -(-height // stride), -(-width // stride)
  top = max((rows - 1) * stride + k - height, 0) // 2
  left = max((columns - 1) * stride + k - width, 0) // 2
  y = np.zeros((batch, rows, columns, channels))
  for o, p, i, j in np.ndindex(rows, columns, k, k):
    h, w = stride * o + i - top, stride * p + j - left
    if 0 <= h < height and 0 <= w < width:
      y[:, o, p] += np.float64(kernel[i, j, 0]) * x[:, h, w]
  return y


@pytest.mark.parametrize('height, width, kernel, stride', CASES, ids=str)
def test_it_is_the_sum_in_the_definition(height, width, kernel, stride):
  x, w = draw(height, width, kernel)
  got = depthwise_conv(x, w, stride)
  # At most 25 float32 products of numbers below 4.
  np.testing.assert_allclose(got, loops(x, w, stride), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('height, width, kernel, stride', CASES, ids=str)
def test_both_derivatives_are_those_of_a_grouped_convolution(
  grouped, height, width, kernel, stride
):
  x, w = draw(height, width, kernel)
  y, expected = jax.vjp(lambda x, w: grouped(x, w, stride), x, w)
  _, pull = jax.vjp(lambda x, w: depthwise_conv(x, w, stride), x, w)
  dy = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
  for mine, theirs in zip(pull(dy), expected(dy)):
    # As above; up to 144 products in the kernel's.
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-5)


def test_it_maps_over_examples_compiled():
  x, w = draw(6, 7, 3)

  def gradient(x):
    return jax.grad(lambda x: (depthwise_conv(x[None], w, 2) ** 2).sum())(x)

  mapped = jax.jit(jax.vmap(gradient))(x)
  alone = np.stack([gradient(one) for one in x])
  np.testing.assert_allclose(mapped, alone, rtol=1e-5, atol=1e-5)

"""Max-pooling as maxima of strided slices, for defenses and networks alike.

The gradient of `reduce_window` takes longer on CPU, and sends all of it to one
of several equal maxima.

>>> max_pool_valid(jnp.arange(25.0).reshape(5, 5, 1), 3, 2)[..., 0].tolist()
[[12.0, 14.0], [22.0, 24.0]]
"""

import functools

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array

__all__ = ['check_pooling', 'max_pool_valid']


def max_pool_valid(x: Array, window: int, stride: int) -> Array:
  """Maxima over windows that lie inside the image (VALID padding).

  As maxima of strided slices, rows before columns; a tie sends half of the
  gradient each way. An l_inf distance between images does not grow.

  Args:
    x: image `[H, W, C]`, or a batch `[..., H, W, C]`.
    window: height and width of a window.
    stride: between windows.

  Returns:
    `[..., (H - window) // stride + 1, (W - window) // stride + 1, C]`.

  Raises:
    ValueError: unless window and stride are 1 at least and at most the
      image's smaller side.
  """
  check_pooling(window, stride)
  for name, value in (('window', window), ('stride', stride)):
    if value > min(x.shape[-3:-1]):
      raise ValueError(
        f'{name}={value} is larger than the image, which is '
        f'{x.shape[-3]}x{x.shape[-2]}.'
      )
  for axis in (x.ndim - 3, x.ndim - 2):
    end = x.shape[axis] - window + 1  # of the places where a window begins
    slices = [
      jax.lax.slice_in_dim(x, i, i + end, stride, axis) for i in range(window)
    ]
    x = functools.reduce(jnp.maximum, slices)
  return x


def check_pooling(window: int, stride: int) -> None:
  """Raises `ValueError` unless window and stride are at least 1."""
  checks.check_whole('window', window, 1)
  checks.check_whole('stride', stride, 1)

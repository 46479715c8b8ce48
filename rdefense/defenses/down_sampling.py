"""Down-sampling: max-pooling, and a bilinear resize back, as two halves.

Paper B's MNIST variant pools before the discretization and resizes after it:

  chain(max_pooling(2, 4), discretization, resize(28))

Without a discretization in between that is `down_sample(2, 4)`.

>>> import jax, jax.numpy as jnp
>>> key, x = jax.random.key(0), jnp.full((28, 28, 1), 0.25)
>>> max_pooling(2, 4).apply(key, x).shape, down_sample(2, 4).apply(key, x).shape
((7, 7, 1), (28, 28, 1))

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586, Table 1.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.defenses.base import Defense, checked
from rdefense.pooling import check_pooling, max_pool_valid
from rdefense.types import Array, Key

__all__ = [
  'METHODS',
  'PAPER_B_POOLING',
  'down_sample',
  'max_pool_valid',
  'max_pooling',
  'resize',
  'resize_bilinear',
]

METHODS = ('legacy', 'modern')

# Paper B's Table 1: (largest eps, window, stride) for 28x28 images, which
# become 28x28, 14x14, 9x9, 7x7 and 4x4. The pairs were chosen on the test set,
# eps by eps: one defense per eps, not one defense.
PAPER_B_POOLING = (
  (0.02, 1, 1),
  (0.05, 1, 2),
  (0.07, 2, 3),
  (0.1, 2, 4),
  (0.3, 2, 7),
)


def resize_bilinear(x: Array, size: int, method: str = 'legacy') -> Array:
  """Bilinear interpolation to `size` x `size`, without antialiasing.

  `legacy` is TensorFlow 1's: output pixel i lies at i H / size; `modern` has
  half-pixel centres: at (i + 1/2) H / size - 1/2. The image is continued by
  its border.

  Args:
    x: image `[H, W, C]`.
    size: height and width of the output.
    method: one of `METHODS`.

  Returns:
    `[size, size, C]`.

  Raises:
    ValueError: if size < 1, or on an unknown method.
  """
  _check_resize(size, method)
  rows, columns = (_hats(length, size, method) for length in x.shape[:2])
  height, width, num_channels = x.shape
  x = jnp.matmul(rows, x.reshape(height, -1), precision='highest')
  x = x.reshape(size, width, num_channels)
  return jnp.einsum('jw,iwc->ijc', columns, x, precision='highest')


def _hats(length: int, size: int, method: str) -> np.ndarray:
  """Weights of `length` pixels in each of `size`: `[size, length]`."""
  position = np.arange(size) * length / size
  if method == 'modern':
    position = (np.arange(size) + 0.5) * length / size - 0.5
  position = np.clip(position, 0, length - 1)
  distance = np.abs(position[:, None] - np.arange(length))
  return np.maximum(1 - distance, 0).astype(np.float32)


def _check_resize(size: int, method: str) -> None:
  checks.check_whole('size', size, 1)
  checks.check_choice('method', method, METHODS)


def _keyless(fn: Callable[[Array], Array]) -> Defense:
  """A differentiable function of the image alone, its own surrogate."""

  def apply(key: Key, x: Array) -> Array:
    del key
    return fn(x)

  return checked(apply)


def max_pooling(window: int, stride: int) -> Defense:
  """`max_pool_valid` as a defense, its own surrogate; the key is not used.

  Args:
    window: height and width of a window.
    stride: between windows.

  Returns:
    A `Defense` that makes images smaller.

  Raises:
    ValueError: if window < 1 or stride < 1, and (when traced) if one of them
      is larger than the image.
  """
  check_pooling(window, stride)
  return _keyless(lambda x: max_pool_valid(x, window, stride))


def resize(size: int, method: str = 'legacy') -> Defense:
  """`resize_bilinear` as a defense, its own surrogate; the key is not used.

  Args:
    size: height and width of the output.
    method: `legacy` (paper B's code) or `modern`.

  Returns:
    A `Defense` to `[size, size, C]`.

  Raises:
    ValueError: if size < 1, or on an unknown method.
  """
  _check_resize(size, method)
  return _keyless(lambda x: resize_bilinear(x, size, method))


def down_sample(
  window: int, stride: int, size: int | None = None, method: str = 'legacy'
) -> Defense:
  """Max-pooling followed by a resize back to a square.

  Args:
    window: of the pooling; `PAPER_B_POOLING` holds the paper's pairs.
    stride: of the pooling.
    size: height and width of the output; None for the image's height.
    method: of the resize, `legacy` (paper B's code) or `modern`.

  Returns:
    A `Defense`, its own surrogate; the key is not used.

  Raises:
    ValueError: if window < 1, stride < 1 or size < 1, on an unknown method,
      and (when traced) if window or stride is larger than the image, or the
      image is not square and no size is given.
  """
  check_pooling(window, stride)
  _check_resize(1 if size is None else size, method)

  def fn(x: Array) -> Array:
    if size is None and x.shape[0] != x.shape[1]:
      raise ValueError(
        f'image is {x.shape[0]}x{x.shape[1]}, not square: give a size.'
      )
    target = x.shape[0] if size is None else size
    return resize_bilinear(max_pool_valid(x, window, stride), target, method)

  return _keyless(fn)

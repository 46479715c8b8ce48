"""Images of any size in [0, 1], resized and scaled to what a network expects.

>>> import jax.numpy as jnp
>>> resize(jnp.ones((5, 7, 3)), 4).shape
(4, 4, 3)
"""

import jax

from rdefense.models.base import Classifier
from rdefense.types import Array, Key, PyTree

__all__ = ['preprocessed', 'resize']


def resize(x: Array, size: int) -> Array:
  """Bilinear interpolation to a square, widened when shrinking (antialiased).

  Pillow's BILINEAR without its rounding to 8 bits after each axis. An image of
  that size already is returned as it is.

  Args:
    x: `[H, W, C]`.
    size: of the result.

  Returns:
    `[size, size, C]`, linear in `x` and within its range.
  """
  shape = (size, size, x.shape[-1])
  if x.shape == shape:
    return x
  return jax.image.resize(x, shape, 'bilinear', antialias=True)


def preprocessed(
  network: Classifier, size: int, scale: float, zero: float
) -> Classifier:
  """A network that sees `scale * (255 x - zero)`, resized.

  Args:
    network: expects `[size, size, 3]` of the scaled values.
    size: height and width it expects.
    scale: of one grey level.
    zero: the grey level that becomes 0.

  Returns:
    A `Classifier` of one image `[H, W, 3]` of any size in [0, 1],
    differentiable in it.

  Raises:
    ValueError: (when traced) on an image that is not `[H, W, 3]`.
  """

  def prepare(x: Array) -> Array:
    if x.ndim != 3 or x.shape[-1] != 3:
      raise ValueError(
        f'image has shape {x.shape}; this network expects one colour image '
        '[H, W, 3] (repeat a grey channel three times).'
      )
    return scale * (255 * resize(x, size) - zero)

  def init(key: Key, x: Array) -> PyTree:
    return network.init(key, prepare(x))

  def apply(params: PyTree, x: Array) -> Array:
    return network.apply(params, prepare(x))

  return Classifier(init, apply, network.num_classes)

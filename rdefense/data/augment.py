"""Random crops and flips of one training image, by key.

>>> import jax.numpy as jnp
>>> x = jnp.ones((4, 4, 1))
>>> found = augment(jax.random.key(0), x, padding=1, flip=True)
>>> found.shape, bool(found.sum() <= x.sum())
((4, 4, 1), True)

References:
  PROTOCOL A7: paper A pads its colour images by 2 pixels and flips them.
"""

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Key

__all__ = ['augment']


def augment(key: Key, x: Array, padding: int, flip: bool) -> Array:
  """Pads with zeros, crops back to the size at a random place, and mirrors.

  Args:
    key: consumed.
    x: image `[H, W, C]`.
    padding: pixels on each side, at least 0: a shift by so many at most.
    flip: whether left and right are exchanged with probability 1/2.

  Returns:
    An image of the shape and dtype of `x`.

  Raises:
    ValueError: if padding < 0.
  """
  checks.check_whole('padding', padding, 0, ': pixels on each side')
  crop_key, flip_key = jax.random.split(key)
  sides = ((padding, padding), (padding, padding), (0, 0))
  corner = jax.random.randint(crop_key, (2,), 0, 2 * padding + 1)
  start = (corner[0], corner[1], 0)
  x = jax.lax.dynamic_slice(jnp.pad(x, sides), start, x.shape)
  if not flip:
    return x
  return jnp.where(jax.random.bernoulli(flip_key), x[:, ::-1], x)

"""What a model is: two functions of one image, whatever library wrote them."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdefense.types import Array, Key, PyTree

__all__ = ['Classifier', 'classifier', 'max_pool', 'num_params']


class Classifier(NamedTuple):
  """A network as two pure functions.

  Attributes:
    init: `(key, x) -> params` for one image `x` `[H, W, C]`; consumes the key.
    apply: `(params, x) -> logits` `[num_classes]` for one image in [0, 1].
    num_classes: length of the logits.
  """

  init: Callable[[Key, Array], PyTree]
  apply: Callable[[PyTree, Array], Array]
  num_classes: int


def classifier(module: nn.Module, num_classes: int) -> Classifier:
  """Wraps a Linen module that maps `[1, H, W, C]` to `[1, num_classes]`."""

  def init(key: Key, x: Array) -> PyTree:
    return module.init(key, jnp.asarray(x)[None])

  def apply(params: PyTree, x: Array) -> Array:
    return module.apply(params, x[None])[0]

  return Classifier(init, apply, num_classes)


def max_pool(x: Array) -> Array:
  """2x2 max-pooling with stride 2 as pairwise maxima of strided slices.

  The gradient of `reduce_window` would take more than half of a whole CNN
  gradient on CPU. Ties send half of the gradient to each side. An odd last
  row or column is pooled alone, as SAME padding does.

  Args:
    x: `[B, H, W, C]`.

  Returns:
    `[B, ceil(H / 2), ceil(W / 2), C]`.
  """
  for axis in (1, 2):
    if x.shape[axis] % 2:
      widths = [(0, int(a == axis)) for a in range(4)]
      x = jnp.pad(x, widths, constant_values=-jnp.inf)
  x = jnp.maximum(x[:, 0::2], x[:, 1::2])
  return jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])


def num_params(params: PyTree) -> int:
  """Number of scalars in a tree of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))

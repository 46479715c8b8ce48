"""What a model is: pure functions of one image, whatever library wrote them."""

from collections.abc import Callable
import inspect
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Key, PyTree

__all__ = ['Classifier', 'classifier', 'max_pool', 'num_params', 'train_batch']


class Classifier(NamedTuple):
  """A network as pure functions.

  Attributes:
    init: `(key, x) -> params` for one image `x` `[H, W, C]`; consumes the key.
    apply: `(params, x) -> logits` `[num_classes]` for one image in [0, 1].
    num_classes: length of the logits.
    train: `(params, x) -> (logits, params)` for a batch `[B, H, W, C]`, where
      training needs the batch as a whole, as for its statistics, which the
      params returned hold; None where each image is `apply`'s. See
      `train_batch`.
  """

  init: Callable[[Key, Array], PyTree]
  apply: Callable[[PyTree, Array], Array]
  num_classes: int
  train: Callable[[PyTree, Array], tuple[Array, PyTree]] | None = None


def classifier(module: nn.Module, num_classes: int) -> Classifier:
  """Wraps a Linen module that maps `[B, H, W, C]` to `[B, num_classes]`.

  Of a module whose call takes `train`, what is not in the collection `params`
  (running statistics) is updated by `Classifier.train`.
  """

  def init(key: Key, x: Array) -> PyTree:
    checks.check_image(x)
    return module.init(key, jnp.asarray(x)[None])

  def apply(params: PyTree, x: Array) -> Array:
    checks.check_image(x)
    return module.apply(params, x[None])[0]

  def train(params: PyTree, x: Array) -> tuple[Array, PyTree]:
    changing = [name for name in params if name != 'params']
    logits, changed = module.apply(params, x, train=True, mutable=changing)
    return logits, {**params, **changed}

  takes_train = 'train' in inspect.signature(type(module).__call__).parameters
  return Classifier(init, apply, num_classes, train if takes_train else None)


def train_batch(
  network: Classifier, params: PyTree, x: Array
) -> tuple[Array, PyTree]:
  """Logits of a batch as training sees them, and what it changes by itself.

  Args:
    network: any.
    params: its parameters.
    x: `[B, H, W, C]` in [0, 1].

  Returns:
    Logits `[B, num_classes]`, and `params` with the running statistics of the
    network, if it has any, one batch further. The logits do not depend on
    these, so their gradient there is zero.
  """
  if network.train is None:
    return jax.vmap(network.apply, (None, 0))(params, x), params
  return network.train(params, x)


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

"""Types shared by the whole library: one example in, one example out.

Everything in the core acts on a single example. Batches exist only through one
outermost `jax.vmap` (`rdefense.attacks.wrappers.over_examples`), so shapes
below never carry a batch axis. In descriptions, `H, W, C` are the image's
height, width and channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

__all__ = [
  'Array',
  'Evaluation',
  'Key',
  'KeyedFn',
  'LogitsFn',
  'Loss',
  'Oracle',
  'PyTree',
]

Array = jax.Array
Key = jax.Array
PyTree = Any

LogitsFn = Callable[[Array], Array]  # [H, W, C] -> [num_classes]
Loss = Callable[[Array, Array], Array]  # ([num_classes], []) -> []


class KeyedFn(Protocol):
  """A function of one image that takes its randomness from `key` alone."""

  def __call__(self, key: Key, x: Array) -> Array:
    """Maps `x` `[H, W, C]` to an image; `key` is consumed."""
    ...


class Evaluation(NamedTuple):
  """What an attacker sees of the defended classifier at one point `z`."""

  value: Array  # the attacker's loss, to be minimised: shape=(), float32
  margin: Array  # of the deployed pipeline; negative means misclassified
  grad: Array  # gradient of `value` with respect to `z`: [H, W, C]
  output: Array  # what the defense made of `z`, the classifier's input
  slope: Array  # gradient of `value` with respect to `output`


class Oracle(NamedTuple):
  """Value and gradient of an attacker's loss, in a full and a cheap form.

  A discretization often maps the next iterate to the very image it made of
  the last one; then the classifier need not run again.

  Attributes:
    evaluate: `(key, z, y) -> Evaluation`; runs the classifier.
    refresh: `(key, z, last) -> (Evaluation, stale)`, without the classifier:
      what `evaluate` would give if the defense's output is still that of
      `last`; `stale` says that it is not and `evaluate` is needed.
  """

  evaluate: Callable[[Key, Array, Array], Evaluation]
  refresh: Callable[[Key, Array, Evaluation], tuple[Evaluation, Array]]

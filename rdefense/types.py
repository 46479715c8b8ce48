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
  'PyTree',
  'ValueAndGrad',
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
  """What an attacker sees of the defended classifier at one point."""

  value: Array  # the attacker's loss, to be minimised: shape=(), float32
  margin: Array  # of the deployed pipeline; negative means misclassified
  grad: Array  # gradient of `value` with respect to the image: [H, W, C]


ValueAndGrad = Callable[[Key, Array, Array], Evaluation]  # (key, z, y)

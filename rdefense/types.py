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
  'Int',
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
Int = Array | int  # number of a step, a draw, a part; may be traced

LogitsFn = Callable[[Array], Array]  # [H, W, C] -> [num_classes]
Loss = Callable[[Array, Array], Array]  # ([num_classes], []) -> []


class KeyedFn(Protocol):
  """A function of one image that takes its randomness from `key` alone."""

  def __call__(self, key: Key, x: Array) -> Array:
    """Maps `x` `[H, W, C]` to an image; `key` is consumed."""
    ...


class Evaluation(NamedTuple):
  """What an attacker sees of the defended classifier at one point `z`.

  Over several draws of a randomised defense there is no one `output`: it and
  `slope` are empty then, and the rest are averages, see `gradients.averaged`.
  """

  value: Array  # the attacker's loss, to be minimised: shape=(), float32
  margin: Array  # of the deployed pipeline; negative means misclassified
  grad: Array  # gradient of `value` with respect to `z`: [H, W, C]
  output: Array  # what the defense made of `z`, the classifier's input
  slope: Array  # gradient of `value` with respect to `output`


class Oracle(NamedTuple):
  """Value and gradient of an attacker's loss, in a full and a cheap form.

  A discretization often maps the next iterate to the very image it made of
  the last one; then the classifier need not run again. A randomised defense
  is looked at in parts, each some draws of it: whoever runs the attack decides
  how many parts an evaluation is worth.

  Attributes:
    evaluate: `(key, z, y, part) -> Evaluation` of that part; runs the
      classifier.
    combine: `(part, so_far, new) -> Evaluation` of parts 0 .. `part`, given
      those before it (whatever they are for part 0) and the new one.
    refresh: `(key, z, last) -> (Evaluation, stale)`, without the classifier:
      what `evaluate` would give if the defense's output is still that of
      `last`; `stale` says that it is not and `evaluate` is needed.
  """

  evaluate: Callable[[Key, Array, Array, Int], Evaluation]
  combine: Callable[[Int, Evaluation, Evaluation], Evaluation]
  refresh: Callable[[Key, Array, Evaluation], tuple[Evaluation, Array]]

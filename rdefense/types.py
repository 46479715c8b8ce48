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

  Over several draws of a randomised defense there is no one `output`: it is
  empty then, `slope` is the gradient with respect to `z` itself, and all are
  averages, see `gradients.averaged`.
  """

  value: Array  # the attacker's loss, to be minimised: shape=(), float32
  margin: Array  # of the deployed pipeline; negative means misclassified
  output: Array  # what the defense made of `z`, the classifier's input
  slope: Array  # gradient of `value` with respect to `output`


class Oracle(NamedTuple):
  """Value and gradient of an attacker's loss, the dear part on its own.

  A discretization often maps the next iterate to the very image it made of
  the last one; then the classifier need not run again. What is left of the
  gradient, from the defense's output to its input, is computed once, where an
  attack takes its step. A randomised defense
  is looked at in parts, each some draws of it: whoever runs the attack decides
  how many parts an evaluation is worth.

  Attributes:
    evaluate: `(key, z, y, part) -> Evaluation` of that part; runs the
      classifier.
    combine: `(part, so_far, new) -> Evaluation` of parts 0 .. `part`, given
      those before it (whatever they are for part 0) and the new one.
    gradient: `(key, z, last) -> [H, W, C]`, of the value with respect to `z`,
      without the classifier: `last` is an evaluation at `z`, or at a point of
      the same output, and the key is that of `z`.
    stale: `(key, z, last) -> bool`: whether the defense's output at `z` is not
      that of `last`, or may not be, so that `evaluate` is needed.
  """

  evaluate: Callable[[Key, Array, Array, Int], Evaluation]
  combine: Callable[[Int, Evaluation, Evaluation], Evaluation]
  gradient: Callable[[Key, Array, Evaluation], Array]
  stale: Callable[[Key, Array, Evaluation], Array]

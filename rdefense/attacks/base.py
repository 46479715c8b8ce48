"""What an attack is: four pure functions on one example, and their loop."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense.types import Array, Key, PyTree

__all__ = [
  'Attack',
  'AttackInfo',
  'Outcome',
  'run',
  'select',
  'start_key',
  'step',
  'step_key',
]

_START, _STEP = 0, 1  # roles folded into an example's key


class Outcome(NamedTuple):
  """What an attack would submit if it stopped now."""

  z: Array  # [H, W, C], inside the threat
  margin: Array  # of the deployed pipeline at `z`, shape=(), float32
  done: Array  # True once no further step may change `z`, shape=(), bool


class AttackInfo(NamedTuple):
  """What only a person wants to know about a step."""

  value: Array  # the attacker's loss at the new iterate
  margin: Array  # of the deployed pipeline there
  distance: Array  # from the clean image, in the norm of the threat


class Attack(NamedTuple):
  """An iterative attack on one example.

  A step is a `move`, which is cheap, and an `evaluate`, which runs the
  classifier and is skipped where the move says so: where the discretized
  image is still the same, or the example is done. Step i gives both the same
  key, so that they see the same noise.

  Attributes:
    init: `(key, x, y) -> state`; the key is consumed.
    move: `(key, state, x) -> (state, stale)`, to the next iterate; `stale`
      says that the state needs `evaluate`.
    evaluate: `(key, state, x, y) -> (state, AttackInfo)`, at the iterate of
      the state. The state holds what the next step needs, value and gradient
      included, so that T steps cost T + 1 gradients and the last one counts.
    outcome: `(state, x) -> Outcome`.
  """

  init: Callable[[Key, Array, Array], PyTree]
  move: Callable[[Key, PyTree, Array], tuple[PyTree, Array]]
  evaluate: Callable[[Key, PyTree, Array, Array], tuple[PyTree, AttackInfo]]
  outcome: Callable[[PyTree, Array], Outcome]


def select(condition: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
  """`jnp.where` with one scalar condition over two trees of equal structure."""
  return jax.tree.map(
    lambda a, b: jnp.where(condition, a, b), if_true, if_false
  )


def start_key(key: Key) -> Key:
  """The key of `Attack.init`, from the example's key."""
  return jax.random.fold_in(key, _START)


def step_key(key: Key, i: Array) -> Key:
  """The key of step `i`, from the example's key."""
  return jax.random.fold_in(jax.random.fold_in(key, _STEP), i)


def step(
  attack: Attack, key: Key, i: Array, state: PyTree, x: Array, y: Array
) -> tuple[PyTree, AttackInfo]:
  """Step `i` of one example: a move, then the evaluation it needs.

  Args:
    attack: the attack.
    key: the example's key.
    i: number of the step.
    state: of the attack.
    x: clean image `[H, W, C]`.
    y: label.
  """
  moved, stale = attack.move(step_key(key, i), state, x)
  evaluated, info = attack.evaluate(step_key(key, i), moved, x, y)
  return select(stale, evaluated, moved), info


def run(attack: Attack, num_steps: int) -> Callable:
  """The whole attack on one example as one `lax.scan`.

  On CPU a convolution inside a scan is several times slower than outside:
  there `rdefense.attacks.driver` runs the same steps from the host.

  Args:
    attack: the attack.
    num_steps: number of steps, at least 0.

  Returns:
    `(key, x, y) -> (Outcome, AttackInfo)`, the info stacked over steps
    `[num_steps]`; the key is consumed.
  """

  def fn(key: Key, x: Array, y: Array) -> tuple[Outcome, AttackInfo]:
    def body(state, i):
      return step(attack, key, i, state, x, y)

    state = attack.init(start_key(key), x, y)
    state, info = jax.lax.scan(body, state, jnp.arange(num_steps))
    return attack.outcome(state, x), info

  return fn

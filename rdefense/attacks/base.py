"""What an attack is: five pure functions on one example, and their loop."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Evaluation, Int, Key, Oracle, PyTree

__all__ = [
  'Attack',
  'AttackInfo',
  'Outcome',
  'begin',
  'iterate_key',
  'run',
  'select',
  'start_key',
  'step',
  'unevaluated',
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

  A step is a `move`, which is cheap; an `evaluate`, which runs the classifier
  and is skipped where the move says so: where the discretized image is still
  the same, or the example is done; and a `pull` of the gradient back through
  the defense. All get the key of the iterate they are about, so that they see
  the same noise. Against a randomised defense an evaluation has several parts,
  each some draws.

  Attributes:
    init: `(key, x, y) -> state` at the first iterate, yet to be evaluated;
      the key is consumed.
    move: `(key, state, x) -> (state, stale)`, to the next iterate; `stale`
      says that the state needs `evaluate`.
    evaluate: `(key, state, x, y, part) -> (state, AttackInfo)`, at the iterate
      of the state.
    pull: `(key, state) -> state`, after the evaluation, or none. The state
      then holds what the next step needs, value and gradient included, so that
      T steps cost T + 1 gradients and the last one counts.
    outcome: `(state, x) -> Outcome`.
  """

  init: Callable[[Key, Array, Array], PyTree]
  move: Callable[[Key, PyTree, Array], tuple[PyTree, Array]]
  evaluate: Callable[
    [Key, PyTree, Array, Array, Int], tuple[PyTree, AttackInfo]
  ]
  pull: Callable[[Key, PyTree], PyTree]
  outcome: Callable[[PyTree, Array], Outcome]


def select(condition: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
  """`jnp.where` with one scalar condition over two trees of equal structure."""
  return jax.tree.map(
    lambda a, b: jnp.where(condition, a, b), if_true, if_false
  )


def unevaluated(oracle: Oracle, key: Key, z: Array, y: Array) -> Evaluation:
  """What stands for an evaluation before the first: all 0, its margin inf.

  Args:
    oracle: of the attack; looked at for its shapes, not run.
    key, z, y: what it would be evaluated on; the key is not consumed.
  """
  shapes = jax.eval_shape(oracle.evaluate, key, z, y, 0)
  nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
  return nothing._replace(margin=jnp.float32(jnp.inf))


def start_key(key: Key) -> Key:
  """The key of `Attack.init`, from the example's key."""
  return jax.random.fold_in(key, _START)


def iterate_key(key: Key, i: Int) -> Key:
  """The key of iterate `i`, 0 being the start, from the example's key."""
  return jax.random.fold_in(jax.random.fold_in(key, _STEP), i)


def begin(
  attack: Attack, key: Key, x: Array, y: Array, num_parts: int = 1
) -> tuple[PyTree, AttackInfo]:
  """The state of one example at its start, evaluated and pulled.

  Args:
    attack: the attack.
    key: the example's key.
    x: clean image `[H, W, C]`.
    y: label.
    num_parts: of the evaluation.
  """
  state = attack.init(start_key(key), x, y)
  key = iterate_key(key, 0)
  state, info = _evaluate(attack, key, state, x, y, num_parts)
  return attack.pull(jax.random.clone(key), state), info


def step(
  attack: Attack,
  key: Key,
  i: Int,
  state: PyTree,
  x: Array,
  y: Array,
  num_parts: int = 1,
) -> tuple[PyTree, AttackInfo, Array]:
  """To iterate `i` of one example: move, the evaluation it needs, pull.

  Args:
    attack: the attack.
    key: the example's key.
    i: number of the iterate, from 1.
    state: of the attack at iterate `i - 1`.
    x: clean image `[H, W, C]`.
    y: label.
    num_parts: of the evaluation.

  Returns:
    `(state, info, stale)`: whether the evaluation was needed.
  """
  key = iterate_key(key, i)
  moved, stale = attack.move(key, state, x)
  same_key = jax.random.clone(key)  # the same noise again, on purpose
  evaluated, info = _evaluate(attack, same_key, moved, x, y, num_parts)
  same_key = jax.random.clone(key)
  state = attack.pull(same_key, select(stale, evaluated, moved))
  return state, info, stale


def _evaluate(attack, key, state, x, y, num_parts):
  if num_parts == 1:
    return attack.evaluate(key, state, x, y, 0)

  def body(state, part):
    return attack.evaluate(key, state, x, y, part)

  state, info = jax.lax.scan(body, state, jnp.arange(num_parts))
  return state, jax.tree.map(lambda a: a[-1], info)


def run(attack: Attack, num_steps: int, num_parts: int = 1) -> Callable:
  """The whole attack on one example as one `lax.scan`.

  On CPU a convolution inside a scan is several times slower than outside:
  there `rdefense.attacks.driver` runs the same steps from the host.

  Args:
    attack: the attack.
    num_steps: number of steps, at least 0.
    num_parts: of each evaluation, see `gradients.averaged`.

  Returns:
    `(key, x, y) -> (Outcome, AttackInfo)`, compiled at its first call, with the
    info stacked over steps `[num_steps]`; the key is consumed. Derivatives, as
    by the parameters of the classifier, flow through all steps, but a sign
    passes none on; whoever wants none stops them.

  Raises:
    ValueError: unless both are whole numbers, of at least 0 and 1.
  """

  num_steps = checks.check_whole('num_steps', num_steps)
  num_parts = checks.check_whole('num_parts', num_parts, 1)

  def fn(key: Key, x: Array, y: Array) -> tuple[Outcome, AttackInfo]:
    def body(state, i):
      state, info, _ = step(attack, key, i, state, x, y, num_parts)
      return state, info

    state, _ = begin(attack, key, x, y, num_parts)
    state, info = jax.lax.scan(body, state, jnp.arange(1, num_steps + 1))
    return attack.outcome(state, x), info

  return jax.jit(fn)

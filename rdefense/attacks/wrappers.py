"""From one attack to a better one, and from one example to many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.attacks.base import Attack, Outcome, select
from rdefense.types import Array, Int, Key, PyTree

__all__ = ['over_examples', 'restarts', 'stop_when_fooled']


def stop_when_fooled(attack: Attack) -> Attack:
  """Freezes an example at its first submission of negative margin.

  Its outcome is then `done`, so that a driver may drop the example from the
  batch: whether it does or not changes no number. Wrap it round `restarts`,
  not inside. For randomised defenses it would keep one lucky draw: leave it
  out there.
  """

  def move(key: Key, state: PyTree, x: Array) -> tuple[PyTree, Array]:
    done = outcome(state, x).done
    moved, stale = attack.move(key, state, x)
    return select(done, state, moved), stale & ~done

  def outcome(state: PyTree, x: Array) -> Outcome:
    last = attack.outcome(state, x)
    return last._replace(done=last.margin < 0)

  return Attack(attack.init, move, attack.evaluate, attack.pull, outcome)


def restarts(attack: Attack, num: int) -> Attack:
  """Runs `num` copies side by side; restart `r` has `fold_in(key, r)`.

  Args:
    attack: an attack with a random start.
    num: number of copies, at least 1. The state gets a leading axis `[num]`
      inside the example, where sharding keeps it free of communication.

  Returns:
    An `Attack` that submits the copy of smallest margin; info is stacked.

  Raises:
    ValueError: if num < 1.
  """
  checks.check_whole('num_restarts', num, 1)

  def keys(key: Key) -> Key:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num))

  def init(key: Key, x: Array, y: Array) -> PyTree:
    return jax.vmap(attack.init, (0, None, None))(keys(key), x, y)

  def move(key: Key, state: PyTree, x: Array) -> tuple[PyTree, Array]:
    moved, stale = jax.vmap(attack.move, (0, 0, None))(keys(key), state, x)
    return moved, stale.any()

  def evaluate(key: Key, state: PyTree, x: Array, y: Array, part: Int):
    return jax.vmap(attack.evaluate, (0, 0, None, None, None))(
      keys(key), state, x, y, part
    )

  def pull(key: Key, state: PyTree) -> PyTree:
    return jax.vmap(attack.pull)(keys(key), state)

  def outcome(state: PyTree, x: Array) -> Outcome:
    each = jax.vmap(attack.outcome, (0, None))(state, x)
    best = jnp.argmin(each.margin)
    return jax.tree.map(lambda a: a[best], each)

  return Attack(init, move, evaluate, pull, outcome)


def over_examples(fn: Callable) -> Callable:
  """The one `vmap` over examples: `fn(key, *args)` to a batch of them.

  Every example owns its randomness, `fold_in(key, index)`: its result does not
  depend on the batch it is in.

  Args:
    fn: `(key, *args) -> tree` for one example; consumes its key.

  Returns:
    `(key, index [B], *args [B, ...]) -> tree [B, ...]`.
  """

  def batched(key: Key, index: Array, *args: PyTree) -> PyTree:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return jax.vmap(fn)(keys, *args)

  return batched

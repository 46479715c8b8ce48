"""The compiled functions of an attack, from which a driver makes batches."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.stages import Wrapped

from rdefense.attacks.base import begin, iterate_key, select, start_key, step
from rdefense.attacks.wrappers import over_examples
from rdefense.parallel import Layout

__all__ = ['Pieces', 'compiled', 'moves']


class Pieces(NamedTuple):
  """The jitted pieces of one attack, over examples."""

  start: Wrapped
  move: Wrapped
  evaluate: Wrapped
  scan: Wrapped
  read: Wrapped


def compiled(make_attack, where: Layout) -> Pieces:
  """Jits an attack's functions over examples, split over devices.

  Args:
    make_attack: builds the attack from `operands` while tracing.
    where: devices to use.
  """

  def start(operands, key, index, x, y):
    attack = make_attack(operands)
    return over_examples(lambda key, x, y: attack.init(start_key(key), x, y))(
      key, index, x, y
    )

  def move(operands, key, index, x, i, state):
    attack = make_attack(operands)

    def one(key, x, state):
      # That of the step before, here, so that it is no program of its own.
      state = attack.pull(iterate_key(key, i - 1), state)
      state, stale = attack.move(iterate_key(key, i), state, x)
      return state, stale, attack.outcome(state, x).done

    return over_examples(one)(key, index, x, state)

  def evaluate(operands, key, index, x, y, stale, i, part, state):
    attack = make_attack(operands)

    def one(key, x, y, stale, state):
      new, _ = attack.evaluate(iterate_key(key, i), state, x, y, part)
      return select(stale, new, state)

    return over_examples(one)(key, index, x, y, stale, state)

  def scan(num_steps, num_parts, operands, key, index, x, y):
    attack = make_attack(operands)

    def one(key, x, y):
      def body(carry, i):
        state, count = carry
        state, _, stale = step(attack, key, i, state, x, y, num_parts)
        return (state, count + num_parts * stale), None

      state, _ = begin(attack, key, x, y, num_parts)
      carry = state, jnp.full_like(y, num_parts)
      steps = jnp.arange(1, num_steps + 1)
      (state, count), _ = jax.lax.scan(body, carry, steps)
      outcome = attack.outcome(state, x)
      return outcome.z, outcome.margin, count

    return over_examples(one)(key, index, x, y)

  def read(operands, key, index, x, i, state):
    attack = make_attack(operands)

    def one(key, x, state):
      outcome = attack.outcome(attack.pull(iterate_key(key, i), state), x)
      return outcome.z, outcome.margin

    return over_examples(one)(key, index, x, state)

  copied, split = where.copied, where.split
  shared, rows = (copied, copied), (split, split)

  def jit(fn, shardings, **options):
    return jax.jit(fn, in_shardings=shardings, out_shardings=split, **options)

  return Pieces(
    jit(start, (*shared, *rows, split)),
    jit(move, (*shared, *rows, copied, split), donate_argnums=5),
    jit(
      evaluate,
      (*shared, *rows, split, split, copied, copied, split),
      donate_argnums=8,
    ),
    jit(scan, (*shared, *rows, split), static_argnums=(0, 1)),
    jit(read, (*shared, split, split, copied, split)),
  )


@functools.cache
def moves(where: Layout) -> tuple[Wrapped, Wrapped]:
  """Rows out of a tree of arrays, and back into it: between devices."""

  def take(tree, rows):
    return jax.tree.map(lambda a: a[rows], tree)

  def put(tree, part, rows):
    return jax.tree.map(lambda a, b: a.at[rows].set(b), tree, part)

  return (
    jax.jit(take, out_shardings=where.split),
    jax.jit(put, out_shardings=where.split, donate_argnums=0),
  )

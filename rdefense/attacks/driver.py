"""Batches of examples through an attack: compiled steps, driven by the host.

On CPU a Python loop calls one jitted, donated step, because XLA runs
convolutions inside a loop several times slower there (jax issue 12868), and
leaves examples that are `done` out of the batch as soon as the rest fits into
a smaller one. Elsewhere all steps are one `lax.scan`. Both run the same
`Attack.step` under `over_examples`, so the numbers are the same.

Batch sizes are powers of two (and the caller's own), so that compaction costs
a handful of compilations. What changes from call to call (parameters, eps,
the key, a codebook) comes in as `operands` and compiles nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.attacks.base import Attack, start_key, step_key
from rdefense.attacks.wrappers import over_examples
from rdefense.parallel import Layout, layout
from rdefense.types import Key, PyTree

__all__ = ['Attacked', 'batch_attack']

_SMALLEST = 16  # below this a smaller batch saves no time


class Attacked(NamedTuple):
  """What an attack submits for a batch, on the host."""

  z: np.ndarray  # [B, H, W, C], float32; rows left out keep their x
  margin: np.ndarray  # [B], float32, as the attack saw it; NaN where left out
  gradients: np.ndarray  # [B], int32: gradients taken until the row was done


def batch_attack(
  make_attack: Callable[[PyTree], Attack],
  where: Layout | None = None,
  compact: bool = True,
  loop: str | None = None,
) -> Callable[..., Attacked]:
  """Compiles an attack for batches.

  Args:
    make_attack: builds the attack from `operands` while tracing.
    where: devices to use; None means all of this process.
    compact: drop examples that are done (`host` loop only).
    loop: `host` or `scan`; None picks by backend.

  Returns:
    `(operands, key, num_steps, index, x, y, active) -> Attacked`, with `index`
    `[B]` int32 the global example numbers, `x` `[B, H, W, C]`, `y` `[B]`, and
    `active` `[B]` bool the rows to attack. Keep it and call it again: it holds
    what was compiled.
  """
  where = layout() if where is None else where
  loop = loop or ('host' if jax.default_backend() == 'cpu' else 'scan')
  copied, split = where.copied, where.split

  def start(operands, key, index, x, y):
    attack = make_attack(operands)

    def one(key, x, y):
      state = attack.init(start_key(key), x, y)
      return state, attack.outcome(state, x).done

    return over_examples(one)(key, index, x, y)

  def step(operands, key, index, x, y, i, state):
    attack = make_attack(operands)

    def one(key, x, y, state):
      state, _ = attack.step(step_key(key, i), state, x, y)
      return state, attack.outcome(state, x).done

    return over_examples(one)(key, index, x, y, state)

  def scan(num_steps, operands, key, index, x, y):
    def body(carry, i):
      state, done, count = carry
      count = count + ~done
      state, done = step(operands, key, index, x, y, i, state)
      return (state, done, count), None

    state, done = start(operands, key, index, x, y)
    carry = state, done, jnp.ones_like(y)
    carry, _ = jax.lax.scan(body, carry, jnp.arange(num_steps))
    return carry[0], carry[2]

  def read(operands, x, state):
    outcome = jax.vmap(make_attack(operands).outcome)(state, x)
    return outcome.z, outcome.margin

  rows = (copied, copied, split, split, split)
  start_fn = jax.jit(start, in_shardings=rows, out_shardings=split)
  step_fn = jax.jit(
    step,
    in_shardings=(*rows, copied, split),
    out_shardings=split,
    donate_argnums=6,
  )
  scan_fn = jax.jit(
    scan, static_argnums=0, in_shardings=rows, out_shardings=split
  )
  read_fn = jax.jit(
    read, in_shardings=(copied, split, split), out_shardings=split
  )
  take_fn = jax.jit(
    lambda tree, rows: jax.tree.map(lambda a: a[rows], tree),
    in_shardings=(split, copied),
    out_shardings=split,
  )

  def bucket(count: int, largest: int) -> int:
    size = max(_SMALLEST, 1 << (count - 1).bit_length())
    size = -(-size // where.num_devices) * where.num_devices
    return min(size, -(-largest // where.num_devices) * where.num_devices)

  def padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.full(size - len(rows), rows[0])])

  def attack_batch(operands, key: Key, num_steps: int, index, x, y, active):
    x = np.asarray(x)
    index, y = np.asarray(index, np.int32), np.asarray(y, np.int32)
    rows = np.flatnonzero(active)
    out = Attacked(
      x.copy(),
      np.full(len(x), np.nan, np.float32),
      np.zeros(len(x), np.int32),
    )
    if not rows.size:
      return out
    size = bucket(len(rows), len(x))
    chosen = padded(rows, size)
    operands, key = jax.device_put((operands, key), copied)
    data = jax.device_put((index[chosen], x[chosen], y[chosen]), split)

    def store(state):
      z, margin = jax.device_get(read_fn(operands, data[1], state))
      out.z[rows], out.margin[rows] = z[: len(rows)], margin[: len(rows)]

    if loop == 'scan':
      state, count = scan_fn(num_steps, operands, key, *data)
      out.gradients[rows] = np.asarray(count)[: len(rows)]
      store(state)
      return out

    state, done = start_fn(operands, key, *data)
    out.gradients[rows] = 1
    for i in range(num_steps):
      if compact:
        alive = ~np.asarray(done)[: len(rows)]
        if not alive.any():
          break
        smaller = bucket(int(alive.sum()), size)
        if smaller < size:
          store(state)
          kept = padded(np.flatnonzero(alive), smaller)
          data, state, done = take_fn((data, state, done), kept)
          rows, size = rows[alive], smaller
      out.gradients[rows] += ~np.asarray(done)[: len(rows)]
      state, done = step_fn(operands, key, *data, np.int32(i), state)
    store(state)
    return out

  return attack_batch

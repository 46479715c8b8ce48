"""Batches of examples through an attack: compiled pieces, driven by the host.

On CPU a Python loop calls jitted, donated pieces, because XLA runs
convolutions inside a loop several times slower there (jax issue 12868), and
runs the classifier only on the rows that need it: not where an example is
done, nor where its discretized image has not changed. Elsewhere all steps are
one `lax.scan`. Both run the same functions of `Attack` under `over_examples`,
so the numbers are the same.

Batches come in four sizes, so that this costs a handful of compilations. What
changes from call to call (parameters, eps, the key, a codebook) comes in as
`operands` and compiles nothing; neither does the number of parts of an
evaluation, on CPU.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from rdefense.attacks import pieces
from rdefense.attacks.base import Attack
from rdefense.parallel import Layout, layout, padded_size
from rdefense.types import Key, PyTree

__all__ = ['Attacked', 'batch_attack', 'rows_at_once']

_SMALLEST = 12  # below this another size costs more to compile than it saves
_PARTS = (8, 4, 2, 1)  # into how many a batch is split to get its sizes
_PIECE = 100  # more rows at once cost a CPU more a row, out of its caches


def rows_at_once(rows: int) -> int:
  """How many of a device's rows run side by side in one evaluation."""
  return _even(rows) if _host_loop() else rows


def _even(rows: int) -> int:
  """Of as few pieces as there can be, the size that pads them least.

  >>> _even(60), _even(128), _even(500)
  (60, 64, 100)
  """
  pieces = max(1, -(-rows // _PIECE))
  return -(-rows // pieces)


def _host_loop() -> bool:
  return jax.default_backend() == 'cpu'


class Attacked(NamedTuple):
  """What an attack submits for a batch, on the host."""

  z: np.ndarray  # [B, H, W, C], float32; rows left out keep their x
  margin: np.ndarray  # [B], float32, as the attack saw it; NaN where left out
  evaluations: np.ndarray  # [B], int32: parts of evaluations the row needed


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
    compact: run the classifier only on the rows that need it (`host` loop
      only). Changes the cost, not the result.
    loop: `host` or `scan`; None picks by backend.

  Returns:
    `(operands, key, num_steps, index, x, y, active, num_parts=1) -> Attacked`,
    with `index` `[B]` int32 the global example numbers, `x` `[B, H, W, C]`,
    `y` `[B]`, `active` `[B]` bool the rows to attack and `num_parts` those of
    each evaluation. Keep it and call it again: it holds what was compiled. It
    raises `ValueError` where NaN gets in the way: such an attack ends where it
    stands, which would pass for robustness.
  """
  where = layout() if where is None else where
  loop = loop or ('host' if _host_loop() else 'scan')
  compiled = pieces.compiled(make_attack, where)
  split = where.split
  take, put = pieces.moves(where)

  def size_for(count: int, largest: int) -> int:
    least = max(count, _SMALLEST)
    sizes = (-(-largest // part) for part in _PARTS)
    fits = next((size for size in sizes if size >= least), largest)
    return padded_size(where, fits)

  def padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.full(size - len(rows), rows[0])])

  def host(operands, key, counts, data, count: int, largest: int):
    index, x, y = data
    num_steps, num_parts = counts
    everything = np.ones(len(x), bool)

    def evaluate(state, i, stale, rows):
      most = _even(largest)
      for piece in np.split(rows, range(most, len(rows), most)):
        size = size_for(len(piece), most)
        whole = size >= len(x)
        part_data, part = (*data, stale), state
        if not whole:
          piece = padded(piece, size)
          *part_data, part = take((*part_data, state), piece)
        for number in map(np.int32, range(num_parts)):
          part = compiled.evaluate(operands, key, *part_data, i, number, part)
        state = part if whole else put(state, part, piece)
      return state

    state = compiled.start(operands, key, index, x, y)
    stale = jax.device_put(everything, split)
    rows = np.arange(count if compact else len(x))
    i = np.int32(0)
    state = evaluate(state, i, stale, rows)
    evaluations = np.full(len(x), num_parts, np.int32)
    for i in map(np.int32, range(1, num_steps + 1)):
      state, stale, done = compiled.move(operands, key, index, x, i, state)
      needed, finished = jax.device_get((stale, done))
      evaluations += num_parts * needed
      if compact and finished[:count].all():
        break
      rows = np.flatnonzero(needed[:count]) if compact else rows
      if rows.size:
        state = evaluate(state, i, stale, rows)
    read = compiled.read(operands, key, index, x, i, state)
    return (*read, evaluations)

  def attack_batch(
    operands, key: Key, num_steps: int, index, x, y, active, num_parts: int = 1
  ):
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
    counts = num_steps, num_parts
    chosen = padded(rows, size_for(len(rows), len(x)))
    operands, key = jax.device_put((operands, key), where.copied)
    data = jax.device_put((index[chosen], x[chosen], y[chosen]), split)
    if loop == 'scan':
      results = compiled.scan(*counts, operands, key, *data)
    else:
      results = host(operands, key, counts, data, len(rows), len(x))
    for to, result in zip(out, jax.device_get(results), strict=True):
      to[rows] = result[: len(rows)]
    lost = np.isnan(out.margin[rows]) | np.isnan(out.z[rows]).any((1, 2, 3))
    if lost.any():
      raise ValueError(
        f'the attack on image {index[rows][lost][0]} met NaN in a logit or a '
        "gradient: has the model's training diverged, or has the loss or the "
        'surrogate no derivative there?'
      )
    return out

  return attack_batch

"""What one recipe submits for a batch: made for a target, or handed to many.

Images made on a twin, or on an ensemble, are the same whatever they are handed
to; paper B takes those of a contest's teams. They are kept batch by batch, so
that each later target costs its judging only.

>>> import tempfile
>>> x, index = np.zeros((3, 1, 1, 1), np.float32), np.array([4, 5, 5])
>>> batch = Batch(index, x, np.zeros(3, int), np.array([True, True, False]))
>>> made = lambda active: Attacked(x + 1, x[:, 0, 0, 0], np.full(3, 7))
>>> with tempfile.TemporaryDirectory() as directory:
...   first = handed(directory, batch, made)
...   again = handed(directory, batch, made=None)  # not made again
>>> again.z.ravel().tolist(), again.evaluations.tolist()
([1.0, 1.0, 0.0], [7, 7, 0])
"""

from collections.abc import Callable
import functools
import zlib

import jax
import numpy as np

from rdefense import records
from rdefense.attacks.assembly import Recipe, assemble, num_parts
from rdefense.attacks.driver import Attacked, batch_attack
from rdefense.data.batches import Batch
from rdefense.deployed import Target
from rdefense.losses import numbered
from rdefense.parallel import Layout
from rdefense.threats import STARTS, ball
from rdefense.types import Key, Loss

__all__ = ['handed', 'submit']


@functools.cache
def _program(
  apply, defend, norm: str, recipe: Recipe, objectives, where, compact
):
  """One compiled attack for all recipes that differ in loss and numbers."""

  def make_attack(operands):
    params, codes, eps, alpha, start, step_size, num_steps, objective = operands
    return assemble(
      recipe._replace(loss=numbered(objectives, objective)),
      lambda x: apply(params, x),
      defend(codes, alpha),
      ball(norm, eps),
      start=start,
      step_size=step_size,
      num_steps=num_steps,
    )

  return batch_attack(make_attack, where, compact)


def submit(
  source: Target,
  recipe: Recipe,
  objectives: tuple[Loss, ...],
  norm: str,
  eps: float,
  key: Key,
  batch: Batch,
  where: Layout,
  compact: bool,
  active: np.ndarray,
) -> Attacked:
  """Runs one recipe on some rows of a batch.

  Args:
    source: what it sees and differentiates.
    recipe: of an ensemble.
    objectives: losses of the ensemble, whose recipes share what is compiled.
    norm: of the ball.
    eps: its radius in [0, 1] pixel units.
    key: root key; that of the recipe is folded in by name.
    batch: examples.
    where: devices to use.
    compact: leave examples that are done out of the batch.
    active: `[B]` bool, rows to attack.
  """
  kind = recipe._replace(
    name='',
    loss=objectives[0],
    step_size=0.0,
    num_steps=0,
    start='',
    alpha=0.0,
    every_example=False,
    num_draws=min(recipe.num_draws, 1),
  )
  program = _program(
    source.apply, source.defend, norm, kind, objectives, where, compact
  )
  operands = (
    source.params,
    source.codes,
    np.float32(eps),
    np.float32(recipe.alpha),
    np.int32(STARTS.index(recipe.start)),
    np.float32(recipe.step_size),
    np.int32(recipe.num_steps),
    np.int32(objectives.index(recipe.loss)),
  )
  return program(
    operands,
    jax.random.fold_in(key, zlib.crc32(recipe.name.encode())),
    recipe.num_steps,
    batch.index,
    batch.image,
    batch.label,
    active,
    num_parts(recipe),
  )


def handed(
  directory, batch: Batch, made: Callable[[np.ndarray], Attacked]
) -> Attacked:
  """A batch of what a recipe submits, from disk where it has been made.

  Args:
    directory: of that recipe on that source, at that radius under that key.
    batch: examples; all but the padding are attacked.
    made: runs the recipe on the rows it is given.

  Returns:
    `Attacked`; padding keeps its image.

  Raises:
    ValueError: on a damaged file.
  """
  rows = np.flatnonzero(batch.mask)
  index = batch.index[rows]
  number = int(index[0])
  if number in records.completed(directory):
    found = records.read_shard(records.shard_path(directory, number))
    if np.array_equal(found.pop('index'), index):
      nothing = np.full(len(batch.mask), np.nan, np.float32)
      out = Attacked(batch.image.copy(), nothing, np.zeros(len(nothing), int))
      for name, column in found.items():
        getattr(out, name)[rows] = column
      return out
  out = made(batch.mask)
  columns = {name: column[rows] for name, column in out._asdict().items()}
  records.write_shard(directory, number, {'index': index, **columns})
  return out

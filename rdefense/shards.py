"""A dataset worked off shard by shard, each on disk before the next begins.

A killed run leaves whole shards only; the next one reads them and goes on. A
progress bar shows what has been found so far and the time left. Of several
processes each takes its own shards, and reads those of the others when they are
all there: a folder that all of them see holds the same files whatever their
number.
"""

from collections.abc import Callable, Mapping
import functools
import time
from typing import Any

import jax
import numpy as np
from tqdm import auto as tqdm

from rdefense import checks, records
from rdefense.data.batches import Batch, batches
from rdefense.data.sources import Arrays

__all__ = ['worked_off']

# Seconds between two looks for the others' shards, at first and in the end.
_FIRST_LOOK, _LAST_LOOK = 0.2, 5.0


def worked_off(
  arrays: Arrays,
  directory,
  shard_size: int,
  num_examples: int | None,
  compute: Callable[[Batch], Mapping[str, Any]],
  count: Callable[[Mapping[str, Any]], np.ndarray],
  tell: Callable[[np.ndarray], str],
  title: str = '',
) -> Mapping[str, np.ndarray]:
  """Rows of the first examples of a dataset, computed where not on disk.

  Args:
    arrays: the dataset, in order.
    directory: where the shards lie, seen by all processes; present ones are
      not computed again, unless they lack an example that is asked for.
    shard_size: examples a shard.
    num_examples: the first so many; None means all.
    compute: the columns of a batch, padding left out, as
      `records.write_shard` takes them.
    count: of a shard's columns, numbers that add up over shards.
    tell: their sums so far, in words for the progress bar.
    title: shown before them.

  Returns:
    Columns sorted by example.

  Raises:
    ValueError: on labels out of range, a damaged shard, and no examples.
  """
  total = len(arrays.images)
  if num_examples is not None:
    checks.check_whole('num_examples', num_examples, 1, ': None takes all')
    total = min(num_examples, total)
  checks.check_labels(arrays.labels, len(arrays.images), arrays.num_classes)
  finished = records.completed(directory)
  process, processes = jax.process_index(), jax.process_count()
  mine = np.arange(total)[np.arange(total) // shard_size % processes == process]
  counts: Any = 0
  with tqdm.tqdm(total=len(mine), desc=title, unit='img') as bar:
    for turn, batch in enumerate(batches(arrays, shard_size, mine)):
      number = turn * processes + process
      wanted, columns = batch.index[batch.mask], None
      if number in finished:
        path = records.shard_path(directory, number)
        columns = _only(records.read_shard(path), wanted)
      if columns is None:
        columns = compute(batch)
        records.write_shard(directory, number, columns)
      counts = counts + count(columns)
      bar.set_postfix_str(tell(counts))
      bar.update(len(columns['index']))
  look = functools.partial(_rows, directory, -(-total // shard_size), total)
  rows, pause = look(), _FIRST_LOOK
  while rows is None and processes > 1:
    # It looks on disk, not at the processes: who has lost one is stopped by
    # JAX's runtime, and the folder is what the next run goes on from.
    time.sleep(pause)
    rows, pause = look(), min(2 * pause, _LAST_LOOK)
  if rows is None:
    raise ValueError(
      f'{directory} lacks some of the first {total} examples: were shards of '
      'another size left there?'
    )
  return rows


def _only(columns: Mapping[str, Any], index) -> Mapping[str, Any] | None:
  """The rows of these examples; None unless all of them are there."""
  chosen = np.isin(columns['index'], index)
  if chosen.sum() < len(index):
    return None
  return {name: column[chosen] for name, column in columns.items()}


def _rows(directory, num_shards: int, total: int):
  """Of the first examples; None while a shard is missing, or lacks some."""
  if not records.completed(directory) >= {*range(num_shards)}:
    return None
  return _only(records.read(directory), np.arange(total))

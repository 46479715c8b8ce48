"""A dataset worked off shard by shard, each on disk before the next begins.

A killed run leaves whole shards only; the next one reads them and goes on. A
progress bar shows what has been found so far and the time left.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tqdm import auto as tqdm

from rdefense import checks, records
from rdefense.data.batches import Batch, batches
from rdefense.data.sources import Arrays

__all__ = ['worked_off']


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
    directory: where the shards lie; present ones are not computed again.
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
    ValueError: on labels out of range or a damaged shard.
  """
  total = len(arrays.images)
  total = total if num_examples is None else min(num_examples, total)
  checks.check_labels(arrays.labels, len(arrays.images), arrays.num_classes)
  finished = records.completed(directory)
  counts: Any = 0
  with tqdm.tqdm(total=total, desc=title, unit='img') as bar:
    for number, batch in enumerate(
      batches(arrays, shard_size, np.arange(total))
    ):
      columns: Mapping[str, Any]
      if number in finished:
        columns = records.read_shard(records.shard_path(directory, number))
      else:
        columns = compute(batch)
        records.write_shard(directory, number, columns)
      counts = counts + count(columns)
      bar.set_postfix_str(tell(counts))
      bar.update(len(columns['index']))
  return records.read(directory)

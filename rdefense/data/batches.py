"""Batches that know which examples they hold.

Each batch carries the global `index` of its examples, from which their keys
are folded, and a `mask` that is False on padding: nothing is dropped, and
results do not depend on the batch size. Training order is a pure function of
(seed, step): step t takes positions t * B, ..., t * B + B - 1 of the endless
concatenation of the epochs' permutations, so that each example is seen once an
epoch, a batch may straddle two epochs, and a resumed run needs no state.

>>> images = np.zeros((5, 2, 2, 1), np.uint8)
>>> arrays = Arrays(images, np.arange(5, dtype=np.int32), 5, 'toy')
>>> for batch in batches(arrays, batch_size=3):
...   print(batch.index, batch.mask)
[0 1 2] [ True  True  True]
[3 4 4] [ True  True False]
>>> batch = gather(
...   arrays, training_batch_indices(seed=0, step=7, size=5, batch_size=3)
... )
>>> batch.image.shape
(3, 2, 2, 1)
"""

from collections.abc import Iterator
import functools
from typing import NamedTuple

import numpy as np

from rdefense.data.sources import Arrays, in_unit

__all__ = [
  'Batch',
  'batches',
  'epoch_indices',
  'gather',
  'training_batch_indices',
]


class Batch(NamedTuple):
  """`B` examples.

  Attributes:
    index: `[B]` int32, the row of each example in the arrays it came from. A
      padding row repeats the index, image and label of the last real row, so
      that it is an ordinary example whose result is thrown away.
    image: `[B, H, W, C]` float32, values in [0, 1].
    label: `[B]` int32.
    mask: `[B]` bool, False on padding.
  """

  # It hides tuple.index, which nobody asks of a batch.
  index: np.ndarray  # type: ignore[assignment]
  image: np.ndarray
  label: np.ndarray
  mask: np.ndarray


def batches(
  arrays: Arrays, batch_size: int, indices: np.ndarray | None = None
) -> Iterator[Batch]:
  """Iterates over examples in order, padding the last batch.

  Args:
    arrays: the dataset, at least one example.
    batch_size: number of rows of every batch, the last one included, so that
      a jitted function compiles once.
    indices: `[M]` integer, rows of `arrays` in the order wanted; all rows if
      None. With no rows, as where a resumed run has nothing left to do, there
      are no batches.

  Returns:
    An iterator over ceil(M / batch_size) batches.

  Raises:
    ValueError: at the call, not at the first batch: if `arrays` is empty or
      inconsistent, `batch_size` is below 1, or `indices` are not rows.

  >>> images = np.full((3, 1, 1, 1), 255, np.uint8)
  >>> arrays = Arrays(images, np.arange(3, dtype=np.int32), 3, 'toy')
  >>> [batch.label.tolist() for batch in batches(arrays, 2, indices=[2, 0, 1])]
  [[2, 0], [1, 1]]
  """
  _check_positive(batch_size=batch_size)
  if indices is None:
    indices = np.arange(len(arrays.images))
  indices = _check_rows(arrays, indices)
  return _iterate(arrays, batch_size, indices)


def gather(arrays: Arrays, rows: np.ndarray) -> Batch:
  """Collects rows into one batch without padding.

  Args:
    arrays: the dataset, at least one example.
    rows: `[B]` integer, rows of `arrays`, repeats allowed.

  Returns:
    The batch, in the order of `rows`, with an all-True mask.

  Raises:
    ValueError: if `arrays` is empty or inconsistent, or `rows` are not rows.

  >>> images = np.full((3, 1, 1, 1), 255, np.uint8)
  >>> arrays = Arrays(images, np.arange(3, dtype=np.int32), 3, 'toy')
  >>> gather(arrays, [2, 2]).index
  array([2, 2], dtype=int32)
  """
  rows = _check_rows(arrays, rows)
  return _gather(arrays, rows, num_real=len(rows))


def epoch_indices(seed: int, epoch: int, size: int) -> np.ndarray:
  """Returns the order in which an epoch visits the examples.

  Args:
    seed: seed of the run, 0 or more.
    epoch: number of the epoch, from 0.
    size: number of examples.

  Returns:
    `[size]` int32, a permutation of 0..size-1, drawn by
    `numpy.random.default_rng([seed, epoch])`.

  Raises:
    ValueError: if `seed` or `epoch` is negative or `size` is below 1.

  >>> sorted(epoch_indices(seed=0, epoch=3, size=4).tolist())
  [0, 1, 2, 3]
  """
  _check_positive(size=size)
  _check_not_negative(seed=seed, epoch=epoch)
  return _permutation(int(seed), int(epoch), int(size)).copy()


def training_batch_indices(
  seed: int, step: int, size: int, batch_size: int
) -> np.ndarray:
  """Returns the rows on which a training step works.

  Args:
    seed: seed of the run, 0 or more.
    step: number of the training step, from 0.
    size: number of examples.
    batch_size: number of rows; may exceed `size`.

  Returns:
    `[batch_size]` int32, rows in 0..size-1: entry j is at position
    step * batch_size + j of `epoch_indices(seed, 0, size)`, followed by
    `epoch_indices(seed, 1, size)`, and so on.

  Raises:
    ValueError: if `seed` or `step` is negative, or `size` or `batch_size` is
      below 1.

  >>> steps = [training_batch_indices(0, step, 4, 3) for step in range(4)]
  >>> np.bincount(np.concatenate(steps)).tolist()  # three epochs
  [3, 3, 3, 3]
  """
  _check_positive(size=size, batch_size=batch_size)
  _check_not_negative(seed=seed, step=step)
  seed, step, size = int(seed), int(step), int(size)
  first = step * batch_size
  last = first + batch_size - 1
  first_epoch = first // size
  order = np.concatenate(
    [
      _permutation(seed, epoch, size)
      for epoch in range(first_epoch, last // size + 1)
    ]
  )
  offset = first - first_epoch * size
  return order[offset : offset + batch_size]


def _iterate(
  arrays: Arrays, batch_size: int, indices: np.ndarray
) -> Iterator[Batch]:
  for start in range(0, len(indices), batch_size):
    rows = indices[start : start + batch_size]
    padded = np.pad(rows, (0, batch_size - len(rows)), mode='edge')
    yield _gather(arrays, padded, num_real=len(rows))


def _gather(arrays: Arrays, rows: np.ndarray, num_real: int) -> Batch:
  return Batch(
    index=rows.astype(np.int32),
    image=in_unit(arrays.images[rows]),
    label=arrays.labels[rows].astype(np.int32),
    mask=np.arange(len(rows)) < num_real,
  )


# A permutation of 60,000 takes about a millisecond, more than a small step on
# a GPU; consecutive steps ask for the same one, or for two at an epoch's end.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
  order = np.random.default_rng([seed, epoch]).permutation(size)
  order = order.astype(np.int32)
  order.flags.writeable = False  # It is shared between callers.
  return order


def _check_rows(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
  size = len(arrays.images)
  if size == 0:
    raise ValueError(
      f'arrays must hold at least one example; {arrays.name} is empty'
    )
  if arrays.images.ndim != 4 or arrays.labels.shape != (size,):
    raise ValueError(
      'arrays must have images [N, H, W, C] and labels [N]; got shapes '
      f'{arrays.images.shape} and {arrays.labels.shape}'
    )
  rows = np.asarray(rows)
  if rows.ndim != 1:
    raise ValueError(f'rows must have one axis; got shape {rows.shape}')
  if rows.size == 0:
    return rows.astype(np.int32)
  if not np.issubdtype(rows.dtype, np.integer):
    raise ValueError(
      f'rows must be integers; got {rows.dtype} (a mask becomes rows by '
      'np.flatnonzero)'
    )
  if rows.min() < 0 or rows.max() >= size:
    raise ValueError(
      f'rows must lie in 0..{size - 1}; got {rows.min()}..{rows.max()}'
    )
  return rows


def _check_positive(**values: int) -> None:
  for name, value in values.items():
    if value < 1:
      raise ValueError(f'{name} must be at least 1; got {value}')


def _check_not_negative(**values: int) -> None:
  for name, value in values.items():
    if value < 0:
      raise ValueError(f'{name} must be 0 or more; got {value}')

"""Calls on images of any number, so many at once: the results are the same."""

from collections.abc import Iterator

import numpy as np

from rdefense import checks
from rdefense.data.batches import Batch, batches
from rdefense.data.sources import Arrays

__all__ = ['AT_ONCE', 'check_size', 'in_batches']

AT_ONCE = 1000  # images, unless a caller knows better


def check_size(batch_size) -> int:
  """How many images are seen at once.

  Raises:
    ValueError: unless it is a whole number of at least 1.
  """
  return checks.check_whole('batch_size', batch_size, 1)


def in_batches(images, labels, batch_size: int) -> Iterator[Batch]:
  """Batches of one size, the last one padded; one of its own size if few.

  >>> images = np.zeros((5, 1, 1, 1), np.float32)
  >>> [b.index.tolist() for b in in_batches(images, np.zeros(5, int), 3)]
  [[0, 1, 2], [3, 4, 4]]
  >>> [b.index.tolist() for b in in_batches(images, np.zeros(5, int), 10)]
  [[0, 1, 2, 3, 4]]
  """
  images = np.asarray(images, np.float32)
  arrays = Arrays(images, np.asarray(labels, np.int32), 0, 'batch')
  return batches(arrays, min(batch_size, len(images)))

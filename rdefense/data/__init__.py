"""Datasets as arrays, and batches that know which examples they hold."""

from rdefense.data.augment import augment
from rdefense.data.batches import (
  Batch,
  batches,
  epoch_indices,
  gather,
  training_batch_indices,
)
from rdefense.data.given import load_given
from rdefense.data.gtsrb import (
  gtsrb_builder,
  gtsrb_directory,
  gtsrb_rows,
  load_gtsrb,
)
from rdefense.data.nips17 import (
  load_nips17,
  nips17_builder,
  nips17_directory,
)
from rdefense.data.sources import Arrays, data_directory, load, to_unit

__all__ = [
  'Arrays',
  'Batch',
  'augment',
  'batches',
  'data_directory',
  'epoch_indices',
  'gather',
  'gtsrb_builder',
  'gtsrb_directory',
  'gtsrb_rows',
  'load',
  'load_given',
  'load_gtsrb',
  'load_nips17',
  'nips17_builder',
  'nips17_directory',
  'to_unit',
  'training_batch_indices',
]

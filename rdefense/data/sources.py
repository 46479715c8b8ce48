"""Whole image datasets as arrays, read without TensorFlow.

`digits` comes with scikit-learn. `mnist`, `fashion_mnist` and `cifar10` are
read from a directory that tensorflow-datasets has prepared as ArrayRecord;
`python -m experiments.prepare_data --name=mnist` prepares one. `gtsrb` is read
from there too where it is prepared, and otherwise, as `nips17` always, from a
folder beside that directory; see `rdefense.data.gtsrb` and
`rdefense.data.nips17`. Pixels stay uint8 until `to_unit`, so that codebooks and
certificates can work on integers.

>>> digits = load('digits', 'test')
>>> digits.images.shape, digits.labels.shape, digits.num_classes
((500, 8, 8, 1), (500,), 10)
>>> float(to_unit(digits.images).max())
1.0

References:
  tensorflow-datasets, https://www.tensorflow.org/datasets.
  E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI,
  1998, https://doi.org/10.24432/C50P49 (its test part, as in scikit-learn).
"""

import io
import os
from typing import NamedTuple

from etils.epath import Path
import numpy as np

from rdefense import checks

__all__ = [
  'NAMES',
  'PREPARED_NAMES',
  'SPLITS',
  'Arrays',
  'data_directory',
  'in_unit',
  'load',
  'to_unit',
]

PREPARED_NAMES = ('mnist', 'fashion_mnist', 'cifar10')
NAMES = ('digits', *PREPARED_NAMES, 'gtsrb', 'nips17')
SPLITS = ('train', 'test')

_DIGITS_TRAIN_SIZE = 1_297
_DIGITS_MAX_VALUE = 16
_ROWS_PER_READ = 1_000


class Arrays(NamedTuple):
  """One split of a dataset, in memory.

  Attributes:
    images: `[N, H, W, C]` uint8, values 0..255; what is attacked elsewhere
      may be float32 in [0, 1].
    labels: `[N]` int32, values 0..num_classes-1.
    num_classes: number of classes, whether or not each occurs in the split.
    name: what `load` was asked for.
  """

  images: np.ndarray
  labels: np.ndarray
  num_classes: int
  name: str


def load(
  name: str,
  split: str,
  data_dir: str | os.PathLike[str] | None = None,
  count: int = 0,
) -> Arrays:
  """Loads one split of a dataset, or its first examples.

  The order of the examples is fixed: that of the prepared files, which
  tensorflow-datasets shuffled once (not the official order), that of the
  official tables for `gtsrb` and `nips17`, and for `digits` that of
  `numpy.random.RandomState(0).permutation(1797)`, whose first 1,297 entries
  are the training rows and whose last 500 are the test rows. `RandomState` is
  used because NumPy has frozen its stream. The values 0..16 of `digits` become
  round(v * 255 / 16), 8 becoming 128.

  Args:
    name: 'digits', 'mnist', 'fashion_mnist', 'cifar10', 'gtsrb' or 'nips17'.
    split: 'train' or 'test'; 'nips17' has 'test', its development images, and
      'final'.
    data_dir: local directory that holds the prepared datasets; see
      `data_directory` for the default. Not used for 'digits'. What is not
      prepared but lies in a folder is looked for beside it, or where GTSRB_DIR
      and NIPS17_DIR (of 'final', NIPS17_FINAL_DIR) say.
    count: how many examples, at most; all if 0. No more images than that are
      read.

  Returns:
    The examples that the files hold.

  Raises:
    ValueError: if the name or the split is unknown, `count` is negative, or
      the dataset is not prepared, not readable or not complete under
      `data_dir`.

  >>> load('digits', 'train').images.shape
  (1297, 8, 8, 1)
  >>> load('digits', 'train', count=3).labels.shape
  (3,)
  """
  if name not in NAMES:
    raise ValueError(f'name must be one of {", ".join(NAMES)}; got {name!r}')
  if split not in SPLITS and (name, split) != ('nips17', 'final'):
    raise ValueError(f'split must be one of {", ".join(SPLITS)}; got {split!r}')
  checks.check_whole('count', count, 0)
  if name == 'digits':
    return _load_digits(split, count)
  if name == 'nips17':
    from rdefense.data import nips17  # It imports this module.

    if split == 'train':
      raise ValueError("nips17 has the splits 'test' and 'final'; got 'train'")
    return nips17.load_nips17(nips17.nips17_directory(data_dir, split), count)
  directory = data_directory(data_dir)
  is_prepared = any(directory.glob(f'{name}/*/dataset_info.json'))
  if name == 'gtsrb' and not is_prepared:
    from rdefense.data import gtsrb  # It imports this module.

    return gtsrb.load_gtsrb(split, gtsrb.gtsrb_directory(data_dir), count)
  if not is_prepared:
    raise ValueError(
      f'{name} is not prepared in {directory}: prepare it with `python -m '
      f'experiments.prepare_data --name={name}`, or point data_dir or the '
      'environment variable TFDS_DATA_DIR at the directory that has it'
    )
  # Imported late: tensorflow-datasets brings it.
  from google.protobuf import json_format

  try:
    return _load_prepared(name, split, directory, count)
  except (RuntimeError, OSError, ValueError, json_format.ParseError) as error:
    raise ValueError(
      f'{name} in {directory} cannot be read, likely because files are missing '
      'or damaged, or were prepared as TFRecord or by another version of '
      'tensorflow-datasets: prepare it afresh in another directory with '
      f'`python -m experiments.prepare_data --name={name} --data_dir=...`'
    ) from error


def data_directory(
  data_dir: str | os.PathLike[str] | None = None,
) -> Path:
  """Returns the directory in which prepared datasets are looked for.

  Args:
    data_dir: a directory or bucket; if None, the environment variable
      TFDS_DATA_DIR and, where that is unset or empty, ~/tensorflow_datasets,
      which is the default of tensorflow-datasets. The variable is read at each
      call, where tensorflow-datasets reads it once when it is imported.

  Returns:
    The path, with `~` expanded. It need not exist.

  >>> data_directory('/data/tfds').as_posix()
  '/data/tfds'
  """
  chosen = (
    data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  )
  return Path(chosen).expanduser()


def to_unit(images: np.ndarray) -> np.ndarray:
  """Maps uint8 pixels to float32 in [0, 1].

  The product float32(v) * float32(1/255), rounded to float32, and not the
  quotient v / 255, from which it differs in the last bit for some values: the
  former is what the TensorFlow tutorial loader used by both papers computes.
  round(255 * result) gives the integers back.

  Args:
    images: uint8, any shape, values 0..255.

  Returns:
    float32 array of the same shape, values 0..1, both reached exactly.

  Raises:
    ValueError: if `images` is not uint8.

  >>> to_unit(np.array([0, 51, 255], np.uint8)).tolist()
  [0.0, 0.20000001788139343, 1.0]
  """
  images = np.asarray(images)
  if images.dtype != np.uint8:
    raise ValueError(
      f'images must be uint8 with values 0..255; got {images.dtype}, likely '
      'because they were converted already'
    )
  return np.multiply(images, np.float32(1 / 255), dtype=np.float32)


def in_unit(images: np.ndarray) -> np.ndarray:
  """Images of `Arrays` in [0, 1]: float32 as they are, uint8 by `to_unit`.

  Raises:
    ValueError: on other dtypes, and on float32 outside [0, 1].

  >>> in_unit(np.array([255], np.uint8)) == in_unit(np.array([1], np.float32))
  array([ True])
  """
  images = np.asarray(images)
  if images.dtype != np.float32:
    return to_unit(images)
  if images.size:
    checks.check_unit(images)
  return images


def _load_digits(split: str, count: int) -> Arrays:
  from sklearn import datasets  # Slow to import, and only needed here.

  digits = datasets.load_digits()
  images = np.round(digits.images * 255 / _DIGITS_MAX_VALUE).astype(np.uint8)
  rows = np.random.RandomState(0).permutation(len(images))
  is_train = split == 'train'
  rows = rows[:_DIGITS_TRAIN_SIZE] if is_train else rows[_DIGITS_TRAIN_SIZE:]
  rows = rows[: count or None]
  labels = digits.target.astype(np.int32)
  return Arrays(images[rows, :, :, None], labels[rows], 10, 'digits')


def _load_prepared(
  name: str, split: str, directory: Path, count: int
) -> Arrays:
  # Imported late: slow to import, and `digits` needs neither.
  from PIL import Image
  import tensorflow_datasets as tfds

  # Decoding the PNGs here is a fifth faster than in tfds, whose advice to
  # install OpenCV is also not heard then.
  source = tfds.data_source(
    name,
    split=split,
    data_dir=os.fspath(directory),
    download=False,
    decoders={'image': tfds.decode.SkipDecoding()},
  )
  features = source.dataset_info.features
  shape = features['image'].shape
  size = min(count or len(source), len(source))
  images = np.empty((size, *shape), np.uint8)
  labels = np.empty(size, np.int32)
  for start in range(0, size, _ROWS_PER_READ):
    stop = min(start + _ROWS_PER_READ, size)
    rows = source.__getitems__(list(range(start, stop)))
    for i, row in enumerate(rows, start):
      with Image.open(io.BytesIO(row['image'])) as image:
        images[i] = np.asarray(image).reshape(shape)
      labels[i] = row['label']
  return Arrays(images, labels, features['label'].num_classes, name)

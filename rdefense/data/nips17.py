"""Images of the NIPS-2017 adversarial competition, 299x299 in colour.

A folder in the competition's layout has `images.csv`, with columns `ImageId`
and `TrueLabel` among others, and `images/<ImageId>.png`. Labels are 1 to 1000,
as in ImageNet with background as class 0. There are 1,000 development images,
the split `test` of `data.load`, and 5,000 of the final round, its split
`final`, in folders of their own. `load_nips17` reads such a folder in the order
of its rows. `nips17_builder` prepares it with tensorflow-datasets, whose order
is its own, for pipelines that start there; neither needs TensorFlow.

>>> nips17_directory('/data/tfds').as_posix()
'/data/nips17'
>>> nips17_directory('/data/tfds', 'final').as_posix()
'/data/nips17_final'

References:
  Kurakin et al., Adversarial attacks and defences competition, 2018,
  https://arxiv.org/abs/1804.00097.
"""

import functools
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rdefense import checks
from rdefense.data import pngs, preparing, tables
from rdefense.data.sources import Arrays

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

__all__ = ['load_nips17', 'nips17_builder', 'nips17_directory', 'nips17_rows']

SHAPE = (299, 299, 3)
NUM_CLASSES = 1001  # with background


def nips17_directory(
  data_dir: str | os.PathLike[str] | None = None, split: str = 'test'
) -> pathlib.Path:
  """The folder in which the competition's images are looked for.

  Args:
    data_dir: see `sources.data_directory`.
    split: `test` (the development images) or `final`.

  Returns:
    The environment variable NIPS17_DIR where it is set, and otherwise `nips17`
    beside the directory of prepared datasets; of `final` NIPS17_FINAL_DIR and
    `nips17_final`. It need not exist.

  Raises:
    ValueError: on another split.
  """
  checks.check_choice('split', split, ('test', 'final'))
  if split == 'final':
    return preparing.folder('NIPS17_FINAL_DIR', 'nips17_final', data_dir)
  return preparing.folder('NIPS17_DIR', 'nips17', data_dir)


def nips17_rows(
  directory: str | os.PathLike[str],
) -> list[tuple[pathlib.Path, int]]:
  """The images that `images.csv` lists, in its order.

  Args:
    directory: a folder in the competition's layout.

  Returns:
    Path and label, 1 to 1000, of each image; all of them exist.

  Raises:
    ValueError: if the folder, the csv, one of its columns, an image or every
      row is missing, or a label is not an integer from 1 to 1000.
  """
  directory = pathlib.Path(directory)
  table = directory / 'images.csv'
  if not directory.is_dir():
    raise ValueError(
      f'{directory} is not a folder: set NIPS17_DIR (of the final images, '
      "NIPS17_FINAL_DIR) to the one that has the competition's images.csv and "
      'images/'
    )
  if not table.is_file():
    raise ValueError(
      f'{table} is missing: the folder needs the table of the competition '
      '(dev_dataset.csv or final_dataset.csv), under that name'
    )
  listed = tables.listed(
    table,
    ('ImageId', 'TrueLabel'),
    range(1, NUM_CLASSES),
    'it is not the table of the competition, or was saved without its first '
    'line',
  )
  rows = [
    (directory / 'images' / f'{name}.png', label) for name, label in listed
  ]
  tables.check_there(
    rows, '', 'download them, or remove their rows from images.csv'
  )
  return rows


def load_nips17(
  directory: str | os.PathLike[str] | None = None, count: int = 0
) -> Arrays:
  """Reads the images and their true labels.

  Args:
    directory: a folder in the competition's layout; `nips17_directory()` if
      None.
    count: how many images, at most; all if 0.

  Returns:
    Images `[N, 299, 299, 3]` and labels 1..1000 of 1001 classes, in the order
    of `images.csv`, named 'nips17'.

  Raises:
    ValueError: as `nips17_rows` does, or if `count` is negative, or an image
      cannot be read or is not 299x299 in colour.
  """
  checks.check_whole('count', count, 0)
  rows = nips17_rows(nips17_directory() if directory is None else directory)
  rows = rows[: count or None]
  images = np.empty((len(rows), *SHAPE), np.uint8)
  for i, (path, _) in enumerate(rows):
    images[i] = _read(path)
  labels = np.array([label for _, label in rows], np.int32)
  return Arrays(images, labels, NUM_CLASSES, 'nips17')


def _read(path: pathlib.Path) -> np.ndarray:
  return pngs.read_png(path, SHAPE, ': crop and resize it as the table says')


def nips17_builder(
  data_dir: str | os.PathLike[str] | None = None,
) -> 'tfds.core.GeneratorBasedBuilder':
  """The dataset `nips17` for tensorflow-datasets, as ArrayRecord.

  Prepare it from a folder in the competition's layout with
  `builder.download_and_prepare(download_config=
  tfds.download.DownloadConfig(manual_dir=directory))`; its one split, `test`,
  has the features `image`, `label` and `id`.

  Args:
    data_dir: where prepared datasets are; see `sources.data_directory`.

  Returns:
    A `GeneratorBasedBuilder`.
  """
  return preparing.builder(_builder_class(), data_dir)


@functools.cache  # tensorflow-datasets refuses a second class of a name.
def _builder_class():
  base: Any = preparing.images_class()

  class Nips17(base):
    """Development images of the NIPS-2017 adversarial competition."""

    SHAPE, NUM_CLASSES = SHAPE, NUM_CLASSES
    HOMEPAGE = 'https://arxiv.org/abs/1804.00097'
    ORDERED = False
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
      "a folder with the competition's images.csv and images/<ImageId>.png"
    )

    def _split_generators(self, dl_manager):
      return {'test': self._generate_examples(dl_manager.manual_dir)}

    def _generate_examples(self, directory):
      for path, label in nips17_rows(directory):
        _read(path)  # so that a damaged image is named
        features = {'image': os.fspath(path), 'label': label, 'id': path.stem}
        yield path.stem, features

  return Nips17

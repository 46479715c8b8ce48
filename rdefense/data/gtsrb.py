"""German traffic signs of 43 classes, resized to 32x32 as paper A did.

The official archives, extracted into one folder, give
`GTSRB/Final_Training/Images/<class>/GT-<class>.csv` with the images it lists
beside it, `GTSRB/Final_Test/Images/*.ppm`, and the labels of the latter,
`GT-final_test.csv`, which may also lie among them. The tables are separated by
semicolons. The whole image is resized, not the sign's region, by taking the
nearest pixel, Pillow's default of the time; then images whose mean over all
pixels and channels is below 50 are dropped, in both splits. `load_gtsrb` reads
such a folder; `gtsrb_builder` prepares the same images in the same order with
tensorflow-datasets, from a folder or from a download.

>>> gtsrb_directory('/data/tfds').as_posix()
'/data/gtsrb'

References:
  Stallkamp et al., The German Traffic Sign Recognition Benchmark, IJCNN 2011,
  https://doi.org/10.1109/IJCNN.2011.6033395.
"""

from collections.abc import Iterator
import functools
import io
import itertools
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rdefense import checks
from rdefense.data import preparing, tables
from rdefense.data.sources import SPLITS, Arrays

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

__all__ = ['gtsrb_builder', 'gtsrb_directory', 'gtsrb_rows', 'load_gtsrb']

SHAPE = (32, 32, 3)
NUM_CLASSES = 43
MIN_MEAN = 50  # of 255; an image of this very mean is kept
ADDRESS = 'https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370'
ARCHIVES = {
  'train': 'GTSRB_Final_Training_Images.zip',
  'test': 'GTSRB_Final_Test_Images.zip',
  'labels': 'GTSRB_Final_Test_GT.zip',
}


def gtsrb_directory(
  data_dir: str | os.PathLike[str] | None = None,
) -> pathlib.Path:
  """The folder in which the extracted archives are looked for.

  Args:
    data_dir: see `sources.data_directory`.

  Returns:
    The environment variable GTSRB_DIR where it is set, and otherwise `gtsrb`
    beside the directory of prepared datasets. It need not exist.
  """
  return preparing.folder('GTSRB_DIR', 'gtsrb', data_dir)


def gtsrb_rows(
  split: str,
  directory: str | os.PathLike[str],
  labels: str | os.PathLike[str] | None = None,
) -> list[tuple[pathlib.Path, int]]:
  """The images that the tables list: classes in order, rows in order.

  Args:
    split: 'train' or 'test'.
    directory: a folder with the archives extracted.
    labels: the folder of `GT-final_test.csv`, unless it is among the images;
      `directory` if None.

  Returns:
    Path and label, 0 to 42, of each image, dark ones included; all of them
    exist. There may be fewer than the official 39,209 and 12,630.

  Raises:
    ValueError: if the split is unknown; the folder, a class, a table, one of
      its columns, an image or every row is missing; or a label is not an
      integer from 0 to 42, or not the class of its training folder.
  """
  if split not in SPLITS:
    raise ValueError(f'split must be one of {", ".join(SPLITS)}; got {split!r}')
  directory = pathlib.Path(directory)
  if not directory.is_dir():
    raise ValueError(
      f'{directory} is not a folder: set GTSRB_DIR to the one that has GTSRB/, '
      'or prepare gtsrb with `python -m experiments.prepare_data --name=gtsrb`'
    )
  if split == 'train':
    images = directory / 'GTSRB' / 'Final_Training' / 'Images'
    rows = []
    for label in range(NUM_CLASSES):
      table = images / f'{label:05d}' / f'GT-{label:05d}.csv'
      classes = range(label, label + 1)
      rows += _rows(table, table.parent, classes, ARCHIVES['train'])
    return rows
  images = directory / 'GTSRB' / 'Final_Test' / 'Images'
  table = images / 'GT-final_test.csv'
  if not table.is_file():
    table = pathlib.Path(labels or directory) / table.name
  return _rows(table, images, range(NUM_CLASSES), ARCHIVES['labels'])


def _rows(
  table: pathlib.Path, images: pathlib.Path, classes: range, archive: str
) -> list[tuple[pathlib.Path, int]]:
  if not table.is_file():
    raise ValueError(
      f'{table} is missing: extract {archive} (from {ADDRESS}/) again'
    )
  listed = tables.listed(
    table,
    ('Filename', 'ClassId'),
    classes,
    f'it is not the table of {archive}, or is not separated by semicolons any '
    'more',
    delimiter=';',
  )
  rows = [(images / name, label) for name, label in listed]
  tables.check_there(
    rows,
    f' that {table.name} lists',
    'extract the archive again, or remove their rows',
  )
  return rows


def load_gtsrb(
  split: str,
  directory: str | os.PathLike[str] | None = None,
  count: int = 0,
) -> Arrays:
  """Reads, resizes and filters the images of one split.

  Args:
    split: 'train' or 'test'.
    directory: a folder with the archives extracted; `gtsrb_directory()` if
      None.
    count: how many images, at most; all if 0.

  Returns:
    Images `[N, 32, 32, 3]` of mean 50 or more and labels 0..42 of 43 classes,
    in the order of `gtsrb_rows`, named 'gtsrb'.

  Raises:
    ValueError: as `gtsrb_rows` does, or if `count` is negative, or an image
      cannot be read or is not in colour.
  """
  checks.check_whole('count', count, 0)
  rows = gtsrb_rows(
    split, gtsrb_directory() if directory is None else directory
  )
  found = [*itertools.islice(_bright(rows), count or None)]
  images = np.array([image for _, _, image in found], np.uint8)
  labels = np.array([label for _, label, _ in found], np.int32)
  return Arrays(images.reshape(-1, *SHAPE), labels, NUM_CLASSES, 'gtsrb')


def _bright(
  rows: list[tuple[pathlib.Path, int]],
) -> Iterator[tuple[pathlib.Path, int, np.ndarray]]:
  for path, label in rows:
    image = _read(path)
    if image.sum() >= MIN_MEAN * image.size:
      yield path, label, image


def _read(path: pathlib.Path) -> np.ndarray:
  from PIL import Image  # Imported late, as in `sources`.

  try:
    with Image.open(path) as image:
      mode = image.mode
      small = image.resize(SHAPE[:2], Image.Resampling.NEAREST)
  except (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,  # where a damaged header gives a vast size
  ) as error:
    raise ValueError(
      f'{path} cannot be read as an image: it is damaged or was not extracted '
      'whole'
    ) from error
  if mode != 'RGB':
    raise ValueError(
      f'{path} is in mode {mode}, but the images of the benchmark are RGB: it '
      'was converted'
    )
  return np.asarray(small)


def gtsrb_builder(
  data_dir: str | os.PathLike[str] | None = None,
) -> 'tfds.core.GeneratorBasedBuilder':
  """The dataset `gtsrb` for tensorflow-datasets, as ArrayRecord.

  Prepare it from a folder with the archives extracted with
  `builder.download_and_prepare(download_config=
  tfds.download.DownloadConfig(manual_dir=directory))`. Where that folder is
  absent or empty the archives are downloaded, which needs TensorFlow. The
  splits `train` and `test`, resized, filtered and in order as `load_gtsrb` has
  them, have the features `image`, `label` and `id`, a path below `Images`.

  Args:
    data_dir: where prepared datasets are; see `sources.data_directory`.

  Returns:
    A `GeneratorBasedBuilder`.
  """
  return preparing.builder(_builder_class(), data_dir)


@functools.cache  # tensorflow-datasets refuses a second class of a name.
def _builder_class():
  from PIL import Image

  base: Any = preparing.images_class()

  class Gtsrb(base):
    """German traffic signs, resized to 32x32, without dark images."""

    SHAPE, NUM_CLASSES = SHAPE, NUM_CLASSES
    HOMEPAGE = 'https://doi.org/10.1109/IJCNN.2011.6033395'
    ORDERED = True  # Paper A evaluates on the first images.
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
      f'{", ".join(ARCHIVES.values())} from {ADDRESS}/, extracted into one '
      'folder'
    )

    def _split_generators(self, dl_manager):
      try:
        folders = dict.fromkeys(ARCHIVES, dl_manager.manual_dir)
      except AssertionError:  # There is no such folder, or nothing in it.
        folders = dl_manager.download_and_extract(
          {part: f'{ADDRESS}/{name}' for part, name in ARCHIVES.items()}
        )
      rows = {
        split: gtsrb_rows(split, folders[split], folders['labels'])
        for split in SPLITS
      }
      return {split: self._generate_examples(rows[split]) for split in SPLITS}

    def _generate_examples(self, rows):
      for i, (path, label, image) in enumerate(_bright(rows)):
        png = io.BytesIO()
        Image.fromarray(image).save(png, 'png')
        png.seek(0)
        name = path.as_posix().rpartition('/Images/')[2]
        yield i, {'image': png, 'label': label, 'id': name}

  return Gtsrb

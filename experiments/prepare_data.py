"""Downloads datasets and prepares them for `rdefense.data.load`, once.

  python -m experiments.prepare_data --name=mnist,fashion_mnist
  python -m experiments.prepare_data --name=cifar10 --data_dir=/data/tfds
  GTSRB_DIR=/data/gtsrb python -m experiments.prepare_data --name=gtsrb

Preparing needs TensorFlow (`pip install rdefense[data]`) and a network;
reading what was prepared needs neither. A dataset that is there already is
left alone. MNIST, Fashion-MNIST and CIFAR-10 take about 200 MB on disk, and the
downloads as much. `gtsrb` is prepared from a folder with its archives extracted
(see `rdefense.data.gtsrb`), which needs neither as well, and is downloaded
where that folder is missing.
"""

import importlib.util
import os

from absl import flags
import tensorflow_datasets as tfds

from experiments.running import program
from rdefense.data import gtsrb, sources

NAMES = (*sources.PREPARED_NAMES, 'gtsrb')

_NAME = flags.DEFINE_list(
  'name',
  list(sources.PREPARED_NAMES),
  f'Datasets to prepare, of {", ".join(NAMES)}.',
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir',
  None,
  'Directory to prepare them in; by default $TFDS_DATA_DIR, and '
  '~/tensorflow_datasets where that is unset.',
)

# The builders import both lazily and fail half-way where one is missing.
_NEEDED_TO_PREPARE = ('tensorflow', 'importlib_resources')


def prepare(name: str, data_dir: str | os.PathLike[str] | None) -> str:
  """Prepares one dataset as ArrayRecord unless it is prepared already.

  Args:
    name: one of `NAMES`.
    data_dir: see `sources.data_directory`.

  Returns:
    The directory of the prepared files.

  Raises:
    ValueError: if the name is unknown, the directory holds the dataset in
      another file format, or the folder of `gtsrb` is not whole.
    ModuleNotFoundError: if the dataset must be downloaded and TensorFlow is
      missing.
  """
  if name not in NAMES:
    raise ValueError(f'name must be one of {", ".join(NAMES)}; got {name!r}')
  directory = sources.data_directory(data_dir)
  try:
    if name == 'gtsrb':
      builder = gtsrb.gtsrb_builder(directory)
    else:
      builder = tfds.builder(
        name, data_dir=os.fspath(directory), file_format='array_record'
      )
  except ValueError as error:
    raise ValueError(
      f'{name} cannot be prepared as ArrayRecord in {directory}, likely '
      'because it is there in another file format: give another --data_dir'
    ) from error
  if not builder.is_prepared():
    folder = gtsrb.gtsrb_directory(directory) if name == 'gtsrb' else None
    is_here = folder is not None and any(folder.glob('*'))
    missing = [m for m in _NEEDED_TO_PREPARE if not importlib.util.find_spec(m)]
    if missing and not is_here:
      instead = f', or extract its archives into {folder}' if folder else ''
      raise ModuleNotFoundError(
        f'preparing {name} needs {" and ".join(missing)}: run `pip install '
        f'rdefense[data]`{instead}'
      )
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)
  return os.fspath(builder.data_path)


def main(argv):
  del argv
  for name in _NAME.value:
    print(f'{name}: {prepare(name, _DATA_DIR.value)}')


if __name__ == '__main__':
  program.run(main)

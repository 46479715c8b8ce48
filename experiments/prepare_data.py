"""Downloads datasets and prepares them for `rdefense.data.load`, once.

  python -m experiments.prepare_data --name=mnist,fashion_mnist
  python -m experiments.prepare_data --name=cifar10 --data_dir=/data/tfds

Preparing needs TensorFlow (`pip install rdefense[data]`) and a network;
reading what was prepared needs neither. A dataset that is there already is
left alone. The three take about 200 MB on disk, and the downloads as much.
"""

from collections.abc import Sequence
import importlib.util
import os

from absl import app, flags
import tensorflow_datasets as tfds

from rdefense.data import sources

_NAME = flags.DEFINE_list(
  'name',
  list(sources.PREPARED_NAMES),
  f'Datasets to prepare, of {", ".join(sources.PREPARED_NAMES)}.',
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
    name: one of `sources.PREPARED_NAMES`.
    data_dir: see `sources.data_directory`.

  Returns:
    The directory of the prepared files.

  Raises:
    ValueError: if the name is unknown, or the directory holds the dataset in
      another file format.
    ModuleNotFoundError: if the dataset must be prepared and TensorFlow is
      missing.
  """
  if name not in sources.PREPARED_NAMES:
    raise ValueError(
      f'name must be one of {", ".join(sources.PREPARED_NAMES)}; got {name!r}'
    )
  directory = sources.data_directory(data_dir)
  try:
    builder = tfds.builder(
      name, data_dir=os.fspath(directory), file_format='array_record'
    )
  except ValueError as error:
    raise ValueError(
      f'{name} cannot be prepared as ArrayRecord in {directory}, likely '
      'because it is there in another file format: give another --data_dir'
    ) from error
  if not builder.is_prepared():
    missing = [m for m in _NEEDED_TO_PREPARE if not importlib.util.find_spec(m)]
    if missing:
      raise ModuleNotFoundError(
        f'preparing {name} needs {" and ".join(missing)}: run `pip install '
        'rdefense[data]`'
      )
    builder.download_and_prepare()
  return os.fspath(builder.data_path)


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  for name in _NAME.value:
    try:
      print(f'{name}: {prepare(name, _DATA_DIR.value)}')
    except (ValueError, ModuleNotFoundError) as error:
      raise SystemExit(str(error)) from error


if __name__ == '__main__':
  app.run(main)

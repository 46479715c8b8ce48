"""Images and labels."""

from collections.abc import Mapping
from typing import Any

from rdefense import checks
from rdefense.data.given import load_given
from rdefense.data.nips17 import nips17_directory, nips17_rows
from rdefense.data.sources import SPLITS, Arrays, load

__all__ = ['JUDGED_ON', 'dataset', 'given']

JUDGED_ON = (*SPLITS, 'held_out', 'final')  # of images


def dataset(config: Mapping[str, Any], split: str) -> Arrays:
  """The first `config.<split>_examples` (0: all) of `config.name`.

  Of the split `held_out`, the training images after the first
  `config.train_examples`: constants are chosen by them. Of `final`, which
  `nips17` alone has, the first `config.test_examples`.

  Raises:
    ValueError: on an unknown dataset or split, a negative number of examples,
      or if no images are held out.
  """
  checks.check_choice('split', split, JUDGED_ON)
  if split != 'held_out':
    name = f'{"test" if split == "final" else split}_examples'
    count = config[name]
    checks.check_whole(name, count, 0, ': 0 takes all')
    return load(config['name'], split, count=count)
  arrays, first = load(config['name'], 'train'), config['train_examples']
  if not 0 < first < len(arrays.images):
    raise ValueError(
      f'train_examples={first} of {len(arrays.images)} training images holds '
      'none out to judge a model on.'
    )
  return arrays._replace(
    images=arrays.images[first:], labels=arrays.labels[first:]
  )


def given(
  path: str, arrays: Arrays, split: str, norm: str, eps: float
) -> Arrays:
  """Adversarial images made elsewhere, in place of those of `dataset`.

  Args:
    path: see `data.load_given`; of `nips17`, a folder's images have the names
      of those of the competition.
    arrays: of `dataset`, and their `split`.
    split: see `dataset`.
    norm, eps: of the ball they lie in, [0, 1] pixel units.

  Raises:
    ValueError: as `data.load_given`.
  """
  names: list[str] = []
  if arrays.name == 'nips17':
    rows = nips17_rows(nips17_directory(split=split))
    names = [file.stem for file, _ in rows[: len(arrays.images)]]
  return load_given(path, arrays, norm, eps, names)

"""How much of a data set was at hand: figures of a part are to say so.

>>> counted = {'train': 1_118, 'test': 1_290}
>>> missing('gtsrb', counted)
{'train': (1118, 39209), 'test': (1290, 12630)}
>>> missing('digits', counted)  # has no more than we have
{}
"""

from collections.abc import Mapping
import os

from rdefense import data

__all__ = ['OFFICIAL', 'caveats', 'count', 'missing']

OFFICIAL = {
  'mnist': {'train': 60_000, 'test': 10_000},
  'fashion_mnist': {'train': 60_000, 'test': 10_000},
  'cifar10': {'train': 50_000, 'test': 10_000},
  'gtsrb': {'train': 39_209, 'test': 12_630},  # dark images included
}


def count(name: str) -> dict[str, int]:
  """Images that are listed here, none of them decoded.

  Args:
    name: a data set of `rdefense.data`.

  Returns:
    Split -> images, of the data sets that `OFFICIAL` knows, in those splits
    that are here; of `gtsrb` with the dark ones, which only its folder tells.
  """
  directory = data.data_directory()
  prepared = any(directory.glob(f'{name}/*/dataset_info.json'))
  if name not in OFFICIAL or (name == 'gtsrb' and prepared):
    return {}
  if name == 'gtsrb':
    return _listed(data.gtsrb_directory())
  import tensorflow_datasets as tfds  # slow to import

  splits = tfds.builder(name, data_dir=os.fspath(directory)).info.splits
  return {s: splits[s].num_examples for s in OFFICIAL[name] if s in splits}


def _listed(folder) -> dict[str, int]:
  found = {}
  for split in OFFICIAL['gtsrb']:
    try:
      found[split] = len(data.gtsrb_rows(split, folder))
    except ValueError:  # who only judges needs no training images
      continue
  return found


def missing(
  name: str, counted: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
  """Split -> (images at hand, official ones), where there are fewer."""
  official = OFFICIAL.get(name, {})
  return {
    split: (counted[split], official[split])
    for split in official
    if split in counted and counted[split] < official[split]
  }


def caveats(name: str, counted: Mapping[str, int]) -> dict[str, str]:
  """Heading -> text, as a report takes them; empty where nothing is missing."""
  found = missing(name, counted)
  if not found:
    return {}
  parts = [
    f'{here:,} of {official:,} {split} images'
    for split, (here, official) in found.items()
  ]
  return {
    'A part of the data set': (
      f'{" and ".join(parts)} of {name} were at hand: what is trained and '
      "judged on a part is no measure of the paper's models."
    )
  }

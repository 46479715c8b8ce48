"""How much of a data set was at hand: figures of a part are to say so.

>>> counted = {'train': 1_118, 'test': 1_290}
>>> missing('gtsrb', counted)
{'train': (1118, 39209), 'test': (1290, 12630)}
>>> missing('digits', counted)  # has no more than we have
{}
"""

from collections.abc import Mapping

from rdefense import data

__all__ = ['OFFICIAL', 'caveats', 'count', 'missing']

OFFICIAL = {
  'mnist': {'train': 60_000, 'test': 10_000},
  'fashion_mnist': {'train': 60_000, 'test': 10_000},
  'cifar10': {'train': 50_000, 'test': 10_000},
  'gtsrb': {'train': 39_209, 'test': 12_630},  # dark images included
}


def count(name: str) -> dict[str, int]:
  """Images of each split that are read here, dark ones of `gtsrb` left out.

  Args:
    name: a data set of `rdefense.data`.

  Returns:
    Split -> images, of the data sets that `OFFICIAL` knows; empty for others.
  """
  if name not in OFFICIAL:
    return {}
  return {s: len(data.load(name, s).labels) for s in OFFICIAL[name]}


def missing(
  name: str, counted: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
  """Split -> (images at hand, official ones), where there are fewer."""
  official = OFFICIAL.get(name, {})
  return {
    split: (counted[split], official[split])
    for split in official
    if counted[split] < official[split]
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

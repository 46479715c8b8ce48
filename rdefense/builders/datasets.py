"""Images and labels."""

from collections.abc import Mapping
from typing import Any

from rdefense import checks
from rdefense.data.sources import SPLITS, Arrays, load

__all__ = ['dataset']


def dataset(config: Mapping[str, Any], split: str) -> Arrays:
  """The first `config.<split>_examples` (0: all) of `config.name`.

  Of the split `held_out`, the training images after the first
  `config.train_examples`: constants are chosen by them. Of `final`, which
  `nips17` alone has, the first `config.test_examples`.

  Raises:
    ValueError: on an unknown dataset or split, a negative number of examples,
      or if no images are held out.
  """
  checks.check_choice('split', split, (*SPLITS, 'held_out', 'final'))
  if split != 'held_out':
    name = f'{"test" if split == "final" else split}_examples'
    count = config[name]
    checks.check_at_least(name, count, 0, ': 0 takes all')
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

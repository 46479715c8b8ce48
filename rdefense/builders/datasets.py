"""Images and labels."""

from collections.abc import Mapping
from typing import Any

from rdefense.data.sources import Arrays, load

__all__ = ['dataset']


def dataset(config: Mapping[str, Any], split: str) -> Arrays:
  """The first `config.<split>_examples` (0: all) of `config.name`.

  Of the split `held_out`, the training images after the first
  `config.train_examples`: constants are chosen by them.

  Raises:
    ValueError: if no images are held out.
  """
  if split == 'held_out':
    arrays, first = load(config['name'], 'train'), config['train_examples']
    if not 0 < first < len(arrays.images):
      raise ValueError(
        f'train_examples={first} of {len(arrays.images)} training images holds '
        'none out to judge a model on.'
      )
    return arrays._replace(
      images=arrays.images[first:], labels=arrays.labels[first:]
    )
  arrays = load(config['name'], split)
  count = config[f'{split}_examples'] or len(arrays.images)
  return arrays._replace(
    images=arrays.images[:count], labels=arrays.labels[:count]
  )

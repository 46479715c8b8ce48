"""Images and labels."""

from collections.abc import Mapping
from typing import Any

from rdefense.data.sources import Arrays, load

__all__ = ['dataset']


def dataset(config: Mapping[str, Any], split: str) -> Arrays:
  """The first `config.<split>_examples` (0: all) of `config.name`."""
  arrays = load(config['name'], split)
  count = config[f'{split}_examples'] or len(arrays.images)
  return arrays._replace(
    images=arrays.images[:count], labels=arrays.labels[:count]
  )

"""What a data set's figures were made with: images at hand, network, training.

Of the images the published counts are told, of a preset what its config has,
and what that of the paper has: nothing of it is typed.

>>> said('gtsrb', {'small'}, {'gtsrb/images/train': {'value': 1_118}})[:57]
'At hand: 1,118 of 39,209 train and all 12,630 test images'
>>> said('benchmark', {'full'}, {})
''
"""

from collections.abc import Collection, Mapping
import importlib
from typing import Any

from experiments.studies import at_hand

__all__ = ['said']

# First part of the keys -> module of `configs`, and its words.
_STUDIES = {
  'certified_mnist': ('certified_mnist', ''),
  'cifar10': ('cifar10', ''),
  'cifar10_train': ('cifar10', ',train'),
  'fashion_mnist': ('fashion_mnist', ''),
  'figure_3': ('paper.figure_3', ''),
  'gtsrb': ('gtsrb', ''),
  'mnist': ('mnist', ''),
  'mnist_adv': ('paper.figure_2', ',adv'),
  'nips17': ('imagenet', ''),
  'nips17_curve': ('imagenet', ',curve'),
  'nips17_transfer': ('paper.table_2b', ''),
}


# Of these the colours of all pixels are enough.
_OF_COLORS = ('codebooks', 'hardness', 'idealized')


def said(
  group: str,
  presets: Collection[str],
  results: Mapping[str, Mapping[str, Any]],
) -> str:
  """Sentences to stand above a table.

  Args:
    group: first part of the keys of its figures.
    presets: of its figures.
    results: key -> fields of `Entry`, as docs/results.json holds them.

  Returns:
    '' where the group is no study of a data set.
  """
  if group in _OF_COLORS:
    return (
      'Of CIFAR-10, colours are those of all 50,000 training images, which are '
      'at hand where not all of the images are.'
    )
  if group not in _STUDIES:
    return ''
  module, words = _STUDIES[group]
  make = importlib.import_module(f'configs.{module}').get_config
  in_turn = (*sorted(set(presets) - {'paper'}), 'paper')
  configs = {preset: make(preset + words) for preset in in_turn}
  (dataset,) = {config.data.name for config in configs.values()}
  listed = '; '.join(
    f'`{preset}`: {_network(config.model)}, {_training(config)}'
    for preset, config in configs.items()
  )
  return f'{_images(group, dataset, results)} Preset {listed}.'


def _images(group: str, dataset: str, results) -> str:
  """Those at hand; where nobody has counted them, those judged."""
  if dataset not in at_hand.OFFICIAL:
    sizes = [
      fields['examples'] or 0
      for key, fields in results.items()
      if key.startswith(f'{group}/')
    ]
    return f'Judged on {max(sizes, default=0):,} images at most.'
  counts = []
  for split, official in at_hand.OFFICIAL[dataset].items():
    # Published where some are missing.
    told = results.get(f'{dataset}/images/{split}', {}).get('value', official)
    part = 'all' if told == official else f'{told:,.0f} of'
    counts.append(f'{part} {official:,} {split}')
  return f'At hand: {" and ".join(counts)} images.'


def _network(model) -> str:
  about = ', '.join(
    f'{name} {_listed(value)}' for name, value in model.items()
    if name != 'name'
  )  # fmt: skip
  return f'`{model.name}` ({about})'


def _listed(value) -> str:
  return '-'.join(map(str, value)) if isinstance(value, tuple) else str(value)


def _training(config) -> str:
  """Models of as many steps together, and those of as large batches."""
  by_size: dict[int, dict[int, list[str]]] = {}
  for name, run in config.runs.items():
    steps = by_size.setdefault(run.batch_size, {})
    steps.setdefault(run.num_steps, []).append(f'`{name}`')
  parts = [
    ', '.join(f'{n:,} ({_models(names)})' for n, names in steps.items())
    + f' steps of {size} images'
    for size, steps in by_size.items()
  ]
  return f'trained in {" and ".join(parts)}' if parts else 'nothing is trained'


def _models(names: list[str]) -> str:
  return ', '.join(names) if len(names) < 5 else f'each of {len(names)} models'

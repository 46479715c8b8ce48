"""What a setting with a defense is held against: the same without one.

A setting with a defense is compared, image by image, with the bare one of its
model, or of the model from which its own was re-trained: under the attack of
the same name and radius or, where each has one that the other has not, under
those. Paper A's attack is named by what it is run on:

>>> own, theirs = (
...   ['eps8/adaptive', 'eps8/paper_a'],
...   ['eps8/adaptive', 'eps8/pgd40'],
... )
>>> [counterpart(condition, own, theirs) for condition in own]
['eps8/adaptive', 'eps8/pgd40']
"""

from collections.abc import Collection, Mapping
import functools
import json
from typing import Any, NamedTuple

from etils.epath import Path
import numpy as np

from rdefense import build, counting, files, gains, records

__all__ = [
  'Verdicts',
  'bare',
  'counterpart',
  'measured',
  'paired',
  'verdicts',
]

# What may differ where the rows of another study are those of the same attack.
_COUNTS = ('curve', 'curve_examples', 'num_examples', 'radii')


class Verdicts(NamedTuple):
  """Of a setting under one condition."""

  examples: np.ndarray  # [N], numbers, ascending
  correct: np.ndarray  # [N], bool


def verdicts(rows: Mapping[str, np.ndarray]) -> Verdicts:
  """Of rows as `rdefense.evaluation.evaluate` returns them."""
  return Verdicts(rows['index'], counting.correct(rows, 'verdict'))


def paired(before: Verdicts, after: Verdicts) -> tuple[np.ndarray, np.ndarray]:
  """What both say of the examples that both have: `[N]` bool each.

  >>> clean = Verdicts(np.arange(4), np.array([True, True, False, True]))
  >>> attacked = Verdicts(np.array([0, 2]), np.array([False, True]))
  >>> [right.tolist() for right in paired(clean, attacked)]
  [[True, False], [False, True]]
  """
  _, its, mine = np.intersect1d(
    before.examples, after.examples, assume_unique=True, return_indices=True
  )
  return before.correct[its], after.correct[mine]


def bare(config, setting: str) -> str:
  """The setting without a defense that one with a defense is held against.

  Returns:
    Its name; '' where the study has none, or `setting` has no defense.
  """

  def kind(about) -> str:
    return build.kind(config.defenses[about.defense])

  own = config.settings[setting]
  if kind(own) == 'plain':
    return ''
  model = own.model
  while True:
    for name, about in config.settings.items():
      same = (about.model, about.network) == (model, own.network)
      if same and kind(about) == 'plain':
        return name
    if not config.runs.get(model, {}).get('begin'):
      return ''
    model = config.runs[model].begin


def counterpart(
  condition: str, own: Collection[str], theirs: Collection[str]
) -> str:
  """The condition of the bare setting that one is held against; '' if none.

  Args:
    condition: of the setting with a defense.
    own: all conditions of that setting.
    theirs: all of the bare one.
  """
  if condition in theirs:
    return condition
  radius = condition.partition('/')[0]
  mine, its = (
    [c for c in some if c.partition('/')[0] == radius and c not in rest]
    for some, rest in ((own, theirs), (theirs, own))
  )
  return its[0] if len(mine) == len(its) == 1 else ''


def measured(
  config, found: Mapping[str, Mapping[str, Verdicts]]
) -> dict[str, dict[str, dict[str, Any]]]:
  """Gains of all settings with a defense, on the images that both have.

  Args:
    config: of the study; bare settings that it has not evaluated are looked
      for in `config.pretrained`.
    found: setting -> condition -> verdicts.

  Returns:
    Setting -> condition -> the fields of `gains.Gain`, `instead_of` and
    `condition`, what it is held against.
  """
  told: dict[str, dict[str, dict[str, Any]]] = {}
  elsewhere = functools.cache(lambda setting: _elsewhere(config, setting))
  for setting, own in found.items():
    other = bare(config, setting)
    theirs = found[other] if other in found else elsewhere(other)
    for condition, after in own.items():
      against = counterpart(condition, own, theirs)
      if not against:
        continue
      before, now = paired(theirs[against], after)
      if len(now):
        gain = gains.gain(before, now)
        told.setdefault(setting, {})[condition] = gain._asdict() | {
          'instead_of': other,
          'condition': against,
        }
  return told


def _elsewhere(config, setting: str) -> dict[str, Verdicts]:
  """Of a setting that the study with the models was evaluated on.

  Nothing where that has not come to its end, has lost its rows, or is of other
  images, of another network or attack.
  """
  path = Path(config.pretrained).expanduser() / 'results.json'
  if not (setting and config.pretrained and path.exists()):
    return {}
  results = files.read_json(path)
  mine, its = json.loads(files.json_text(config.to_dict())), results['config']
  same = ('data', 'model', 'networks', 'seed', 'threat')
  if any(mine[name] != its.get(name) for name in same):
    return {}

  def attack(study, name: str):
    about = study['attacks'].get(name, {})
    return {k: v for k, v in about.items() if k not in _COUNTS}

  folder = path.parent / 'records' / setting
  judged = results['settings'].get(setting, {'conditions': {}})
  return {
    name: verdicts(records.read(folder / name))
    for name in judged['conditions']
    if attack(mine, name.rpartition('/')[2])
    == attack(its, name.rpartition('/')[2])
    and records.completed(folder / name)
  }

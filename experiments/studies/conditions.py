"""What a setting of a study is evaluated under: attacks at radii, and names.

`clean` comes first; then each attack of the config that is `on` for the kind
of the setting, at the radii of its table and at those of its curve, under
names such as `eps0.3/paper_a`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rdefense import build, counting
from rdefense.precision import HIGHEST, lowest

__all__ = [
  'Condition',
  'check_given',
  'conditions',
  'judged',
  'precision',
  'radii',
  'radius',
  'seeing',
]


class Condition(NamedTuple):
  """One attack at one radius on the first so many examples."""

  name: str
  recipes: tuple
  eps: float
  num_examples: int | None
  in_table: bool = True  # a curve's other radii have a figure instead
  frozen: bool = False  # is the defense's randomness fixed, and known
  source: str = ''  # the setting it is computed on, if not the one attacked
  given: str = ''  # where its images are, if it was made elsewhere


def conditions(config, kind: str, setting: str = '') -> Iterator[Condition]:
  """What a setting of some kind is evaluated under, clean accuracy first.

  What is not in the table is in a figure: radii of an attack's curve.
  """
  yield Condition('clean', (), 0.0, None)
  for name, attack in config.attacks.items():
    if kind not in attack.on:
      continue
    tabled = radii(config, setting, attack)
    for eps in sorted({*tabled, *attack.curve}):
      in_table, frozen = eps in tabled, attack.get('frozen', False)
      count = attack.num_examples if in_table else attack.curve_examples
      chosen = build.attack_recipes(
        attack.to_dict(), eps, _seen(config, attack, kind), config.threat.norm
      )
      yield Condition(
        f'{radius(config, eps)}/{name}',
        chosen,
        eps,
        count or None,
        in_table,
        frozen,
        attack.source,
        attack.path if attack.name == 'given' else '',
      )


def radii(config, setting: str, attack) -> tuple[float, ...]:
  """Of the table of one attack: the setting's own, its own, or the study's."""
  own = config.radii_of.get(setting, ())
  return own or attack.radii or (float(config.threat.eps),)


def seeing(config, setting: str) -> list[str]:
  """Names of the attacks that see a setting itself, and can be run elsewhere.

  Not those on another network, on randomness that is frozen, or of images made
  elsewhere.

  Raises:
    ValueError: if there is none.
  """
  kind = build.kind(config.defenses[config.settings[setting].defense])
  found = [
    name
    for name, about in config.attacks.items()
    if kind in about.on
    and not about.source
    and not about.get('frozen', False)
    and about.name != 'given'
  ]
  if not found:
    raise ValueError(f'no attack of this config sees {setting} itself.')
  return found


def check_given(config) -> None:
  """Raises `ValueError` where images made elsewhere are not where one says."""
  for name, attack in config.attacks.items():
    if attack.name != 'given':
      continue
    flag, path = f'--config.attacks.{name}.path', attack.get('path', '')
    if not path:
      raise ValueError(
        f'attack {name} is of images made elsewhere: say where they are, '
        f'{flag}=FOLDER, or FILE.npy.'
      )
    if not Path(path).expanduser().exists():
      raise ValueError(f'{flag}={path} is not there.')


def _seen(config, attack, kind: str) -> str:
  """The kind of pipeline that an attack on a setting of some kind sees."""
  if attack.source:
    defense = config.settings[attack.source].defense
    return build.kind(config.defenses[defense])
  return 'transformed' if attack.get('frozen', False) else kind


def radius(config, eps: float) -> str:
  """Of a condition's name, such as `eps0.1`."""
  return f'eps{eps * config.threat.unit:g}'


def judged(condition: Condition, kind: str) -> str:
  """What a condition's figure stands for, in words for the report."""
  if condition.given:
    return 'images made elsewhere'
  if not condition.recipes:
    return 'one query' if kind == 'randomized' else 'no attack'
  where = f' on {condition.source}' * bool(condition.source)
  frozen = ', randomness frozen' * condition.frozen
  return f'{_submitted(condition.recipes)}{where}{frozen}'


def _submitted(recipes: tuple) -> str:
  if len(recipes) > 1:
    return f'worst case of {len(recipes)} attacks'
  (recipe,) = recipes
  if recipe.optimizer is None:
    return 'best proposal of a search without gradients'
  # What `next` keeps is the end of the attack as well.
  return 'best iterate' if recipe.keep == 'best' else 'last iterate'


def precision(condition: Condition, rows) -> dict[str, Any]:
  """Of a condition's attack, for the report, and what it made of verdicts.

  Args:
    condition: of a setting.
    rows: of its evaluation.

  Returns:
    `precision` where there is an attack; `differing`, where that is not the
    judge's, how many examples would have had another verdict at it.
  """
  if not condition.recipes:
    return {}
  chosen = lowest(recipe.precision for recipe in condition.recipes)
  about: dict[str, Any] = {'precision': chosen}
  if chosen == HIGHEST:
    return about
  return about | {'differing': counting.differing(rows, 'verdict', 'attack')}

"""What a reader must know before quoting the figures of an evaluation.

What each condition was judged on decides what its figures may be compared
with; a condition is `clean`, or an attack at a radius, `eps0.3/paper_a`.

>>> about = {'correct': 9, 'total': 10, 'judged': 'last iterate'}
>>> settings = {'adv_pre': {'conditions': {'eps0.1/pgd100': about}}}
>>> judged(settings, 'eps0.1/pgd100'), judged(settings, 'clean')
('last iterate', 'no attack')
>>> list(applying({'settings': settings, 'preset': 'paper'}, ['eps0.1/pgd100']))
['What each figure is judged on', 'What the interval covers']
"""

from collections.abc import Mapping, Sequence
import re
from typing import Any

__all__ = ['applying', 'images', 'judged']

_SPLITS = {'test': 'test images', 'train': 'training images'}

# What an attack is judged on; `paper_a` is so by definition.
_LAST, _BEST = 'last iterate', 'best iterate'
_DEFINED = {'paper_a': _LAST}
_PGD = re.compile(r'pgd\d+')  # of so many steps, as papers A and B name theirs


def judged(settings: Mapping[str, Any], condition: str) -> str:
  """In words; ways that differ between settings are all named."""
  if condition == 'clean':
    return 'no attack'
  default = _DEFINED.get(_attack(condition), 'not stated')
  return ', '.join(
    dict.fromkeys(
      setting['conditions'][condition].get('judged', default)
      for setting in settings.values()
      if condition in setting['conditions']
    )
  )


def images(results: Mapping[str, Any]) -> str:
  """Those that results are of, in words.

  >>> images({'config': {'data': {'judged_on': 'train'}}}), images({})
  ('training images', 'images')
  """
  split = results.get('config', {}).get('data', {}).get('judged_on')
  return _SPLITS.get(split, f'`{split}` images') if split else 'images'


def applying(
  results: Mapping[str, Any], conditions: Sequence[str], of_paper: bool = True
) -> dict[str, str]:
  """Heading -> text, those of the results themselves last.

  Args:
    results: as `report.write_report` takes them; `unattacked` of a condition
      is how many of its examples are right without the attack, `hidden` what
      gradients hide, see there.
    conditions: all of its settings.
    of_paper: whether a paper prints figures of this study.
  """
  settings = results['settings']
  ways = {c: judged(settings, c) for c in conditions if c != 'clean'}
  odd = [
    f'`{name}/{c}`'
    for name, setting in settings.items()
    for c, entry in setting['conditions'].items()
    if entry['correct'] > entry.get('unattacked', entry['correct'])
  ]
  masked = [
    f'`{name}/{c}` {entry["hidden"]["broken"]:,} of '
    f'{entry["hidden"]["standing"]:,}'
    for name, setting in settings.items()
    for c, entry in setting['conditions'].items()
    if entry.get('hidden', {}).get('broken')
  ]
  found = {}
  if masked:
    found['Warning: a search without gradients breaks more'] = (
      'Of the images that withstand every attack by gradients, a search that '
      f'asks for none breaks some: {", ".join(masked)}. There gradients '
      'mislead, or too few steps were taken, and the figures of those attacks '
      'are too high: an image is robust only if it withstands all.'
    )
  if odd:
    found['Warning: attacked above clean'] = (
      f'{", ".join(odd)}: more of the same examples are right under attack '
      'than without it, so the attack fails on them or, behind randomness, '
      'the draws differ by more than it does.'
    )
  if ways:
    found['What each figure is judged on'] = ' '.join(_judgements(ways))
  attacks = dict.fromkeys(map(_attack, ways))
  plain = [f'`{name}`' for name in attacks if _PGD.fullmatch(name)]
  if plain and 'paper_a' in attacks:
    found['Two attacks, not one'] = (
      f'{", ".join(plain)} (cross-entropy, random start) and `paper_a` (margin '
      'loss, Adam on signs, from the lower corner) differ in loss, optimiser '
      'and start, and in the iterate judged unless the table says otherwise: '
      'the difference between their figures is not the effect of '
      'discretization alone.'
    )
  found['What the interval covers'] = (
    f'The choice of {images(results)} only; neither the randomness of training '
    '(one run a model) nor attacks stronger than those listed.'
  )
  if of_paper:
    found['What the interval covers'] += (
      ' The paper prints no interval; its figures carry such errors as well.'
    )
  if of_paper and results.get('preset', 'paper') != 'paper':
    found[f'Preset {results["preset"]}'] = (
      "Not the paper's setup, whose architecture, steps and sizes are preset "
      '`paper`: the differences show how far this one is from it.'
    )
  if results.get('environment', {}).get('dirty'):
    found['Uncommitted changes'] = (
      'Tracked files differed from the commit named below.'
    )
  return found | dict(results.get('caveats', {}))


def _judgements(ways: Mapping[str, str]) -> list[str]:
  """A sentence for all conditions that are judged alike, with its meaning."""
  alike: dict[str, list[str]] = {}
  for condition, how in ways.items():
    alike.setdefault(_meaning(condition, how), []).append(f'`{condition}`')
  return [f'{", ".join(names)}: {text}' for text, names in alike.items()]


def _meaning(condition: str, how: str) -> str:
  attack = _attack(condition)
  if _LAST in how:
    return (
      'the last iterate only, as in the paper. An example broken on the way '
      'and repaired later counts as robust, so these figures serve comparison '
      'with the paper and are no worst case.'
    )
  if how == _BEST and _PGD.fullmatch(attack):
    return (
      'the best iterate. Each example stops at its first success, which is '
      "stronger than the paper's last iterate."
    )
  if how != 'not stated' and ' on ' not in how and attack == 'adaptive':
    return (
      'the worst case of each example over all recipes of the attack and all '
      'their iterates.'
    )
  return f'{how}.'


def _attack(condition: str) -> str:
  return condition.rpartition('/')[2]

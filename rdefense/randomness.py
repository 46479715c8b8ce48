"""What a report says of randomised defenses without being asked.

Three rules of judgement from the same draws (`rdefense.judging`), and three
checks of the attack: with the randomness frozen it must succeed; one budget of
gradients is spent on many steps of one draw and on few steps of many; and the
number of draws a step is swept. Conditions are known by their names:

  frozen        randomness fixed to one value the attacker knows; what stands
                at a radius where nothing can tells that the attack fails
  eot<n>x<T>    T steps of n draws each, n T the same for all of them
  sweep<n>      as many steps, of n draws each

>>> tally = {'percent': 50.0, 'low': 40.0, 'high': 60.0}
>>> conditions = {f'eps0.1/{c}': tally for c in ('eot1x800', 'eot20x40')}
>>> settings = {'noise': {'kind': 'randomized', 'conditions': conditions}}
>>> [block[0] for block in blocks(settings)]
['heading', 'table', 'paragraph', 'heading', 'table', 'paragraph']

References:
  Gao, Shumailov, Fawaz, Papernot, On the limitations of stochastic
  pre-processing defenses, 2022, https://arxiv.org/abs/2206.09491.
  Carlini et al., On evaluating adversarial robustness, 2019,
  https://arxiv.org/abs/1902.06705.
"""

from collections.abc import Iterator, Mapping
import re
from typing import Any

__all__ = ['blocks']

_FALLEN = 5.0  # percent; a frozen defense that keeps more was not attacked


def blocks(settings: Mapping[str, Any]) -> list[tuple]:
  """Blocks for `rdefense.document`; none where nothing is random.

  Args:
    settings: name -> `kind` and `conditions`: name -> tally, with `rules` as
      `counting.rules` gives them.
  """
  chosen = {
    name: setting['conditions']
    for name, setting in settings.items()
    if setting.get('kind') == 'randomized'
  }
  if not chosen:
    return []
  return [
    ('heading', 2, 'One query, majority, best of several'),
    _rules(chosen),
    (
      'paragraph',
      'All from the same fresh draws, under keys that no attack has seen; the '
      'table above shows one query. Majority: the label alone has the most '
      'votes; a tie abstains and does not count as right. Best of q: the '
      'attacker asks q times and needs to win once. The unit of every interval '
      'is the example.',
    ),
    ('heading', 2, 'Was the randomness attacked, or only blurred?'),
    _checks(chosen),
    ('paragraph', ' '.join(_verdicts(chosen)) or 'No check was run.'),
  ]


def _rules(chosen):
  rows = []
  for name, conditions in chosen.items():
    for condition, tally in conditions.items():
      rules = tally.get('rules', {})
      judged = {k: v for k, v in rules.items() if isinstance(v, Mapping)}
      if judged:
        rows.append(
          (
            f'`{name}`',
            f'`{condition}`',
            ', '.join(
              f'{rule.replace("_", " ")} {_percent(t)}'
              for rule, t in judged.items()
            ),
            f'{rules["mean_over_draws"]:.2f}',
            f'{rules["abstained"]}',
          )
        )
  header = (
    'setting',
    'condition',
    'rules',
    'right of all draws, %',
    'abstained',
  )
  return ('table', header, rows)


def _checks(chosen):
  rows = [
    (f'`{name}`', f'`{condition}`', what, _percent(tally))
    for name, conditions in chosen.items()
    for condition, tally in conditions.items()
    for what in _what(condition)
  ]
  return ('table', ('setting', 'condition', 'check', 'accuracy'), rows)


def _what(condition: str) -> Iterator[str]:
  attack = condition.rpartition('/')[2]
  if attack == 'frozen':
    yield 'randomness frozen to one value'
  elif found := re.fullmatch(r'eot(\d+)x(\d+)', attack):
    draws, steps = map(int, found.groups())
    yield f'{steps} steps of {draws} draws: {draws * steps} gradients'
  elif found := re.fullmatch(r'sweep(\d+)', attack):
    yield f'{found[1]} draws a step'


def _verdicts(chosen) -> Iterator[str]:
  """A sentence for each check of each setting."""
  for name, conditions in chosen.items():
    for condition, tally in conditions.items():
      radius, _, attack = condition.rpartition('/')
      if attack == 'frozen':
        fell = tally['percent'] <= _FALLEN
        yield (
          f'`{name}`: frozen at {radius}, {tally["percent"]:.1f}% remain: '
          + (
            'the attack works where nothing is random.'
            if fell
            else 'so much is not due to randomness, if the attack works at a '
            'larger radius.'
          )
        )
    for radius, pair in _budgets(conditions).items():
      (few_name, few), *_, (many_name, many) = pair
      yield (
        f'`{name}`: at one budget ({radius}) {few_name} leaves '
        f'{few["percent"]:.1f}%, {many_name} {many["percent"]:.1f}%: '
        f'{_stronger(few_name, few, many_name, many)}.'
      )


def _stronger(few_name, few, many_name, many) -> str:
  if few['high'] < many['low']:
    return f'{few_name} is stronger'
  if many['high'] < few['low']:
    return f'{many_name} is stronger'
  return 'not told apart, as their intervals overlap'


def _budgets(conditions):
  """radius -> [(attack, tally)], by draws a step."""
  found: dict[str, list] = {}
  for condition, tally in conditions.items():
    radius, _, attack = condition.rpartition('/')
    if match := re.fullmatch(r'eot(\d+)x\d+', attack):
      found.setdefault(radius, []).append((int(match[1]), attack, tally))
  return {
    radius: [(a, t) for _, a, t in sorted(entries, key=lambda e: e[0])]
    for radius, entries in found.items()
    if len(entries) > 1
  }


def _percent(tally) -> str:
  return f'{tally["percent"]:.2f}% [{tally["low"]:.2f}, {tally["high"]:.2f}]'

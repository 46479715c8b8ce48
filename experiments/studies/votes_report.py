"""What a report shows of randomised settings: bounds from votes, and curves."""

from collections.abc import Mapping
from typing import Any

from experiments.studies.votes import FAILURE
from rdefense import counting, plots, vote_certification
from rdefense.counting import Tally

__all__ = ['blocks']

_NAMES = {
  'as_coded': 'as in the authors’ script (unsound)',
  'as_printed': 'KL as printed (unsound)',
  'pinsker': 'KL, Pinsker',
  'kl': 'KL, data processing',
  'renyi': 'Renyi',
  'neyman_pearson': 'Neyman-Pearson',
  'best': 'best',
}
_SHORT = {
  'as_coded': 'as coded',
  'as_printed': 'as printed',
  'pinsker': 'Pinsker',
  'kl': 'KL',
  'renyi': 'Renyi',
  'neyman_pearson': 'Neyman-Pearson',
}


def blocks(
  settings: Mapping[str, Any], curves: Mapping[str, Any], unit: int
) -> tuple[list[tuple], dict[str, bytes]]:
  """What the report shows of randomised settings, and its figures.

  Args:
    settings: name -> what `certified` found.
    curves: name -> settings whose radii make one curve together.
    unit: radii are printed in units of 1 / unit.
  """
  if not settings:
    return [], {}
  shown: list[tuple] = [
    ('heading', 2, 'Randomised defenses'),
    (
      'paragraph',
      'Certified: whatever the attack in the l_inf ball does, the right class '
      'stays the likeliest, so that a majority of enough votes is right; '
      'proved from votes on the clean image, each image with its own '
      'probability of error delta. All bounds use the same votes; those marked '
      'unsound take shares of votes for probabilities and are no certificates. '
      'A certified image may still have a wrong majority under attack, as '
      'certificates fail on a share delta of all images at most, and so few '
      'votes on some more; the number expected at most adds both up. Intervals '
      'are exact, 95%, and cover the choice of images.',
    ),
  ]
  figures = {}
  families = curves or {name: (name,) for name in settings}
  for title, names in families.items():
    members = {name: settings[name] for name in names if name in settings}
    if not members:
      continue
    png = plots.encode_png(plots.accuracy_curves(_points(members), title, unit))
    stem = 'certified_' + ''.join(c if c.isalnum() else '_' for c in title)
    figures[stem] = png
    shown += [
      ('heading', 3, title),
      *(_text(name, setting) for name, setting in members.items()),
      _table(members),
      ('figure', stem, png, f'Certified accuracy against eps: {title}'),
    ]
  return shown, figures


def _text(name, setting):
  clean = Tally(**setting['clean'])
  return (
    'paragraph',
    f'`{name}`: {setting["description"]}. {setting["num_votes"]:,} votes on '
    f'each of {clean.total:,} images, delta {setting["delta"]:g}; the clean '
    f'majority is right on {_percent(clean)}.',
  )


def _points(members) -> dict[str, list[tuple[float, Tally]]]:
  """Rule -> (eps, tally) over all settings of a curve."""
  found: dict[str, list[tuple[float, Tally]]] = {}
  for setting in members.values():
    for about in setting['conditions'].values():
      for rule, tally in about['bounds'].items():
        if rule != 'best':
          found.setdefault(_SHORT[rule], []).append(
            (about['eps'], Tally(**tally))
          )
      for attack, seen in about['attacked'].items():
        found.setdefault(f'under {attack}', []).append(
          (about['eps'], counting.tally_of(seen['one_query']))
        )
  return found


def _percent(tally: Tally) -> str:
  return f'{tally.percent:.1f}% [{tally.low:.1f}, {tally.high:.1f}]'


def _table(members):
  rules = [
    rule
    for rule in vote_certification.RULES
    if any(
      rule in about['bounds']
      for setting in members.values()
      for about in setting['conditions'].values()
    )
  ]
  rows = [
    (
      f'`{name}` `{condition}`',
      *(
        _percent(Tally(**about['bounds'][rule]))
        if rule in about['bounds'] else '–'
        for rule in rules
      ),
      '–' if about['votes_needed'] is None else f'{about["votes_needed"]:,}',
      ', '.join(
        f'{attack} {_percent(counting.tally_of(seen["one_query"]))} of '
        f'{seen["one_query"]["total"]}; certified, and majority wrong: '
        f'{seen["wrong"]} (expected at most {seen["wrong_at_most"]:.2f})'
        for attack, seen in about['attacked'].items()
      ) or '–',
    )
    for name, setting in members.items()
    for condition, about in setting['conditions'].items()
  ]  # fmt: skip
  header = (
    'setting, radius', *(_NAMES[rule] for rule in rules),
    f'votes for a majority that fails with {FAILURE:g}, median',
    'accuracy under attack',
  )  # fmt: skip
  return ('table', header, rows)

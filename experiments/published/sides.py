"""Sides of a claim: the best of some figures, and what it is above others.

The best of m figures has an interval for the best of their true values, from m
intervals that hold all at once (each at 1 - 0.05 / m, Bonferroni): of many
close ones the luckiest proves nothing. What a defense buys is the difference on
the same images where that is known of each of the m figures (`gain/...`), as
two shares of the same images vary together; the ends of two intervals where it
is not.

>>> found = {'a/x': {'value': 60.0, 'low': 55.0, 'high': 65.0}}
>>> best(Side(('a/*',)), found).sentence
'60.0% [55.0, 65.0]'
"""

from collections.abc import Mapping
import fnmatch
from typing import Any, NamedTuple

import numpy as np

from configs.paper.claims import Side
from experiments.published.cells import signed
from experiments.published.results import GAIN
from rdefense import gains
from rdefense.certify import statistics

__all__ = ['LEVEL', 'Best', 'best', 'bought']

LEVEL = 0.05  # of intervals, of all figures of a side together

Figures = Mapping[str, Mapping[str, Any]]


class Best(NamedTuple):
  """Of a side: the figure, or the difference, and what it is made of."""

  value: float
  low: float
  high: float
  share: str  # without an interval
  sentence: str


def best(side: Side, found: Figures) -> Best | None:
  """A side's best figure, less that of others where it has any.

  Args:
    side: of a claim.
    found: a paper's key -> value, low and high, of ours or of the paper.

  Returns:
    None where there are no such figures.
  """
  highest = _highest(side.best, found, side.worst)
  if not side.less or highest is None:
    return highest
  less = _highest(side.less, found, side.worst)
  if less is None:
    return None
  gain = bought(side, Side(side.less), found)
  if gain is not None:
    shares = f'{less.share} to {highest.share}'
    return gain._replace(sentence=f'{gain.sentence} ({shares})')
  value = highest.value - less.value
  told = f'{signed(value, 1)} points'
  return Best(
    value,
    highest.low - less.high,
    highest.high - less.low,
    told,
    f'{told} ({less.sentence} to {highest.sentence})',
  )


def bought(behind: Side, bare: Side, found: Figures) -> Best | None:
  """The highest gain of figures over one other, on the same images.

  Args:
    behind: a defense, any number of figures.
    bare: the one without it.
    found: as for `best`; of those in `GAIN`, examples and gain as well.

  Returns:
    None unless it is known of each: what is best may be one without.
  """
  keys, against = _keys(behind.best, found), _keys(bare.best, found)
  known = [found.get(GAIN + key, {}) for key in keys]
  if any(
    _held_against(key, fields) != against
    for key, fields in zip(keys, known, strict=True)
  ):
    return None
  each = [
    gains.of_counts(
      fields['gain']['gained'],
      fields['gain']['lost'],
      fields['examples'],
      1 - LEVEL / len(keys),
    )
    for fields in known
  ]
  points, low, high = np.max([gain[3:] for gain in each], axis=0)
  ends = f'[{signed(low, 1)}, {signed(high, 1)}]'
  told = f'{signed(points, 1)} points'
  return Best(points, low, high, told, f'{told} {ends}')


def _held_against(key: str, fields: Mapping[str, Any]) -> list[str]:
  """The key of the bare figure of a gain; none where there is no gain."""
  if not fields.get('gain'):
    return []
  dataset, *_ = key.split('/')
  return [f'{dataset}/{fields["gain"]["against"]}']


def _keys(patterns, found) -> list[str]:
  return [
    key
    for pattern in patterns
    for key in sorted(fnmatch.filter(found, pattern))
  ]


def _highest(patterns, found, worst: bool) -> Best | None:
  """The highest of all figures with such keys.

  With `worst`, of all settings at their lowest.
  """
  keys = _keys(patterns, found)
  if not keys:
    return None
  figures = [
    (found[key]['value'], *_interval(found[key], len(keys)), _owner(key))
    for key in keys
  ]
  if worst:
    owners = dict.fromkeys(owner for *_, owner in figures)
    figures = [
      (*np.min([f[:3] for f in figures if f[3] == owner], axis=0), owner)
      for owner in owners
    ]
  value, *_, owner = max(figures, key=lambda figure: figure[0])
  low, high = np.max([figure[1:3] for figure in figures], axis=0)
  interval = '' if low == high else f' [{low:.1f}, {high:.1f}]'
  of = '' if len(figures) == 1 else f' ({owner}, best of {len(figures)})'
  return Best(
    value, low, high, f'{value:.1f}%{of}', f'{value:.1f}%{interval}{of}'
  )


def _interval(fields: Mapping[str, Any], num_figures: int):
  """Of one of several shares; those of all of them hold at once."""
  if num_figures == 1 or not fields.get('examples'):  # one, or a paper's
    return fields['low'], fields['high']
  total = fields['examples']
  right = round(fields['value'] * total / 100)
  ends = statistics.clopper_pearson(right, total, 1 - LEVEL / num_figures)
  return tuple(100 * end for end in ends)


def _owner(key: str) -> str:
  """What a figure is of: its codebook, its setting.

  >>> _owner('mnist/density/disc_adv_pre/eps0.3/paper_a')
  'density, disc_adv_pre'
  >>> _owner('nips17/randmix/eps1/paper_b')
  'randmix'
  """
  return ', '.join(key.split('/')[1:-2])

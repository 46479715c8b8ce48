"""What a defense buys: the difference it makes on the same images.

  points = 100 (gained - lost) / total

over images that are wrong without the defense and right behind it, less those
that it loses, each pipeline under its own attack. Two shares of the same images
vary together; their difference is known better than either.

>>> bare, behind = np.arange(100) < 30, np.arange(100) < 38
>>> found = gain(bare, behind)
>>> found.gained, found.lost, found.points, found.low > 0
(8, 0, 8.0, False)
>>> gain(bare, np.arange(100) < 45).low > 0
True
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rdefense import counting

__all__ = ['Gain', 'blocks', 'gain']


class Gain(NamedTuple):
  """How verdicts on the same examples have changed."""

  gained: int  # wrong before, right after
  lost: int
  total: int
  points: float  # of percent
  low: float
  high: float


def gain(
  before: np.ndarray, after: np.ndarray, confidence: float = 0.95
) -> Gain:
  """The difference of two shares of the same examples, with a sound interval.

  Gained and lost have exact Clopper-Pearson intervals that hold both at once,
  each with half of the error, and the difference lies between opposite ends.
  What is right both times, or wrong both times, does not widen it.

  Args:
    before: `[N]`, bool, is each example right?
    after: `[N]`, bool, likewise of the same examples in the same order.
    confidence: of the interval.

  Raises:
    ValueError: if they are empty, of two shapes or no vectors of booleans.
  """
  before, after = np.asarray(before), np.asarray(after)
  kinds = [(right.dtype.name, right.shape) for right in (before, after)]
  if kinds[0] != kinds[1] or before.dtype != bool:
    raise ValueError(
      f'before and after are {kinds[0]} and {kinds[1]}: they must be booleans '
      'of the same examples.'
    )
  each = (1 + confidence) / 2
  gained = counting.tally(after & ~before, each)
  lost = counting.tally(before & ~after, each)
  return Gain(
    gained.correct,
    lost.correct,
    gained.total,
    gained.percent - lost.percent,
    gained.low - lost.high,
    gained.high - lost.low,
  )


def blocks(settings: Mapping[str, Any]) -> Iterator[tuple]:
  """Of a report: a table of gains, nothing where there are none.

  Args:
    settings: name -> `conditions`: name -> perhaps `gain`, the fields of
      `Gain` with `instead_of` and `condition`, what it is held against.
  """
  having = {
    name: {
      condition: judged['gain']
      for condition, judged in setting['conditions'].items()
      if 'gain' in judged
    }
    for name, setting in settings.items()
  }
  having = {name: found for name, found in having.items() if found}
  if not having:
    return
  conditions = dict.fromkeys(c for found in having.values() for c in found)
  yield ('heading', 2, 'What the defense buys')
  yield (
    'table',
    ('setting', *conditions),
    [
      (f'`{name}`', *(_cell(found.get(c), c) for c in conditions))
      for name, found in having.items()
    ],
  )
  yield (
    'paragraph',
    'Percentage points that a setting is above the same model without a '
    'defense, on the same images, each attacked on its own: those that are '
    'gained less those that are lost. In brackets a sound 95% interval, from '
    'exact ones of both that hold at once.',
  )


def _cell(found, condition: str):
  if found is None:
    return '–'
  points, low, high = (
    f'{found[end]:+.1f}'.replace('-', '−') for end in ('points', 'low', 'high')
  )
  against = f'`{found["instead_of"]}`'
  if found['condition'] != condition:
    against += f', `{found["condition"]}`'
  changed = f'{found["gained"]:,} gained, {found["lost"]:,} lost'
  return (
    f'{points} [{low}, {high}]',
    f'{changed} of {found["total"]:,}',
    f'against {against}',
  )

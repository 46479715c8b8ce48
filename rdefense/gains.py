"""What a defense buys: the difference it makes on the same images.

  points = 100 (gained - lost) / total

over images that are wrong without the defense and right behind it, less those
that it loses, each pipeline under its own attack. Two shares of the same images
vary together; their difference is known better than either.

>>> bare, behind = np.arange(100) < 30, np.arange(100) < 38
>>> found = gain(bare, behind)
>>> found.gained, found.lost, found.points, found.low > 0
(8, 0, 8.0, True)

References:
  McNemar, Note on the sampling error of the difference between correlated
  proportions or percentages, 1947: what did not change tells nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rdefense import checks
from rdefense.certify import statistics

__all__ = ['Gain', 'blocks', 'gain', 'of_counts']


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

  Args:
    before: `[N]`, bool, is each example right?
    after: `[N]`, bool, likewise of the same examples in the same order.
    confidence: of the interval, as `of_counts` has it.

  Raises:
    ValueError: if they are empty, of two shapes or no vectors of booleans, and
      on a confidence outside (0, 1).
  """
  before, after = np.asarray(before), np.asarray(after)
  kinds = [(right.dtype.name, right.shape) for right in (before, after)]
  if kinds[0] != kinds[1] or before.dtype != bool:
    raise ValueError(
      f'before and after are {kinds[0]} and {kinds[1]}: they must be booleans '
      'of the same examples.'
    )
  gained, lost = (after & ~before).sum(), (before & ~after).sum()
  return of_counts(gained, lost, before.size, confidence)


def of_counts(
  gained: int, lost: int, total: int, confidence: float = 0.95
) -> Gain:
  """The same of how many examples have changed.

  With q the probability that a verdict changes and p that it then is a gain,
  the difference is q (2 p - 1). Exact Clopper-Pearson intervals of both hold at
  once, that of p with four fifths of the error, as it decides the sign; the
  difference lies between the ends that they leave it.

  Args:
    gained: examples that are right only after.
    lost: examples that are right only before.
    total: of all, changed or not, at least 1.
    confidence: of the interval.

  Raises:
    ValueError: if a count is no whole number or more have changed than there
      are, and on a confidence outside (0, 1).

  >>> of_counts(8, 0, 100) == gain(np.arange(100) < 30, np.arange(100) < 38)
  True
  """
  checks.check_probability('confidence', confidence, ': write 0.95 for 95%')
  gained, lost = (
    checks.check_whole(name, count)
    for name, count in (('gained', gained), ('lost', lost))
  )
  checks.check_whole('total', total, 1, ': no example was counted')
  error, changed = 1 - confidence, gained + lost
  if changed > total:
    raise ValueError(
      f'gained={gained} and lost={lost} are more examples than total={total}.'
    )
  least, most = statistics.clopper_pearson(changed, total, 1 - error / 5)
  direction = (0.0, 1.0)
  if changed:
    direction = statistics.clopper_pearson(gained, changed, 1 - 4 * error / 5)
  low, high = (2 * end - 1 for end in direction)
  return Gain(
    gained,
    lost,
    total,
    100 * (gained - lost) / total,
    100 * low * (least if low > 0 else most),
    100 * high * (most if high > 0 else least),
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
    'gained less those that are lost. In brackets a sound 95% interval: what '
    'did not change does not widen it.',
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

"""Whether a published figure keeps to its target, which is words.

Those that begin with a number to keep to are judged, by the figure itself and
not by its interval; all others are kept.

>>> missed(2.28, 'at least 2.5 (it pools with nn.max_pool)')
True
>>> missed(253, '253'), missed(0.28, '0.27, paper A')
(False, False)
"""

from collections.abc import Callable
import math
import re

__all__ = ['missed']

_NUMBER = r'(\d[\d,]*(?:\.\d+)?)%?'
# What a target begins with, and whether value, low and high keep to it. It ends
# before a comma, or is a word of its own.
_RULES: dict[str, Callable[..., bool]] = {
  f'at least {_NUMBER}': lambda value, low, high, least: value >= least,
  f'at most {_NUMBER}': lambda value, low, high, most: value <= most,
  f'below {_NUMBER}': lambda value, low, high, bound: value < bound,
  f'within {_NUMBER} of {_NUMBER}': (
    lambda value, low, high, width, middle: abs(value - middle) <= width
  ),
  f'{_NUMBER} within its interval': (
    lambda value, low, high, truth: low <= truth <= high
  ),
  f'{_NUMBER} or more, within its interval': (
    lambda value, low, high, least: high >= least
  ),
  f'{_NUMBER}$': (lambda value, low, high, exact: math.isclose(value, exact)),
}


def missed(
  value: float,
  target: str,
  low: float | None = None,
  high: float | None = None,
) -> bool:
  """Whether a figure misses its target.

  Args:
    value: of the figure.
    target: as `Entry` has it; several are parted by semicolons.
    low: of its interval; the value itself where it has none.
    high: likewise.
  """
  ends = (value if end is None else end for end in (low, high))
  figure = (value, *ends)
  return not all(_kept(figure, one) for one in target.split('; '))


def _kept(figure: tuple[float, ...], target: str) -> bool:
  for words, rule in _RULES.items():
    if found := re.match(words, target):
      return rule(*figure, *(float(n.replace(',', '')) for n in found.groups()))
  return True

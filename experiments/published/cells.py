"""How a published figure is written: its number, and what is in brackets.

>>> number(38_045_844, 'pixels'), number(-0.00218, 'points')
('38,045,844', '−0.002')
"""

from collections.abc import Iterable, Mapping
import math

from experiments.published.results import Entry

__all__ = ['brackets', 'interval', 'number', 'shown', 'signed', 'sizes']

# Kind of interval -> what it is.
_KINDS = {
  'quartiles': 'the quartiles of repeats, which are no confidence interval (a '
  'single measurement has none)',
  'median': 'a distribution-free 95% interval of the median',
  'difference': 'a sound 95% interval of the difference on the same images',
  'share': 'the exact 95% interval (Clopper-Pearson) of a share of n',
}
_IN_FULL = 1e5  # from here on digits after the point tell nothing


def shown(key: str, entry: Entry) -> str:
  """A value with its unit and, where it has one, its interval."""
  unit = entry.unit and f' {entry.unit}'
  value = f'{number(entry.value, entry.unit)}{unit}'
  if not interval(key, entry):
    return 'none' if value.startswith('none') else value
  low, high = (
    number(end, entry.unit) for end in (entry.low, entry.high)
    if end is not None
  )  # fmt: skip
  return f'{value} [{low}, {high}]'


def interval(key: str, entry: Entry) -> str:
  """Of which kind the interval of a figure is; '' where it has none."""
  if entry.low is None or entry.high is None:
    return ''
  group = key.partition('/')[0]
  single = entry.low == entry.high
  if group == 'benchmark' and (single or entry.unit != '%'):
    return '' if single else 'quartiles'
  return {'hardness': 'median', 'gain': 'difference'}.get(group, 'share')


def brackets(found: Mapping[str, Entry]) -> str:
  """What the brackets of some figures hold, in a sentence; '' if nothing.

  Args:
    found: key -> entry.
  """
  there = {interval(key, entry) for key, entry in found.items()}
  words = [text for kind, text in _KINDS.items() if kind in there]
  return f'In brackets {"; ".join(words)}.' if words else ''


def number(value: float, unit: str) -> str:
  """Percent and its points to two digits, integers in full, all else to six.

  What is not zero never looks like it: `[−5.57, −0.002]` leaves zero out. A
  code of 255 that is not there is stored as -1.

  >>> number(0.0, '%'), number(0.0003, '%'), number(-1, 'of 255')
  ('0.00', '0.0003', 'none')
  """
  if unit == 'of 255' and value < 0:
    return 'none'
  value += 0.0  # -0.0 is zero
  if unit in ('%', 'points'):
    small = 0 < abs(value) < 0.005
    digits = math.ceil(-math.log10(abs(value))) if small else 2
    text = f'{value:.{digits}f}'
  elif float(value).is_integer() or abs(value) >= _IN_FULL:
    text = f'{value:,.0f}'
  else:
    text = f'{value:,.6g}'
  return text.replace('-', '−')


def signed(value: float, digits: int = 2) -> str:
  """A difference with its sign.

  >>> signed(0.334), signed(-0.24), signed(-0.001), signed(-0.86, 1)
  ('+0.33', '−0.24', '+0.00', '−0.9')
  """
  return f'{round(value, digits) + 0.0:+.{digits}f}'.replace('-', '−')


def sizes(examples: Iterable[int | None]) -> str:
  """How many examples some figures are of; '' where none says so.

  >>> sizes([1_000, 200, None, 500]), sizes([200, 200]), sizes([None])
  ('200 to 1,000', '200', '')
  """
  told = {n for n in examples if n is not None}
  ends = {min(told), max(told)} if told else ()
  return ' to '.join(f'{n:,}' for n in sorted(ends))

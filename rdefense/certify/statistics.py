"""Exact intervals for counted successes: float64, SciPy, host only.

A count k of n independent successes has tails that are beta integrals,

  P[X >= k; p] = I_p(k, n - k + 1),   P[X <= k; p] = 1 - I_p(k + 1, n - k),

so the p at which a tail equals (1 - confidence) / 2 is a beta quantile.

>>> low, high = clopper_pearson(95, 100)
>>> print(f'{low:.4f} {high:.4f}')
0.8872 0.9836

References: Clopper and Pearson, The use of confidence or fiducial limits
illustrated in the case of the binomial, Biometrika 26, 1934.
"""

import math
import operator

from scipy import stats

from rdefense import checks

__all__ = [
  'clopper_pearson',
  'hoeffding_below',
  'lower_bound',
  'multiplicative_as_printed',
]


def clopper_pearson(
  successes: int, total: int, confidence: float = 0.95
) -> tuple[float, float]:
  """Two-sided exact interval for a binomial proportion.

  low  = max {p : P[X >= successes; p] <= (1 - confidence) / 2},
  high = min {p : P[X <= successes; p] <= (1 - confidence) / 2},

  with low = 0 at no success and high = 1 at no failure. Whatever the true
  proportion, the interval covers it with probability `confidence` at least.

  Args:
    successes: number of successes, an integer from 0 to `total`.
    total: number of independent trials, an integer from 1.
    confidence: probability of coverage, strictly between 0 and 1.

  Returns:
    `(low, high)`, float64 proportions in [0, 1].

  Raises:
    ValueError: if a count is not an integer or is out of range, or
      `confidence` is outside (0, 1).

  >>> from scipy.stats import binomtest
  >>> reference = binomtest(3, 7).proportion_ci(0.99, method='exact')
  >>> abs(clopper_pearson(3, 7, 0.99)[0] - reference.low) < 1e-12
  True
  >>> clopper_pearson(0, 10)[0], clopper_pearson(10, 10)[1]
  (0.0, 1.0)
  """
  successes, total = _checked(successes, total, confidence)
  tail = (1 - confidence) / 2
  failures = total - successes
  low = stats.beta.ppf(tail, successes, failures + 1) if successes else 0.0
  high = stats.beta.isf(tail, successes + 1, failures) if failures else 1.0
  return float(low), float(high)


def lower_bound(successes: int, total: int, delta: float = 0.01) -> float:
  """Exact one-sided bound: p >= this with probability 1 - delta.

  The Clopper-Pearson end whose tail is all of delta.

  Args:
    successes: an integer from 0 to `total`.
    total: number of independent trials, an integer from 1.
    delta: probability of error, strictly between 0 and 1.

  Raises:
    ValueError: as `clopper_pearson`.

  >>> round(100 * lower_bound(431, 10_000), 3)  # Table IV at eps 0.3
  3.851
  """
  checks.check_probability('delta', delta, ': a bound fails with it')
  successes, total = _checked(successes, total)
  if not successes:
    return 0.0
  return float(stats.beta.ppf(delta, successes, total - successes + 1))


def hoeffding_below(successes: int, total: int, delta: float = 0.01) -> float:
  """Hoeffding's bound: s - sqrt(log(1 / delta) / (2 m)), at least 0.

  Never better than `lower_bound` by more than rounding, but free of
  distributions.

  Args:
    successes, total, delta: as for `lower_bound`.

  Raises:
    ValueError: as `clopper_pearson`.

  >>> round(100 * hoeffding_below(431, 10_000), 3)
  2.793
  """
  checks.check_probability('delta', delta, ': a bound fails with it')
  successes, total = _checked(successes, total)
  return max(0.0, successes / total - _deviation(total, delta))


def multiplicative_as_printed(
  successes: int, total: int, delta: float = 0.01
) -> float:
  """Paper A's Proposition 2, (1 - a) s with Hoeffding's a: not a bound.

  For comparison with its Table IV only: for small s it claims more than the
  data support.

  Args:
    successes, total, delta: as for `lower_bound`.

  Raises:
    ValueError: as `clopper_pearson`.

  References:
    PROTOCOL A12 and trap 12.

  >>> round(100 * multiplicative_as_printed(431, 10_000), 2)  # as printed
  4.24
  """
  checks.check_probability('delta', delta, ': a bound fails with it')
  successes, total = _checked(successes, total)
  return (1 - _deviation(total, delta)) * successes / total


def _deviation(total: int, delta: float) -> float:
  return math.sqrt(math.log(1 / delta) / (2 * total))


def _checked(successes, total, confidence: float = 0.95) -> tuple[int, int]:
  successes, total = _count('successes', successes), _count('total', total)
  if total < 1:
    raise ValueError(
      f'total must be at least 1, got {total}: no example was counted.'
    )
  if not 0 <= successes <= total:
    raise ValueError(
      f'successes must be from 0 to total={total}, got {successes}: '
      'were successes and total swapped?'
    )
  checks.check_probability('confidence', confidence, ': write 0.95 for 95%')
  return successes, total


def _count(name, value):
  try:
    return operator.index(value)
  except TypeError:
    raise ValueError(
      f'{name} must be an integer, got {value!r}: pass a count, '
      'not a proportion or a percentage.'
    ) from None

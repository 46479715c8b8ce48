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

import operator

from scipy import stats

__all__ = ['clopper_pearson']


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
  if not 0 < confidence < 1:
    raise ValueError(
      f'confidence must be strictly between 0 and 1, got {confidence}: '
      'write 0.95 for 95%.'
    )
  tail = (1 - confidence) / 2
  failures = total - successes
  low = stats.beta.ppf(tail, successes, failures + 1) if successes else 0.0
  high = stats.beta.isf(tail, successes + 1, failures) if failures else 1.0
  return float(low), float(high)


def _count(name, value):
  try:
    return operator.index(value)
  except TypeError:
    raise ValueError(
      f'{name} must be an integer, got {value!r}: pass a count, '
      'not a proportion or a percentage.'
    ) from None

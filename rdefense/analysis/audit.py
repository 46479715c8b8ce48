"""Can an evaluation be believed? Checks of an attack, not of a defense.

An attack that is tried hard enough leaves nothing to what must not be stronger:
one step of it, noise, a search without gradients, images made on another
network, more steps, more starts. It fools whatever it may change at will, and
what it fools in a small ball it fools in a larger one. Each check says what was
measured, what is allowed, and what to do about it.

>>> import numpy as np
>>> attacked = np.array([True, True, False])
>>> check = beaten('noise is weaker', attacked, np.array([False, True, True]))
>>> check.verdict, check.measured
('fail', '1 of 2 that withstand it')

References:
  Carlini et al., On evaluating adversarial robustness, 2019,
  https://arxiv.org/abs/1902.06705, section 5.
  Athalye, Carlini, Wagner, 2018, https://arxiv.org/abs/1802.00420, section 3.1.
  Pintor et al., Indicators of attack failure, 2022,
  https://arxiv.org/abs/2106.09947.
"""

from collections.abc import Mapping
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from rdefense import checks, counting

__all__ = [
  'FAIL',
  'PASS',
  'VERDICTS',
  'WARN',
  'Check',
  'beaten',
  'chance',
  'gradients',
  'monotone',
  'probabilities',
]

VERDICTS = PASS, WARN, FAIL = 'pass', 'warn', 'fail'
_SIGNIFICANT = 0.05


class Check(NamedTuple):
  """One thing that must hold, and whether it does."""

  item: str  # what must hold
  verdict: str  # one of `VERDICTS`
  measured: str
  allowed: str
  advice: str = ''  # where it does not hold


def beaten(
  item: str,
  attacked: np.ndarray,
  other: np.ndarray,
  share: float = 0.0,
  otherwise: str = FAIL,
  advice: str = '',
) -> Check:
  """What withstands the attack must withstand what is no stronger.

  Args:
    item: what must hold.
    attacked: `[N]`, bool, is each example right under the attack? Behind a
      randomised defense `[N, m]`, at each draw.
    other: likewise under the other one.
    share: of all examples, that may fall to the other one alone. By draws, on
      which verdicts depend, there is a test in its place: examples that are
      right at fewer draws under the other one against those at more, one-sided,
      of a fair coin, and p < 0.05.
    otherwise: the verdict where more do.
    advice: what to do then.
  """
  if attacked.ndim > 1:
    fewer, more = _compared(attacked, other)
    p = _p_value(fewer, more)
    return Check(
      item,
      otherwise if p < _SIGNIFICANT else PASS,
      f'images right at fewer draws: {fewer:,}, at more: {more:,}; p = {p:.2g}',
      f'p of {_SIGNIFICANT} or more',
      advice,
    )
  alone, standing = int((attacked & ~other).sum()), int(attacked.sum())
  most = int(share * len(attacked))
  return Check(
    item,
    otherwise if alone > most else PASS,
    f'{alone:,} of {standing:,} that withstand it',
    f'{most:,}' if most else 'none',
    advice,
  )


def _compared(attacked: np.ndarray, other: np.ndarray) -> tuple[int, int]:
  """Examples that are right at fewer, and at more draws under the other."""
  change = other.sum(1) - attacked.sum(1)
  return int((change < 0).sum()), int((change > 0).sum())


def _p_value(heads: int, tails: int) -> float:
  if not heads + tails:
    return 1.0
  return stats.binomtest(heads, heads + tails, alternative='greater').pvalue


def monotone(
  by_radius: Mapping[float, np.ndarray], share: float = 0.01
) -> Check:
  """What the attack fools in a ball it fools in each larger one.

  Args:
    by_radius: radius -> `[N]`, bool, is each example right there? By draws, as
      in `beaten`, no more may recover than fall from each radius to the next.
    share: of all examples, that may recover at some larger radius.
  """
  item = 'a larger radius breaks all that a smaller one does'
  advice = 'Its step size or number of steps does not suit the larger radius.'
  rights = [by_radius[eps] for eps in sorted(by_radius)]
  if rights[0].ndim > 1:
    each = [
      beaten(item, large, small, 0.0, WARN, advice)
      for small, large in zip(rights, rights[1:])
    ]
    return next((check for check in each if check.verdict != PASS), each[0])
  recovered = np.zeros(len(rights[0]), bool)
  for small, large in zip(rights, rights[1:]):
    recovered |= ~small & large
  most = int(share * len(recovered))
  return Check(
    item,
    WARN if recovered.sum() > most else PASS,
    f'{recovered.sum():,} of {len(recovered):,} recover',
    f'{most:,}' if most else 'none',
    advice,
  )


def chance(right: np.ndarray, num_classes: int) -> Check:
  """An attack that may make any image of any leaves no more than guessing.

  Args:
    right: `[N]`, bool, under the attack in a ball that holds all images; by
      draws the first, which is one query.
    num_classes: of the data.
  """
  checks.check_whole('num_classes', num_classes, 2)
  found = counting.tally(right[:, 0] if right.ndim > 1 else right)
  guessing = 100 / num_classes
  return Check(
    'in a ball of all images nothing is left',
    FAIL if found.low > guessing else PASS,
    f'{found.percent:.1f}% [{found.low:.1f}, {found.high:.1f}]',
    f'{guessing:.3g}%, guessing, within the interval',
    'The attack fails whatever it may do: there is a bug in it, or gradients '
    'are masked.',
  )


def gradients(name: str, grads: np.ndarray, share: float = 0.01) -> Check:
  """Gradients to follow: few are zero all over the image, none is lost.

  Args:
    name: of the loss and the way they are taken.
    grads: `[N, H, W, C]`, one an example that is not fooled yet: elsewhere a
      loss may well be flat.
    share: of all examples, that may have none.
  """
  flat = grads.reshape(len(grads), math.prod(grads.shape[1:]))
  zero = int((flat == 0).all(1).sum())
  lost = int((~np.isfinite(flat)).any(1).sum())
  most = int(share * len(flat))
  return Check(
    f'{name}: there is a gradient to follow',
    FAIL if lost else WARN if zero > most else PASS,
    f'{zero:,} of {len(flat):,} are zero, {lost:,} not finite',
    f'{most:,}' if most else 'none',
    'Take another way through the defense, another alpha or another loss.',
  )


def probabilities(logits: np.ndarray) -> Check:
  """Attacks want logits: of probabilities a softmax more makes plateaus.

  Args:
    logits: `[N, num_classes]`, what the classifier says.
  """
  inside = bool((logits >= 0).all() and (logits <= 1).all())
  sums = np.allclose(logits.sum(1), 1, atol=1e-3)
  return Check(
    'the classifier gives logits, not probabilities',
    WARN if inside and sums else PASS,
    f'from {logits.min():.3g} to {logits.max():.3g}',
    'not all in [0, 1] with sum 1',
    'Leave the softmax out of the classifier.',
  )

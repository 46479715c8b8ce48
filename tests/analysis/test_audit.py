"""Checks of an attack: what passes, what warns, and what fails."""

import numpy as np
import pytest
from scipy import stats

from rdefense.analysis import audit


def right(count, total=200):
  return np.arange(total) < count


def shuffled(alone, back, both, total=200):
  """Verdicts under the attack, and under another one."""
  attacked, other = np.zeros(total, bool), np.zeros(total, bool)
  attacked[: both + alone] = True
  other[:both] = True
  other[both + alone : both + alone + back] = True
  order = np.random.default_rng(0).permutation(total)
  return attacked[order], other[order]


def by_draws(right):
  """Of three draws, two that say nothing of whether an example is right."""
  return np.stack([right, np.ones_like(right), np.zeros_like(right)], 1)


@pytest.mark.parametrize(
  'alone, share, verdict',
  [(0, 0, 'pass'), (1, 0, 'warn'), (2, 0.01, 'pass'), (3, 0.01, 'warn')],
)
def test_what_withstands_the_attack_withstands_what_is_weaker(
  alone, share, verdict
):
  attacked, other = shuffled(alone, 30, 50)  # what it leaves more is no matter
  check = audit.beaten('a', attacked, other, share, audit.WARN, 'mend it')
  assert (check.item, check.verdict, check.advice) == ('a', verdict, 'mend it')
  assert check.measured == f'{alone} of {50 + alone} that withstand it'


@pytest.mark.parametrize('alone, back', [(4, 5), (9, 2), (12, 1), (0, 0)])
def test_verdicts_by_draws_are_held_against_a_coin(alone, back):
  attacked, other = map(by_draws, shuffled(alone, back, 60))
  check = audit.beaten('a', attacked, other)
  # P(at least so many heads of `alone + back` tosses).
  p = stats.binom.sf(alone - 1, alone + back, 0.5)
  assert check.verdict == ('fail' if p < 0.05 else 'pass')
  assert f'p = {p:.2g}' in check.measured


def test_larger_balls_hold_the_smaller_ones():
  falling = {0.2: right(40), 0.0: right(190), 0.1: right(90)}
  assert audit.monotone(falling).verdict == 'pass'
  # Two of 200 may recover, and not three; whichever radii they are between.
  for count, verdict in ((2, 'pass'), (3, 'warn')):
    back = right(40)
    back[100 : 100 + count] = True
    check = audit.monotone(falling | {0.3: back})
    assert check.verdict == verdict
    assert check.measured == f'{count} of 200 recover'


def test_by_draws_as_many_may_recover_as_fall():
  attacked, noisy = shuffled(6, 5, 60)
  found = {0.0: right(200), 0.1: attacked, 0.2: noisy}
  assert audit.monotone(found).verdict == 'warn'
  drawn = {eps: by_draws(each) for eps, each in found.items()}
  assert audit.monotone(drawn).verdict == 'pass'
  attacked, better = shuffled(1, 12, 60)
  found = {0.0: right(200), 0.1: attacked, 0.2: better}
  check = audit.monotone({eps: by_draws(each) for eps, each in found.items()})
  assert check.verdict == 'warn' and 'fewer draws: 12' in check.measured


def test_every_draw_counts():
  """Where the first draws agree, the others still tell two attacks apart."""
  attacked = np.ones((20, 5), bool)
  other = attacked.copy()
  other[:8, 3] = False
  check = audit.beaten('a', attacked, other)
  assert check.verdict == 'fail'
  assert 'fewer draws: 8, at more: 0' in check.measured
  assert audit.beaten('a', other, attacked).verdict == 'pass'
  assert audit.chance(other, 10).measured.startswith('100.0%')  # one query


def test_an_attack_without_limits_leaves_what_guessing_leaves():
  assert audit.chance(right(0), 10).verdict == 'pass'
  assert audit.chance(right(25), 10).verdict == 'pass'  # 12.5%, by chance
  check = audit.chance(right(50), 10)
  assert check.verdict == 'fail' and check.measured.startswith('25.0% [')
  assert audit.chance(right(50), 3).verdict == 'pass'


def test_gradients_are_counted_that_are_none():
  grads = np.ones((200, 2, 3, 1), np.float32)
  assert audit.gradients('ce', grads).verdict == 'pass'
  grads[:2] = 0
  grads[2, 0] = 0  # in part
  assert audit.gradients('ce', grads).verdict == 'pass'
  grads[7] = 0
  check = audit.gradients('ce', grads)
  assert (check.verdict, check.measured) == (
    'warn',
    '3 of 200 are zero, 0 not finite',
  )
  grads[9, 1, 1] = np.nan
  check = audit.gradients('ce', grads)
  assert (check.verdict, check.measured) == (
    'fail',
    '3 of 200 are zero, 1 not finite',
  )
  assert audit.gradients('ce', grads[:0]).verdict == 'pass'


def test_probabilities_are_known_by_their_sum():
  logits = np.random.default_rng(1).normal(size=(50, 4))
  assert audit.probabilities(logits).verdict == 'pass'
  softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  assert audit.probabilities(softmax).verdict == 'warn'
  assert audit.probabilities(0.5 * softmax).verdict == 'pass'

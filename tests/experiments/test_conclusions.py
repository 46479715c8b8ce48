"""The papers' conclusions: judged by the figures, and by nothing else."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from configs.paper.claims import CLAIMS, Claim, Side, Trend
from configs.paper.published import PUBLISHED
from experiments import conclusions
from experiments.conclusions import judged
from rdefense.counting import tally


def figures(**values):
  """Key -> value, low, high; `_` in a name stands for `/` in the key.

  >>> figures(a_b=(5, 4, 6))
  {'a/b': {'value': 5, 'low': 4, 'high': 6}}
  """
  return {
    key.replace('_', '/'): dict(
      zip(('value', 'low', 'high'), value, strict=True)
    )
    for key, value in values.items()
  }


def claim(higher, lower):
  return Claim('mnist', 'a claim', 'A', 'published', higher, lower)


@pytest.mark.parametrize(
  'ours, verdict',
  [
    ((70, 65, 75), 'holds'),
    ((30, 25, 35), 'does not hold'),
    ((52, 47, 57), 'not told apart'),
    ((60, 55, 65), 'not told apart'),  # intervals touch
  ],
)
def test_intervals_decide(ours, verdict):
  found = figures(a_x=ours, a_y=(50, 45, 55))
  said = judged(claim(Side(('a/x',)), Side(('a/y',))), found)
  assert said.verdict == verdict
  assert said.sentence == (
    f'{ours[0]:.1f}% [{ours[1]:.1f}, {ours[2]:.1f}] against 50.0% [45.0, 55.0]'
  )


def test_the_best_of_several_counts_and_is_named():
  found = figures(
    a_k1_x_e_p=(30, 20, 40), a_k2_x_e_p=(60, 58, 62), a_y_e_p=(50, 45, 55)
  )
  said = judged(claim(Side(('a/k*/e/p',)), Side(('a/y/e/p',))), found)
  assert said.verdict == 'holds'
  assert said.sentence.startswith('60.0% [58.0, 62.0] (k2, x, best of 2) ')


def test_the_best_of_many_close_ones_is_not_flattered():
  """Each of 20 beats the other by its own interval; the best of them need not.

  Intervals by SciPy, at 1 - 0.05 / 20.
  """
  n, right = 1000, 550
  one = binomtest(right, n).proportion_ci(method='exact')
  all_20 = binomtest(right, n).proportion_ci(1 - 0.05 / 20, method='exact')
  share = {
    'value': 55.0, 'low': 100 * one.low, 'high': 100 * one.high, 'examples': n,
  }  # fmt: skip
  bar = 100 * (one.low + all_20.low) / 2
  found = {f'a/k{k}': share for k in range(20)}
  found['b'] = {'value': bar, 'low': bar, 'high': bar}
  said = judged(claim(Side(('a/k*',)), Side(('b',))), found)
  assert said.verdict == 'not told apart'
  low, high = 100 * all_20.low, 100 * all_20.high
  assert f'55.0% [{low:.1f}, {high:.1f}]' in said.sentence
  alone = judged(claim(Side(('a/k7',)), Side(('b',))), found)
  assert alone.verdict == 'holds'


def test_the_best_true_value_may_be_that_of_fewer_examples():
  """The best figure is measured well, another one's interval reaches higher."""
  found = {
    f'a/k{k}': tally(np.arange(n) < right)._asdict()
    for k, (right, n) in enumerate([(600, 1000), (5, 10)])
  }
  found = {
    key: {'value': t['percent'], 'examples': t['total']} | t
    for key, t in found.items()
  }
  said = judged(claim(Side(('a/k*',)), Side(('a/k*',))), found)
  lows, highs = zip(
    *(
      binomtest(right, n).proportion_ci(0.975, method='exact')
      for right, n in [(600, 1000), (5, 10)]
    )
  )
  expected = f'60.0% [{100 * max(lows):.1f}, {100 * max(highs):.1f}]'
  assert said.sentence.startswith(expected) and max(highs) == highs[1]


def test_a_gain_is_a_difference_of_both_intervals():
  found = figures(
    a_t=(60, 58, 62), a_n=(10, 9, 11), b_t=(50, 45, 55), b_n=(5, 4, 6)
  )
  gains = claim(Side(('a/t',), ('a/n',)), Side(('b/t',), ('b/n',)))
  # Gains of 50 [47, 53] and 45 [39, 51].
  said = judged(gains, found)
  assert said.verdict == 'not told apart'
  assert said.sentence.startswith('+50.0 points (10.0% [9.0, 11.0] to 60.0%')
  found |= figures(b_t=(45, 44, 46))  # a gain of 40 [38, 42]
  assert judged(gains, found).verdict == 'holds'


@pytest.mark.parametrize(
  'values, verdict',
  [
    ((1, 2, 3, 4, 5), 'holds'),
    ((5, 4, 3, 2, 1), 'does not hold'),
    ((1, 3, 2, 4, 5), 'holds'),  # p = 0.042
    ((1, 3, 2, 5, 4), 'not told apart'),  # p = 0.067
    ((2, 2, 2, 2, 2), 'not told apart'),
    ((1, 2, 3), 'not measured'),  # of three, an order is no news
  ],
)
def test_a_trend_is_an_exact_test_of_ranks(values, verdict):
  keys = {10 * k: f'a/k{k}' for k in range(len(values))}
  trend = Trend('mnist', 'a trend', 'A', 'published', keys, rise=True)
  found = {
    key: {'value': value, 'low': value - 1, 'high': value + 1}
    for key, value in zip(keys.values(), values, strict=True)
  }
  said = judged(trend, found)
  assert said.verdict == verdict
  if 'rank' in said.sentence:  # all orders, by hand
    score = np.dot(values, range(len(values)))
    scores = [
      np.dot(order, range(len(values)))
      for order in itertools.permutations(values)
    ]
    chance = np.mean([s >= score for s in scores])
    assert said.sentence.endswith(f'p = {chance:.2g})')


def test_the_papers_own_figures_bear_their_conclusions_out():
  paper = {
    key: {'value': value, 'low': value, 'high': value}
    for key, (value, _) in PUBLISHED.items()
  }
  verdicts = [judged(claim, paper).verdict for claim in CLAIMS]
  assert set(verdicts) == {'holds', 'not measured'}
  printed = [row for row in conclusions.lines({}) if row[-1] != '–']
  assert len(printed) == verdicts.count('holds') >= 25


def test_nothing_measured_is_told_as_such():
  for row in conclusions.lines({}):
    assert row[4:6] == ('–', 'not measured')

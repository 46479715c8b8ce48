"""The papers' conclusions: judged by the figures, and by nothing else."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from configs.paper.claims import CLAIMS, Claim, Side, Trend
from configs.paper.published import PUBLISHED
from experiments.published import conclusions
from experiments.published.conclusions import judged
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
    rise = np.mean([s >= score for s in scores])
    fall = np.mean([s <= score for s in scores])
    deciding = (
      f'fall: p = {fall:.2g})' if verdict == 'does not hold'
      else f'rise: p = {rise:.2g})'
    )  # fmt: skip
    assert said.sentence.endswith(deciding)


def test_a_trend_tells_of_how_many_images_its_figures_are():
  keys = {k: f'a/k{k}' for k in (2, 5, 10, 50)}
  trend = Trend('mnist', 'a trend', 'A', 'published', keys, rise=False)
  sizes = (100, 100, 100, 200)
  found = {
    key: {'value': -k, 'low': -k, 'high': -k, 'examples': n}
    for (k, key), n in zip(keys.items(), sizes, strict=True)
  }
  said = judged(trend, found)
  assert '(n = 100 to 200, rank correlation −1.00, fall: p = 0.042)' in (
    said.sentence
  )
  found['a/k50']['examples'] = 100
  assert '(n = 100, ' in judged(trend, found).sentence


@pytest.mark.parametrize(
  'margin, verdict',
  [(17.0, 'holds'), (19.0, 'not told apart'), (26.0, 'does not hold')],
)
def test_a_margin_is_what_one_side_is_above_the_other(margin, verdict):
  found = figures(a_x=(72, 71, 74), a_y=(52, 49, 53))  # 18 to 25 points
  sides = claim(Side(('a/x',)), Side(('a/y',)))
  said = judged(sides._replace(margin=margin), found)
  assert said.verdict == verdict
  assert said.sentence.endswith('52.0% [49.0, 53.0]: +20.0 points')


@pytest.mark.parametrize(
  'times, verdict',
  [(2.9, 'holds'), (3.5, 'not told apart'), (5.1, 'does not hold')],
)
def test_one_side_may_be_several_times_the_other(times, verdict):
  found = figures(a_x=(56, 54, 60), a_y=(14, 12, 18))  # 3 to 5 times
  sides = claim(Side(('a/x',)), Side(('a/y',)))
  said = judged(sides._replace(times=times), found)
  assert said.verdict == verdict
  assert said.sentence.endswith('14.0% [12.0, 18.0]: 4.0 times')
  found = figures(a_x=(56, 54, 60), a_y=(0, 0, 1))
  assert judged(sides._replace(times=times), found).verdict == 'holds'


def test_the_worst_of_several_attacks_is_the_lowest_of_a_setting():
  found = figures(
    a_x_e_p=(90, 88, 92), a_x_e_q=(40, 39, 45), a_y_e_p=(60, 55, 62),
    a_y_e_q=(50, 41, 70), b_z_e_p=(38, 37, 38.5),
  )  # fmt: skip
  every = Side(('a/*',), worst=True)  # x: 40 [39, 45], y: 50 [41, 62]
  said = judged(claim(every, Side(('b/*',), worst=True)), found)
  assert said.sentence.startswith('50.0% [41.0, 62.0] (y, best of 2) against')
  assert said.verdict == 'holds'


def test_the_papers_own_figures_bear_their_conclusions_out():
  paper = {
    key: {'value': value, 'low': value, 'high': value}
    for key, (value, _) in PUBLISHED.items()
  }
  verdicts = [judged(claim, paper).verdict for claim in CLAIMS]
  assert set(verdicts) == {'holds', 'not measured', 'does not hold'}
  printed = [row for row in conclusions.lines({}) if row[-1] != '–']
  assert len(printed) == len(verdicts) - verdicts.count('not measured') >= 30
  # But for one: PROTOCOL B6, 72.4 - 55.1 = 17.3, not 18.
  (false,) = [row for row in printed if row[-1].endswith(': does not hold')]
  assert 'at least 18 points' in false[1] and '+17.3 points' in false[-1]
  assert verdicts.count('does not hold') == 1


def test_the_papers_quantities_are_those_of_the_protocol():
  """PROTOCOL B6: 69.0 - 33.8 = 35.2; 3.0 to 5.1 times."""
  told = [row[-1] for row in conclusions.lines({})]
  assert any('69.0% (randdisc, ' in t and '33.8%' in t for t in told)
  assert any(t.endswith(': +35.2 points') for t in told)
  ratios = [t.rpartition(': ')[2] for t in told if t.endswith(' times')]
  assert ratios == ['3.0 times', '4.3 times', '5.1 times']


def test_nothing_measured_is_told_as_such():
  for row in conclusions.lines({}):
    assert row[4:6] == ('–', 'not measured')

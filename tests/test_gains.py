"""What a defense buys: counted by hand, intervals by SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from rdefense import gains


def verdicts(right, gained, lost, wrong):
  """Before and after, of so many examples of each kind."""
  sizes = (right, gained, lost, wrong)
  before = np.repeat([True, False, True, False], sizes)
  return before, np.repeat([True, True, False, False], sizes)


@pytest.mark.parametrize(
  'sizes',
  [(600, 82, 60, 258), (0, 0, 5, 0), (3, 0, 0, 4), (0, 7, 0, 1)],
  ids=str,
)
def test_it_is_what_is_gained_less_what_is_lost(sizes):
  found = gains.gain(*verdicts(*sizes))
  _, gained, lost, _ = sizes
  total = sum(sizes)
  assert found[:3] == (gained, lost, total)
  assert found.points == pytest.approx(100 * (gained - lost) / total)
  changed = binomtest(gained + lost, total).proportion_ci(0.99, method='exact')
  up = (0.0, 1.0)
  if gained + lost:
    up = binomtest(gained, gained + lost).proportion_ci(0.96, method='exact')
  ends = [100 * q * (2 * p - 1) for q in changed for p in up]
  assert found.low == pytest.approx(min(ends))
  assert found.high == pytest.approx(max(ends))
  assert -100 <= found.low <= found.points <= found.high <= 100


def test_the_other_way_round_it_is_the_opposite():
  before, after = verdicts(5, 9, 2, 4)
  there, back = gains.gain(before, after), gains.gain(after, before)
  assert (there.gained, there.lost) == (back.lost, back.gained)
  assert there.points == -back.points
  assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_it_covers_the_truth_as_often_as_it_says():
  """Of 400 draws of 60 examples from four kinds, at 80%."""
  rng = np.random.default_rng(0)
  shares = np.array([0.5, 0.2, 0.1, 0.2])
  covered = 0
  for sizes in rng.multinomial(60, shares, 400):
    found = gains.gain(*verdicts(*sizes), confidence=0.8)
    covered += found.low <= 10 <= found.high
  assert covered >= 0.8 * 400


def test_its_sign_is_that_of_an_exact_test():
  """McNemar's, at 4%, which the interval leaves to the direction."""
  for gained in range(20):
    found = gains.gain(*verdicts(600, gained, 6, 300 - gained))
    chance = binomtest(gained, gained + 6).pvalue
    assert (found.low > 0 or found.high < 0) == (chance <= 0.04)


def test_it_is_narrower_than_two_intervals_apart():
  before, after = verdicts(600, 82, 60, 258)
  found = gains.gain(before, after)
  apart = [
    binomtest(int(v.sum()), v.size).proportion_ci(method='exact')
    for v in (before, after)
  ]
  width = 100 * sum(ends.high - ends.low for ends in apart)
  assert found.high - found.low < 0.8 * width


@pytest.mark.parametrize(
  'before, after, message',
  [
    (np.ones(3, bool), np.ones(4, bool), r'\(3,\)\) and .*\(4,\)\).* same ex'),
    (np.ones(0, bool), np.ones(0, bool), 'no example was counted'),
    (np.ones(3), np.ones(3, bool), "'float64'.*must be booleans"),
    (np.ones(3), np.ones(3), "'float64'.*must be booleans"),
  ],
  ids=['lengths', 'empty', 'a-share', 'shares'],
)
def test_what_cannot_be_compared_is_refused(before, after, message):
  with pytest.raises(ValueError, match=message):
    gains.gain(before, after)


def test_the_confidence_that_was_asked_for_is_named():
  right = np.ones(3, bool)
  with pytest.raises(ValueError, match='confidence=95 must be .*0.95 for 95%'):
    gains.gain(right, right, confidence=95)


def test_the_table_says_what_each_is_held_against():
  gain = gains.gain(*verdicts(6, 3, 1, 10))._asdict()
  settings = {
    'bare': {'conditions': {'clean': {}}},
    'behind': {
      'conditions': {
        'clean': {'gain': gain | {'instead_of': 'bare', 'condition': 'clean'}},
        'eps1/a': {
          'gain': gain | {'instead_of': 'bare', 'condition': 'eps1/b'}
        },
        'eps2/a': {},
      }
    },
  }
  heading, (_, header, rows), (_, text) = gains.blocks(settings)
  assert heading[-1] == 'What the defense buys' and '95%' in text
  assert header == ('setting', 'clean', 'eps1/a')
  ((name, clean, attacked),) = rows
  assert name == '`behind`'
  assert clean[0].startswith('+10.0 [−')
  assert clean[1:] == ('3 gained, 1 lost of 20', 'against `bare`')
  assert attacked[2] == 'against `bare`, `eps1/b`'
  assert not list(gains.blocks({'bare': settings['bare']}))


@pytest.mark.parametrize(
  'counts, match',
  [
    ((1, 2, 2), 'lost=2 are more examples than total=2'),
    ((-1, 0, 5), 'gained=-1'),
    ((0, 0.5, 5), 'lost=0.5'),
    ((0, 0, 0), 'total=0'),
  ],
)
def test_counts_that_cannot_be(counts, match):
  with pytest.raises(ValueError, match=match):
    gains.of_counts(*counts)

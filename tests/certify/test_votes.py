"""Simultaneous bounds from votes: coverage, SciPy, and the vote itself."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from rdefense.certify import votes


@given(
  st.lists(st.integers(0, 300), min_size=2, max_size=6).filter(
    lambda counts: sum(counts) >= 20
  ),
  st.sampled_from([0.1, 0.01, 0.001]),
)
def test_shares_are_scipys_intervals(counts, delta):
  found = votes.shares(np.array([counts]), np.array([0]), delta)[0]
  total = sum(counts)

  def interval(successes, confidence):
    test = stats.binomtest(successes, total)
    return test.proportion_ci(confidence, method='exact')

  low = interval(counts[0], 1 - delta).low
  high = interval(max(counts[1:]), 1 - delta / (len(counts) - 1)).high
  np.testing.assert_allclose(found[0], low, atol=1e-10)
  np.testing.assert_allclose(found[1], max(1 - high, low), atol=1e-10)


def test_bounds_hold_as_often_as_they_say():
  rng = np.random.default_rng(0)
  truth = np.array([0.6, 0.3, 0.1])
  drawn = rng.multinomial(60, truth, 4000)
  found = votes.shares(drawn, np.zeros(4000, int), delta=0.2)
  wrong = (found[:, 0] > truth[0]) | (found[:, 1] > 1 - truth[1])
  # At most 20% may fail; 3 standard errors of a share of 4,000.
  assert wrong.mean() <= 0.2 + 3 * np.sqrt(0.16 / 4000)
  assert wrong.mean() > 0.01  # and they are no empty bounds


@given(st.sampled_from([0.5, 0.1, 0.01, 0.001, 1e-6]))
def test_smallest_number_is_the_smallest(delta):
  least = votes.smallest_number(delta)
  for number, enough in ((least - 1, False), (least, True)):
    low = stats.beta.ppf(delta / 2, number, 1) if number else 0.0
    assert bool(low > 0.5) is enough


def test_majority_fails_no_more_often_than_bounded():
  rng = np.random.default_rng(1)
  margin, number = 0.2, 101
  drawn = rng.multinomial(number, [0.55, 0.35, 0.1], 20_000)
  failed = (drawn[:, 0] <= drawn[:, 1:].max(-1)).mean()
  bound = votes.vote_failure(margin, number, 3)
  assert 0 < failed <= bound < 1
  assert votes.vote_failure(-0.1, number, 3) == 1


@given(st.floats(0.01, 1), st.floats(1e-9, 0.5), st.integers(2, 1000))
def test_votes_needed_are_needed(margin, failure, num_classes):
  number = votes.votes_needed(margin, failure, num_classes)
  assert votes.vote_failure(margin, number, num_classes) <= failure * (1 + 1e-9)
  if number > 1:
    before = votes.vote_failure(margin, number - 1, num_classes)
    assert before > failure * (1 - 1e-9)


def test_margin_seen():
  counts = np.array([[5, 3, 2], [1, 9, 0]])
  assert votes.margin_seen(counts, np.array([0, 0])).tolist() == [0.2, -0.8]


@pytest.mark.parametrize(
  ('call', 'match'),
  [
    (lambda: votes.smallest_number(0.0), 'delta=0.0 must be strictly'),
    (lambda: votes.smallest_number(1.5), 'delta=1.5 must be strictly'),
    (lambda: votes.check_votes(10, 0.001), 'num_votes=10 must be at least 11'),
    (
      lambda: votes.shares(np.array([[3, 0]]), np.array([0]), 0.001),
      'num_votes=3 must be at least 11: with fewer, no image can',
    ),
    (
      lambda: votes.shares(np.array([[50, 0]]), np.array([2]), 0.1),
      'labels span .2, 2.; the classifier has classes 0 to 1',
    ),
    (
      lambda: votes.shares(np.array([[50, 0]]), np.array([-1]), 0.1),
      'labels span .-1, -1.',
    ),
    (
      lambda: votes.shares(np.array([[50]]), np.array([0]), 0.1),
      'num_classes=1 must be at least 2: votes .N, K. count each of K',
    ),
    (lambda: votes.votes_needed(0.0, 0.1, 2), 'margin=0.0 must be positive'),
    (lambda: votes.votes_needed(0.1, 1.0, 2), 'failure=1.0 must be strictly'),
  ],
)
def test_errors(call, match):
  with pytest.raises(ValueError, match=match):
    call()

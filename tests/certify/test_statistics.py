"""Intervals against SciPy's own, at the ends, and for coverage."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from rdefense.certify import statistics

COUNTS = st.integers(1, 3000).flatmap(
  lambda total: st.tuples(st.integers(0, total), st.just(total))
)
LEVELS = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999])


@settings(deadline=None, max_examples=60)
@given(COUNTS, LEVELS)
def test_interval_is_that_of_scipy(count, confidence):
  successes, total = count
  reference = stats.binomtest(successes, total).proportion_ci(
    confidence, method='exact'
  )
  # SciPy reaches the same beta quantile by the same routine or by root
  # finding, whose tolerance is 1e-12.
  np.testing.assert_allclose(
    statistics.clopper_pearson(successes, total, confidence),
    (reference.low, reference.high),
    rtol=1e-9,
    atol=1e-12,
  )


@settings(deadline=None, max_examples=60)
@given(COUNTS, LEVELS)
def test_ends_solve_the_tail_equations(count, confidence):
  successes, total = count
  low, high = statistics.clopper_pearson(successes, total, confidence)
  tail = (1 - confidence) / 2
  assert low <= successes / total <= high
  if successes:
    # Relative 1e-6: the tail is a steep function of a rounded quantile.
    assert stats.binom.sf(successes - 1, total, low) == pytest.approx(
      tail, rel=1e-6
    )
  if successes < total:
    assert stats.binom.cdf(successes, total, high) == pytest.approx(
      tail, rel=1e-6
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(0, 10_000), LEVELS)
def test_interval_covers_the_truth_often_enough(total, parts, confidence):
  truth = parts / 10_000
  ends = np.array(
    [statistics.clopper_pearson(k, total, confidence) for k in range(total + 1)]
  )
  covers = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
  weights = stats.binom.pmf(np.arange(total + 1), total, truth)
  assert weights[covers].sum() >= confidence - 1e-9


@pytest.mark.parametrize('total', [1, 10, 10_000])
def test_ends_are_exact_without_success_or_failure(total):
  # P[X = 0; p] = (1 - p)^n, so the other end has a closed form.
  edge = 0.025 ** (1 / total)
  assert statistics.clopper_pearson(0, total) == pytest.approx((0, 1 - edge))
  assert statistics.clopper_pearson(total, total) == pytest.approx((edge, 1))
  assert statistics.clopper_pearson(0, total)[0] == 0
  assert statistics.clopper_pearson(total, total)[1] == 1


def test_numpy_counts_are_counts_and_ends_are_floats():
  interval = statistics.clopper_pearson(np.int64(3), np.int32(7))
  assert interval == statistics.clopper_pearson(3, 7)
  assert all(type(end) is float for end in interval)


@pytest.mark.parametrize(
  'arguments, word',
  [
    ((5, 0), 'total'),
    ((-1, 5), 'successes'),
    ((6, 5), 'swapped'),
    ((0.97, 100), 'integer'),
    ((3, 5, 95), 'confidence'),
    ((3, 5, 1.0), 'confidence'),
    ((3, 5, float('nan')), 'confidence'),
  ],
  ids=str,
)
def test_bad_input_is_named(arguments, word):
  with pytest.raises(ValueError, match=word):
    statistics.clopper_pearson(*arguments)

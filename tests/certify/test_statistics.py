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


@settings(max_examples=60)
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


@settings(max_examples=60)
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


@settings(max_examples=40)
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


# Table IV: s-hat in percent of 10,000, the printed s-hat-star, and the exact
# and Hoeffding bounds at delta 0.01 (PROTOCOL A12).
TABLE_IV = [
  (98.10, 96.61, 97.758, 96.583), (97.43, 95.95, 97.038, 95.913),
  (96.43, 94.97, 95.975, 94.913), (69.01, 67.96, 67.922, 67.493),
  (24.96, 24.58, 23.958, 23.443), (10.37, 10.21, 9.672, 8.853),
  (4.31, 4.24, 3.851, 2.793),
]  # fmt: skip


@pytest.mark.parametrize('share, printed, exact, hoeffding', TABLE_IV)
def test_bounds_of_table_iv(share, printed, exact, hoeffding):
  count = round(100 * share)
  as_printed = 100 * statistics.multiplicative_as_printed(count, 10_000)
  assert as_printed == pytest.approx(printed, abs=5.1e-3)
  bound = 100 * statistics.lower_bound(count, 10_000)
  assert bound == pytest.approx(exact, abs=5e-4)
  below = 100 * statistics.hoeffding_below(count, 10_000)
  assert below == pytest.approx(hoeffding, abs=5e-4)
  assert below <= bound


def test_the_printed_form_claims_more_than_the_data_support():
  for share, *_ in TABLE_IV[3:]:
    count = round(100 * share)
    printed = statistics.multiplicative_as_printed(count, 10_000)
    assert printed > statistics.lower_bound(count, 10_000)


@settings(max_examples=40)
@given(COUNTS, st.sampled_from([0.001, 0.01, 0.2]))
def test_one_sided_bounds_are_scipys(count, delta):
  successes, total = count
  reference = stats.binomtest(
    successes, total, alternative='greater'
  ).proportion_ci(1 - delta, method='exact')
  assert statistics.lower_bound(successes, total, delta) == pytest.approx(
    reference.low, rel=1e-9, abs=1e-12
  )


@pytest.mark.parametrize('delta', [0.0, 1.0, -0.1])
@pytest.mark.parametrize(
  'bound', ['lower_bound', 'hoeffding_below', 'multiplicative_as_printed']
)
def test_delta_outside_of_its_range_is_refused(bound, delta):
  with pytest.raises(ValueError, match=f'delta={delta} must be strictly'):
    getattr(statistics, bound)(5, 10, delta)

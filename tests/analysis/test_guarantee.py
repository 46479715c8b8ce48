"""The guarantee's formulas against the inequalities that its proof needs."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rdefense.analysis import guarantee, idealized

CODES = st.lists(
  st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(
  st.integers(1, 10**8), st.integers(2, 256), st.floats(1e-9, 0.99),
  st.integers(1, 7),
)  # fmt: skip
def test_hoeffding_over_all_values_leaves_delta(n, levels, delta, channels):
  deviation = guarantee.gamma(n, levels, delta)
  # In logarithms, as delta^8 underflows.
  left = math.log(2) + channels * math.log(levels) - 2 * n * deviation**2
  assert left <= math.log(delta) + 1e-9


@settings(max_examples=60)
@given(
  st.floats(0.1, 50), st.floats(0.01, 1), st.integers(2, 300),
  st.floats(0, 0.999),
)  # fmt: skip
def test_beyond_nu_no_value_is_as_frequent_as_a_code(sigma, peak, k, part):
  deviation = part * peak / (2 * k)
  nu = guarantee.nu(sigma, peak, k, deviation)
  rarest = peak / k - deviation
  for t, sign in ((nu * 1.001, 1), (nu * 0.999, -1)):
    most = peak * math.exp(-(t**2) / sigma**2) + deviation
    assert sign * (rarest - most) > 0


@pytest.mark.parametrize('share', [1.0, 1.5])
def test_too_few_samples_are_an_error_that_names_the_condition(share):
  with pytest.raises(ValueError, match='2 gamma / a = .* must be below 1/k'):
    guarantee.nu(1.0, 0.5, 4, share * 0.5 / 8)


def test_promised_begins_where_both_premises_hold():
  model = idealized.make_model([[0], [90]], 90, sigma=2.0)
  peak = 1 / sum(math.exp(-(t**2) / 4) for t in range(12))
  for n in range(1000, 10_000, 50):
    left = 0.5 - 2 * math.sqrt(4 / n * math.log(256 / 0.05)) / peak
    nu = 2 * math.sqrt(-math.log(left)) if left > 0 else math.inf
    got = guarantee.promised(model, n, 0.05)
    assert got == (pytest.approx(nu) if 90 > 16 * nu else None)
  narrow = model._replace(separation=26.0)  # 16 nu is at least 26.6
  assert guarantee.promised(narrow, 10**12, 0.05) is None


@settings(max_examples=150)
@given(CODES, CODES, st.integers(0, 6))
def test_matching_is_that_of_all_permutations(codes, truth, nu):
  codes, truth = np.array(codes), np.array(truth)
  expected = len(codes) == len(truth) and any(
    np.abs(codes[list(order)] - truth).max() <= nu
    for order in itertools.permutations(range(len(codes)))
  )
  assert guarantee.is_approximation(codes, truth, nu) == expected
  row = guarantee.match(codes, truth, nu)
  if expected:
    assert sorted(row) == [*range(len(codes))]
    assert np.abs(codes[row] - truth).max() <= nu


@pytest.mark.parametrize(
  'call, words',
  [
    (lambda: guarantee.gamma(0, 256, 0.1), 'num_samples=0 must be at least 1'),
    (lambda: guarantee.gamma(9, 1, 0.1), 'num_levels=1 must be at least 2'),
    (lambda: guarantee.gamma(9, 256, 1.0), 'delta=1.0 must be strictly'),
    (lambda: guarantee.nu(0, 0.5, 2, 0), 'sigma=0 must be positive'),
    (lambda: guarantee.nu(1, 0.5, 1, 0), 'num_codes=1 must be at least 2'),
    (lambda: guarantee.nu(1, 0.5, 2, -1), 'deviation=-1 must be at least 0'),
  ],
)
def test_mistakes_are_one_sentence(call, words):
  with pytest.raises(ValueError, match=words):
    call()

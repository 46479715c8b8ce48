"""Bounds of the margin against the exact one of a shifted normal law."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from scipy import stats

from rdefense.certify.margins import BOUNDS, of_normal

SHARES = st.floats(0.01, 0.9999)


@given(st.floats(0.0, 3.0), SHARES, SHARES)
def test_no_bound_is_above_the_exact_margin(distance, low, high):
  shares = np.array([[low, max(low, high)]])
  found = of_normal(np.array([distance**2]), shares)
  # The event of least probability is a half-space: by its threshold.
  thresholds = stats.norm.isf(shares)
  exact = stats.norm.sf(thresholds + distance).sum() - 1
  assert set(found.margin) == set(BOUNDS)
  for name in BOUNDS:
    assert found.margin[name][0] <= exact + 1e-9, name
  np.testing.assert_allclose(found.margin['neyman_pearson'], exact, atol=1e-9)
  np.testing.assert_allclose(found.divergence, distance**2 / 2)

"""Bounds of the margin against the exact one of a shifted normal law."""

import numpy as np
from scipy import stats

from rdefense.certify.margins import BOUNDS, of_normal


def test_no_bound_is_above_the_exact_margin():
  rng = np.random.default_rng(0)
  distance = np.concatenate([np.zeros(50), rng.uniform(0, 3, 450)])
  shares = np.sort(rng.choice([0.01, 0.5, 0.9, 0.999, 0.9999], (500, 2)))
  found = of_normal(distance**2, shares)
  # The event of least probability is a half-space: by its threshold.
  thresholds = stats.norm.isf(shares)
  exact = stats.norm.sf(thresholds + distance[:, None]).sum(-1) - 1
  assert set(found.margin) == set(BOUNDS)
  for name in BOUNDS:
    assert (found.margin[name] <= exact + 1e-9).all(), name
  np.testing.assert_allclose(found.margin['neyman_pearson'], exact, atol=1e-9)
  np.testing.assert_array_equal(found.divergence, distance**2 / 2)

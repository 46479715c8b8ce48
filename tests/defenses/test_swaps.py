"""Swaps on a table of distances, and the sample they are judged on."""

import numpy as np

from rdefense.defenses import swaps


def test_sampled_sums_are_unbiased():
  rng = np.random.default_rng(0)
  counts = np.array([1, 1, 1, 5, 1000])
  sums = np.zeros(5)
  for _ in range(4000):
    rows, weights = swaps.sample(rng, counts, 8)
    sums[rows] += weights
  # Ten standard errors of the rarest colour's estimate are about 0.2.
  np.testing.assert_allclose(sums / 4000, counts, rtol=0.2)


def test_no_swap_on_the_table_is_left():
  rng = np.random.default_rng(1)
  points, weights = rng.random((60, 2)), rng.integers(1, 5, 60)
  table = np.abs(points[:, None] - points[None]).sum(-1).astype(np.float32)
  rows = swaps.swap(rng, table, weights, 4)
  total = table[rows].min(0) @ weights
  for place in range(4):
    for row in range(60):
      other = rows.copy()
      other[place] = row
      assert table[other].min(0) @ weights >= total * (1 - 1e-6)

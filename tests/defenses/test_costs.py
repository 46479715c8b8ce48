"""The cost of a codebook, against SciPy."""

import numpy as np
import pytest
from scipy.spatial import distance

from rdefense.defenses import costs
from rdefense.defenses.colors import pixel_units

METRICS = {'l1': 'cityblock', 'l2': 'euclidean', 'linf': 'chebyshev'}


@pytest.mark.parametrize('norm', sorted(METRICS))
def test_cost_agrees_with_scipy(blobs, norm):
  codes = np.random.default_rng(1).random((30, 3)).astype(np.float32)
  table = distance.cdist(codes, blobs.values / 255, METRICS[norm])
  cost = costs.cost(blobs, codes, norm)
  assert cost.total == pytest.approx(table.min(0) @ blobs.counts, rel=1e-12)
  assert cost.mean == pytest.approx(cost.total / blobs.counts.sum(), rel=1e-12)


def test_cost_of_pixels_is_exact(blobs):
  assert costs.cost(blobs, pixel_units(blobs.values)).total == 0


@pytest.mark.parametrize(
  'codes, norm, match',
  [
    ([[0.0], [1.0]], 'l0', "norm='l0'"),
    ([[0.0, 0.5]], 'l1', 'channels'),
    ([[0.0], [255.0]], 'l1', 'divide by 255'),
  ],
)
def test_bad_input(codes, norm, match):
  images = np.zeros((1, 2, 2, 1), np.uint8)
  with pytest.raises(ValueError, match=match):
    costs.cost(images, codes, norm)

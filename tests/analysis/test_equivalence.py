"""Hardness: products counted plainly, and the median's interval."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from rdefense import data
from rdefense.analysis import equivalence
from rdefense.certify import lattice
from rdefense.defenses.colors import pixel_units


def test_hardness_is_the_logarithm_of_the_number_of_classes():
  rng = np.random.default_rng(0)
  counts = rng.integers(1, 8, (5, 6, 3))
  expected = [
    math.log(math.prod(map(int, image.ravel())), 7) / 18 for image in counts
  ]
  got = equivalence.hardness(counts, 7)
  # Two float64 logarithms of numbers of fifty bits, summed differently.
  np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize('bad', [0, 8])
def test_counts_that_are_none_are_refused(bad):
  with pytest.raises(ValueError, match='every pixel is given some code'):
    equivalence.hardness(np.array([[1, bad]]), 7)


def test_images_are_the_sums_of_their_pixels_whatever_the_batch(monkeypatch):
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (4, 5, 3, 1), dtype=np.uint8)
  levels = np.array([[0], [100], [131], [254]])
  codes, eps = pixel_units(levels), 20.25 / 255  # no ties
  by_hand = []
  for image in images:
    product = 1
    for v in image.ravel().tolist():
      low, high = max(v - 20.25, 0), min(v + 20.25, 255)
      cells = [(-1, 50), (50, 115.5), (115.5, 192.5), (192.5, 256)]
      product *= sum(a <= high and b >= low for a, b in cells)
    by_hand.append(math.log(product, 4) / 15)
  table = lattice.num_reached(codes, eps)
  found = equivalence.of_bytes(images, table, 4)
  np.testing.assert_allclose(found, by_hand, rtol=1e-13)
  monkeypatch.setattr(equivalence, '_ROWS', 7)
  x = pixel_units(images)
  np.testing.assert_array_equal(equivalence.of_images(x, codes, eps), found)
  np.testing.assert_array_equal(
    equivalence.of_images(x[1:2], codes, eps), found[1:2]
  )
  over = jax.vmap(equivalence.num_reached, (0, None, None))
  counts = jax.jit(over)(x, codes, eps)
  np.testing.assert_array_equal(equivalence.hardness(counts, 4), found)


def test_one_core_serves_batches_of_colour_images():
  rng = np.random.default_rng(2)
  x, codes = rng.random((3, 4, 4, 3), np.float32), rng.random((6, 3))
  for norm in ('linf', 'l2'):
    one = [
      equivalence.hardness(equivalence.num_reached(i, codes, 0.1, norm), 6)
      for i in x
    ]
    np.testing.assert_array_equal(
      equivalence.of_images(x, codes, 0.1, norm), one
    )


def test_tables_of_other_channels_are_refused():
  images = np.zeros((1, 2, 2, 3), np.uint8)
  with pytest.raises(ValueError, match='another codebook'):
    equivalence.of_bytes(images, np.ones(256, np.uint16), 2)
  with pytest.raises(ValueError, match='expected uint8'):
    equivalence.of_bytes(images[..., :1] / 255, np.ones(256, np.uint16), 2)


@pytest.mark.parametrize('n', [6, 7, 20, 1000])
def test_the_interval_is_the_narrowest_that_covers(n):
  found = equivalence.median(np.arange(n))
  below = int(found.low)  # so many values lie below the lower end
  assert found.high == n - 1 - below and found.total == n
  miss = lambda r: 2 * stats.binom.cdf(r - 1, n, 0.5)
  assert miss(below + 1) <= 0.05 < miss(below + 2)


def test_few_values_bound_nothing():
  assert equivalence.median([1.0] * 5)[:3] == (1.0, -math.inf, math.inf)


def test_medians_of_skewed_samples_are_covered():
  rng = np.random.default_rng(3)
  covered = 0
  for _ in range(1000):
    found = equivalence.median(rng.exponential(size=25))
    covered += found.low <= math.log(2) <= found.high
  assert covered >= 932  # 4 standard deviations below the coverage of 0.957


def test_mnist_has_the_published_median(data_dir, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  images = data.load('mnist', 'test').images
  codes = np.array([[0], [253]]) / 255
  medians = {}
  for name, eps in {'closed': 0.3, 'open': 0.3 - 0.5 / 255}.items():
    table = lattice.num_reached(codes, eps)
    values = equivalence.of_bytes(images, table, 2)
    medians[name] = equivalence.median(values).value
  # PROTOCOL A13 and A10: levels 50 and 203 tie at 0.3; the paper prints 0.06.
  assert medians['open'] == pytest.approx(48 / 784)
  assert medians['closed'] == pytest.approx(49 / 784)

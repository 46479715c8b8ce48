"""What real images violate: counted by hand, and absent from ideal images."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest
from scipy import optimize

from rdefense.analysis import assumptions, idealized
from rdefense.defenses.colors import colors_from_histogram, colors_from_images
from rdefense.defenses.discretize import nearest_code


@settings(max_examples=40)
@given(st.lists(st.integers(0, 500), min_size=2, max_size=12))
def test_sigma_has_the_largest_likelihood(counts):
  counts = np.array(counts)
  if not counts.any():
    return
  square = np.arange(len(counts)) ** 2
  sigma = assumptions.fitted_sigma(counts)
  if counts[1:].sum() == 0:
    assert sigma == 0
    return
  if counts @ square >= counts.sum() * square.mean() * (1 - 1e-12):
    assert sigma == math.inf
    return

  def surprise(log_sigma):
    scaled = square / math.exp(log_sigma) ** 2
    normaliser = math.log(sum(math.exp(-v) for v in scaled))
    return float(counts @ scaled / counts.sum() + normaliser)

  best = optimize.minimize_scalar(surprise, bounds=(-2, 8), method='bounded')
  # Where the law is almost flat, so is the likelihood: compare values.
  assert surprise(math.log(sigma)) <= best.fun + 1e-9


@pytest.mark.parametrize('sigma', [0.7, 2.0, 11.0])
def test_sigma_of_the_law_itself_is_found(sigma):
  counts = np.rint(1e12 * idealized.noise_law(sigma, 30)).astype(np.int64)
  assert assumptions.fitted_sigma(counts) == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize('counts', [[], [0, 0], [3, -1], [[1, 2]]], ids=str)
def test_counts_of_nothing_are_refused(counts):
  with pytest.raises(ValueError, match='how often each norm'):
    assumptions.fitted_sigma(counts)


def test_nearest_is_what_the_defense_gives(key):
  rng = np.random.default_rng(0)
  values = rng.integers(0, 256, (500, 3), dtype=np.uint8)
  levels = rng.integers(0, 256, (40, 3))
  levels[7] = levels[3] + [0, 0, 1]  # ties
  index, distance = assumptions.nearest(values, levels)
  away = np.abs(values[:, None].astype(int) - levels).max(-1)
  np.testing.assert_array_equal(distance, away.min(1))
  np.testing.assert_array_equal(index, away.argmin(1))
  assert (np.sort(away, 1)[:, 0] == np.sort(away, 1)[:, 1]).any()
  # In units of 1/256 float32 is exact, so that ties stay ties.
  given = nearest_code(levels / 256).apply(key, values[None] / np.float32(256))
  np.testing.assert_array_equal(256 * given[0], levels[index])


def test_chunks_do_not_matter(monkeypatch):
  rng = np.random.default_rng(1)
  values = rng.integers(0, 256, (100, 2), dtype=np.uint8)
  levels = rng.integers(0, 256, (5, 2))
  whole = assumptions.nearest(values, levels)
  monkeypatch.setattr(assumptions, '_CHUNK', 7)
  for a, b in zip(whole, assumptions.nearest(values, levels), strict=True):
    np.testing.assert_array_equal(a, b)


def test_shares_are_those_counted_by_hand():
  # Codes 0 and 16: Gamma / 8 = 2. Distances 0, 1, 2, 8 (a tie), 0.
  colors = colors_from_histogram(
    np.uint8([[0], [1], [2], [8], [16]]), [40, 10, 5, 25, 20]
  )
  found = assumptions.violations(colors, np.float32([[0], [16]]) / 255)
  assert (found.num_pixels, found.separation) == (100, 16)
  assert found.beyond == 0.25 and found.at_code == 0.6
  # The tie goes to the first code: 80 against 20.
  assert found.imbalance == pytest.approx(0.3)
  assert found.sigma_allowed == pytest.approx(1 / math.sqrt(math.log(2)))
  law = idealized.noise_law(found.within.sigma, 2)
  assert law @ [0, 1, 4] == pytest.approx((10 + 20) / 75)
  seen = np.array([0.6, 0.1, 0.05])
  assert found.within.misfit == pytest.approx(
    (np.abs(seen - law).sum() + 0.25) / 2
  )
  law = idealized.noise_law(found.all.sigma, 8)
  assert law @ np.arange(9) ** 2 == pytest.approx((10 + 20 + 25 * 64) / 100)
  assert found.all.nu is None and found.all.needed is None  # 100 pixels


def test_ideal_images_violate_little(key):
  model = idealized.make_model([[0], [90], [200]], 90, sigma=3.0)
  key_skeleton, key_noise = jax.random.split(key)
  skeleton = idealized.blocks(3, 64, 1)(key_skeleton, 40)
  images = idealized.sample(key_noise, model, skeleton)
  found = assumptions.violations(
    colors_from_images(images), np.float32(model.codes) / 255
  )
  assert found.beyond == 0 and found.separation == 90
  # 163,840 pixels: deviations of shares are some thousandths.
  assert found.imbalance < 0.01 and found.within.misfit < 0.01
  assert found.within.sigma == pytest.approx(3, rel=0.01)
  law = idealized.noise_law(3.0, 11)
  assert found.at_code == pytest.approx(law[0], abs=0.01)
  assert found.within.needed == pytest.approx(16 * found.within.nu)
  assert found.within.needed < 90


def test_law_has_no_fit_where_no_pixel_is_near():
  colors = colors_from_histogram(np.uint8([[50], [60]]), [3, 4])
  found = assumptions.violations(colors, np.float32([[0], [150]]) / 255)
  assert found.within is None and found.beyond == 1
  assert found.all.sigma == math.inf and found.all.nu is None


def test_exact_images_have_no_noise_to_fit():
  colors = colors_from_histogram(np.uint8([[0], [150]]), [3, 4])
  found = assumptions.violations(colors, np.float32([[0], [150]]) / 255)
  assert found.within == (0.0, 0.0, None, None) and found.at_code == 1


@pytest.mark.parametrize(
  'codes, words',
  [
    ([[0.0], [253.0]], 'divide by 255'),
    ([[0.5]], 'number of codes=1 must be at least 2'),
    ([[0.0, 0.1], [0.5, 0.5]], 'the codes have 2'),
    ([[0.5], [0.5001]], 'separation=0 must be positive: two codes'),
  ],
  ids=str,
)
def test_codebooks_that_are_none_are_refused(codes, words):
  colors = colors_from_histogram(np.uint8([[0]]), [1])
  with pytest.raises(ValueError, match=words):
    assumptions.violations(colors, np.array(codes, np.float32))

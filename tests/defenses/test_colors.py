"""Counting of distinct pixels, against plain loops."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from rdefense.defenses import colors as counting
from rdefense.defenses.colors import (
  colors_from_histogram,
  colors_from_images,
  pixel_units,
)

IMAGES = hnp.arrays(
  np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=3)
)


@given(IMAGES)
@settings(max_examples=30)
def test_colors_agree_with_a_plain_count(images):
  colors = colors_from_images(images)
  pixels = [tuple(p) for p in images.reshape(-1, images.shape[-1]).tolist()]
  distinct = sorted(set(pixels))
  assert [tuple(v) for v in colors.values.tolist()] == distinct
  assert colors.counts.tolist() == [pixels.count(v) for v in distinct]
  assert colors.first.tolist() == [pixels.index(v) for v in distinct]


@pytest.mark.parametrize('channels', [1, 2])
def test_histogram_path_agrees_with_sorting(channels):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 200, (70_000, channels), dtype=np.uint8)
  packed, first, counts = counting._histogram(pixels, chunk=9_999)
  expected = np.unique(pixels, axis=0, return_index=True, return_counts=True)
  np.testing.assert_array_equal(counting._unpack(packed, channels), expected[0])
  np.testing.assert_array_equal(first, expected[1])
  np.testing.assert_array_equal(counts, expected[2])


@given(IMAGES, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_histogram_is_the_same_for_permuted_images_and_weights(images, random):
  order = list(range(len(images)))
  random.shuffle(order)
  colors = colors_from_images(images)
  moved = colors_from_images(images[order])
  np.testing.assert_array_equal(colors.values, moved.values)
  np.testing.assert_array_equal(colors.counts, moved.counts)
  rows = list(range(len(colors.counts)))
  random.shuffle(rows)
  weighted = colors_from_histogram(colors.values[rows], colors.counts[rows])
  np.testing.assert_array_equal(colors.values, weighted.values)
  np.testing.assert_array_equal(colors.counts, weighted.counts)


def test_all_pixels_are_in_range_and_as_loaders_scale_them():
  levels_ = np.arange(256, dtype=np.uint8)
  pixels = pixel_units(levels_)
  np.testing.assert_array_equal(
    pixels, levels_.astype(np.float32) * np.float32(1 / 255)
  )
  assert pixels.dtype == np.float32 and pixels[-1] == 1


@pytest.mark.parametrize(
  'images, match',
  [
    (np.zeros((1, 2, 2, 3)), 'pass the uint8 images'),
    (np.zeros((0, 2, 2, 3), np.uint8), 'non-empty'),
    (np.zeros((2, 2, 3), np.uint8), r'\[N, H, W, C\]'),
    (np.zeros((1, 1, 3, 4), np.uint8), 'channels'),
  ],
)
def test_bad_images(images, match):
  with pytest.raises(ValueError, match=match):
    colors_from_images(images)


@pytest.mark.parametrize(
  'values, counts, match',
  [
    ([[0.5]], [1], 'uint8'),
    (np.uint8([[5]]), [0], 'all 0'),
    (np.uint8([[5]]), [-1], 'negative'),
    (np.uint8([[5]]), [0.5], 'integers'),
    (np.uint8([[5]]), [1, 2], 'one a row'),
  ],
)
def test_bad_histograms(values, counts, match):
  with pytest.raises(ValueError, match=match):
    colors_from_histogram(values, counts)

"""Neighbourhood sizes: counted pair by pair, and CIFAR-10's largest."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest
from scipy import stats

from experiments.codebooks import histogram as read_histogram
from rdefense.analysis import neighborhoods
from rdefense.defenses.colors import colors_from_histogram


def some_colors(seed, num_channels, n=60, span=256):
  rng = np.random.default_rng(seed)
  values = rng.integers(0, span, (n, num_channels), dtype=np.uint8)
  return colors_from_histogram(values, rng.integers(1, 1000, n))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.integers(0, 300))
def test_sizes_are_those_of_all_pairs(seed, num_channels, radius):
  colors = some_colors(seed, num_channels)
  cube = neighborhoods.sizes(colors, radius)
  rng = np.random.default_rng(seed)
  asked = rng.integers(0, 256, (50, num_channels))
  away = np.abs(asked[:, None] - colors.values.astype(int)).max(-1)
  np.testing.assert_array_equal(
    cube[tuple(asked.T)], (away <= radius) @ colors.counts
  )


def test_colour_neighbourhoods_and_their_peak():
  colors = some_colors(1, 3, n=300, span=40)
  cube = neighborhoods.sizes(colors, 5)
  own = colors.values.astype(int)
  away = np.abs(own[:, None] - own).max(-1)
  sizes = (away <= 5) @ colors.counts
  np.testing.assert_array_equal(neighborhoods.of_colors(cube, colors), sizes)
  peak = neighborhoods.largest(cube, colors)
  assert peak.size == sizes.max() and peak.ties == (sizes == peak.size).sum()
  assert peak.color == tuple(own[sizes.argmax()])
  overall = neighborhoods.largest(cube)
  assert overall.size == cube[overall.color] == cube.max() >= peak.size


def test_many_pixels_are_counted_in_64_bits():
  colors = colors_from_histogram(np.uint8([[3], [4]]), [2**31 - 1, 2**31 - 1])
  assert neighborhoods.sizes(colors, 1)[3] == 2**32 - 2
  with pytest.raises(ValueError, match='too many to draw from'):
    neighborhoods.sample(jax.random.key(0), colors, 1)


@pytest.mark.parametrize('radius', [-1, 8 / 255])
def test_radii_in_other_units_are_refused(radius):
  with pytest.raises(ValueError, match='whole number of levels'):
    neighborhoods.sizes(some_colors(0, 1), radius)


def test_pixels_are_drawn_by_how_often_they_occur(key):
  colors = colors_from_histogram(np.uint8([[1], [2], [9]]), [1, 700, 299])
  drawn = np.bincount(neighborhoods.sample(key, colors, 20_000), minlength=3)
  # One key, chosen once: a law that is wrong by 2% gives less than 1e-6.
  assert stats.chisquare(drawn, [20, 14_000, 5980]).pvalue > 1e-3


def test_cifar10_has_the_largest_neighbourhood_that_is_known(data_dir):
  path = data_dir.parent / 'cifar10_train_colours.npz'
  if not path.is_file():
    pytest.skip(f'no histogram of CIFAR-10: {path}')
  colors = read_histogram(path)
  assert len(colors.counts) == 4_554_653
  cube = neighborhoods.sizes(colors, 8)
  # PROTOCOL A13; the paper prints 1,567,080.
  expected = neighborhoods.Peak(1_606_495, (247, 247, 247), 1)
  assert neighborhoods.largest(cube, colors) == expected
  assert neighborhoods.largest(cube) == expected

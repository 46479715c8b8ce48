"""Colours against printed tables; clusters against plain loops."""

import numpy as np
import pytest

from rdefense.analysis.color_clusters import Clusters, clusters, lab, matched


@pytest.mark.parametrize(
  'rgb, expected',  # sRGB under D65, as printed by B. Lindbloom
  [
    ((1, 0, 0), (53.2408, 80.0925, 67.2032)),
    ((0, 1, 0), (87.7347, -86.1827, 83.1793)),
    ((0, 0, 1), (32.2970, 79.1875, -107.8602)),
    ((1, 1, 1), (100, 0, 0)),
    ((0, 0, 0), (0, 0, 0)),
  ],
)
def test_primaries_are_where_the_tables_have_them(rgb, expected):
  # Tables differ in the fourth digit of the white point.
  np.testing.assert_allclose(lab(rgb), expected, atol=0.02)


def test_grey_has_no_colour_and_noise_is_clipped():
  grey = np.linspace(0, 1, 50)[:, None] * np.ones(3)
  found = lab(grey)
  np.testing.assert_allclose(found[:, 1:], 0, atol=1e-9)
  assert (np.diff(found[:, 0]) > 0).all()
  np.testing.assert_array_equal(lab([-0.3, 0.5, 1.2]), lab([0, 0.5, 1]))


def test_clusters_are_pixels_of_one_colour():
  rng = np.random.default_rng(0)
  palette = rng.normal(size=(4, 3)).astype(np.float32)  # beyond [0, 1] as well
  chosen = rng.integers(0, 3, (5, 6))  # the last has no pixel
  found = clusters(palette[chosen])
  assert len(found.centers) == 3 and found.pixels.sum() == 30
  np.testing.assert_array_equal(found.centers[found.member], palette[chosen])
  for i, center in enumerate(found.centers):
    assert found.pixels[i] == (palette[chosen] == center).all(-1).sum()


def test_clusters_are_matched_by_their_centres():
  reference = Clusters(np.array([[0, 1, 2]]), np.eye(3), np.array([1, 1, 1]))
  moved = clusters(np.eye(3)[[1, 0, 2]][None] + 0.1)
  found = matched(moved, reference)
  np.testing.assert_array_equal(found.member, [[1, 0, 2]])
  np.testing.assert_allclose(found.centers, np.eye(3) + 0.1)
  more = clusters(np.stack([*np.eye(3)[::-1], np.full(3, 9.0)])[None])
  np.testing.assert_array_equal(matched(more, reference).member, [[2, 1, 0, 3]])
  fewer = clusters(np.eye(3)[[2, 0]][None])
  np.testing.assert_array_equal(matched(fewer, reference).member, [[1, 0]])


@pytest.mark.parametrize('fn, shape', [(lab, (4, 4, 1)), (clusters, (4, 3))])
def test_what_is_no_colour_image_is_refused(fn, shape):
  with pytest.raises(ValueError, match='expected'):
    fn(np.zeros(shape))


@pytest.mark.parametrize(
  'rgb, expected',  # L of 119/255 by the formulas of IEC 61966-2-1 and CIE 15
  [((119, 119, 119), 50.034), ((128, 128, 128), 53.585), ((8, 8, 8), 2.193)],
)
def test_greys_have_their_lightness(rgb, expected):
  np.testing.assert_allclose(lab(np.array(rgb) / 255)[0], expected, atol=0.01)

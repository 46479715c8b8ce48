"""A point of the ball for codes that random points of it are given."""

import numpy as np
import pytest

from rdefense.certify.preimage import preimage
from rdefense.defenses.discretize import NORMS, nearest_code
from tests.certify.points import GREY, KEY, colors, seen

COLORS = colors(9)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('codes', [GREY, COLORS], ids=['grey', 'color'])
def test_a_point_is_found_for_what_random_points_are_given(codes, norm):
  eps, num_channels = 0.15, codes.shape[1]
  x = np.random.default_rng(10).random((5, 5, num_channels), np.float32)
  given = seen(x, codes, eps, norm)
  missed = 0
  for j in range(len(codes)):
    chosen = np.full((5, 5), j)
    v, found = map(np.asarray, preimage(x, codes, chosen, eps, norm))
    assert np.abs(v - x).max() <= eps + 1e-6 and 0 <= v.min() and v.max() <= 1
    pixels = np.asarray(nearest_code(codes, norm=norm).apply(KEY, v))
    assert (pixels[found] == codes[j]).all()
    missed += (given[..., j] & ~found).sum()
  assert missed == 0 if num_channels == 1 else missed <= 2


@pytest.mark.parametrize('codes', [GREY, COLORS], ids=['grey', 'color'])
def test_nothing_is_found_for_a_code_out_of_reach(codes):
  x = np.zeros((2, 2, codes.shape[1]), np.float32)
  farthest = np.full((2, 2), np.abs(codes).max(-1).argmax())
  made, found = map(np.asarray, preimage(x, codes, farthest, 0.05))
  assert not found.any()
  np.testing.assert_array_equal(made, np.clip(codes[farthest], 0, 0.05))


def test_codes_of_other_channels_are_refused():
  with pytest.raises(ValueError, match='channels'):
    preimage(np.zeros((2, 2, 1)), COLORS, np.zeros((2, 2), int), 0.1)

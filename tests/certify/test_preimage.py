"""A point of the ball for codes that random points of it are given."""

import jax
import numpy as np
import pytest

from rdefense.certify.preimage import preimage
from rdefense.defenses.discretize import NORMS, nearest_code

KEY = jax.random.key(0)
EPS = 0.15
GREY = np.float32([[0.0], [0.2], [0.55], [1.0]])
COLORS = np.random.default_rng(9).random((6, 3), np.float32)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('codes', [GREY, COLORS], ids=['grey', 'color'])
def test_a_point_is_found_for_what_random_points_are_given(codes, norm):
  num_channels = codes.shape[1]
  rng = np.random.default_rng(10)
  x = rng.random((8, 8, num_channels), np.float32)
  apply = jax.jit(nearest_code(codes, norm=norm).apply)
  missed = 0
  for _ in range(50):
    noise = rng.uniform(-1, 1, x.shape)
    v = np.clip(x + np.float32(EPS) * noise, 0, 1).astype(np.float32)
    given = np.asarray(apply(KEY, v))
    chosen = (given[..., None, :] == codes).all(-1).argmax(-1)
    made, found = map(np.asarray, preimage(x, codes, chosen, EPS, norm))
    assert np.abs(made - x).max() <= EPS + 1e-6
    assert 0 <= made.min() and made.max() <= 1
    np.testing.assert_array_equal(apply(KEY, made)[found], given[found])
    missed += (~found).sum()
  assert missed == 0 if num_channels == 1 else missed <= 0.01 * 50 * 64


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

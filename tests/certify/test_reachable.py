"""Reachable codes: never one too few, and on one channel none too many."""

import functools
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest

from rdefense import data
from rdefense.certify import reachable as r
from rdefense.defenses.discretize import NORMS, binning, nearest_code
from tests.certify.points import GREY, KEY, colors, seen

SETS = {'triangle': r.triangle, 'reachable': r.reachable}


@pytest.mark.parametrize('eps', [0.0, 0.05, 0.2])
@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('name', SETS)
def test_what_random_points_are_given_is_in_the_set(name, norm, eps):
  codes = colors(1)
  x = np.random.default_rng(2).random((5, 5, 3), np.float32)
  claimed = np.asarray(SETS[name](x, codes, eps, norm))
  assert not (seen(x, codes, eps, norm) & ~claimed).any()
  assert claimed.any(-1).all()


@pytest.mark.parametrize(
  'norm, num_channels',
  [('linf', 2), ('linf', 6), ('l2', 2), ('l2', 128), ('l1', 2), ('l1', 128)],
)
def test_where_two_codes_tie_the_one_that_is_given_is_in_the_set(
  norm, num_channels
):
  """Points a few roundings from the middle between two codes."""
  rng = np.random.default_rng(num_channels)
  one = rng.random(num_channels, np.float32)
  codes = np.stack([one, rng.permutation(one)])
  order = {'l1': 1, 'l2': 2, 'linf': np.inf}[norm]

  def is_first(x) -> np.ndarray:  # in float64
    apart = x[:, None] - codes.astype(np.float64)
    first, second = np.linalg.norm(apart, order, -1).T
    return first < second

  spots = 0.8 * rng.random((300, num_channels))
  ends = [spots + 0.2 * code for code in codes]
  crossing = is_first(ends[0]) & ~is_first(ends[1])
  low, high = (end[crossing] for end in ends)
  assert len(low) > 20
  at, step = np.full((len(low), 1), 0.5), 0.25
  while step > 1e-12:
    first = is_first(low + at * (high - low))[:, None]
    at, step = at + np.where(first, step, -step), step / 2
  off = np.array([-3e-6, -1e-6, -1e-7, 1e-7, 1e-6, 3e-6])[:, None, None]
  x = (low + (at + off) * (high - low)).astype(np.float32)
  given = np.asarray(nearest_code(codes, norm=norm).apply(KEY, x))
  own = (given[..., None, :] == codes).all(-1)
  for reached in SETS.values():
    assert np.asarray(reached(x, codes, 0.0, norm))[own].all()


@pytest.mark.parametrize('norm', NORMS)
def test_the_pairwise_set_lies_within_the_triangles(norm):
  codes = colors(3, 12)
  x = np.random.default_rng(4).random((8, 8, 3), np.float32)
  narrow = np.asarray(r.reachable(x, codes, 0.1, norm))
  wide = np.asarray(r.triangle(x, codes, 0.1, norm))
  assert not (narrow & ~wide).any()
  assert narrow.sum() < 0.9 * wide.sum()


_decided = jax.jit(r.reachable)


@settings(max_examples=40)
@given(
  x=st.floats(0, 1, width=32),
  eps=st.floats(0, 0.4),
  levels=st.lists(st.integers(0, 255), min_size=2, max_size=6, unique=True),
)
def test_on_one_channel_it_is_the_interval_between_midpoints(x, eps, levels):
  codes = np.array(sorted(levels))[:, None] / 255
  middles = (codes[1:, 0] + codes[:-1, 0]) / 2
  ends = np.array([0.0, *middles, 1.0])
  low, high = max(x - eps, 0), min(x + eps, 1)
  got = np.asarray(_decided(np.full((1, 1, 1), x), codes, eps))[0, 0]
  doubt = 2 * r._DOUBT
  inner = (low <= ends[1:] - doubt) & (high >= ends[:-1] + doubt)
  outer = (low <= ends[1:] + doubt) & (high >= ends[:-1] - doubt)
  assert (inner <= got).all() and (got <= outer).all()


@pytest.mark.parametrize('norm', NORMS)
def test_pairs_are_decided_as_a_fine_grid_decides_them(norm):
  # Two codes: there the pairwise set is the exact one, in colour as well.
  rng, eps, grid = np.random.default_rng(5), 0.15, np.linspace(-1, 1, 13)
  steps = np.float32([*itertools.product(eps * grid, repeat=3)])
  dist = lambda v, c: np.linalg.norm(
    v - c, {'linf': np.inf, 'l2': 2, 'l1': 1}[norm], axis=-1
  )
  decided = jax.jit(functools.partial(r.reachable, norm=norm))
  disagreements = 0
  for _ in range(150):
    codes, x = rng.random((2, 3), np.float32), rng.random(3).astype(np.float32)
    v = np.clip(x + steps, 0, 1)
    gap = dist(v, codes[0]) - dist(v, codes[1])
    expected = [gap.min() <= 0, gap.max() >= 0]
    got = np.asarray(decided(x[None, None], codes, eps))[0, 0]
    assert (got >= expected).all()
    disagreements += (got != expected).any()
  assert disagreements <= 8  # of 150, between the grid's points


@pytest.mark.parametrize('codes', [GREY, colors(6)], ids=['grey', 'color'])
def test_eight_bit_attackers_reach_what_their_bytes_are_given(codes):
  num_channels, eps = codes.shape[1], 2 / 255
  x = np.random.default_rng(7).integers(0, 256, (4, 4, num_channels)) / 255
  x = x.astype(np.float32)
  apply = jax.jit(nearest_code(codes).apply)
  found = np.zeros((4, 4, len(codes)), bool)
  for step in itertools.product(range(-2, 3), repeat=num_channels):
    v = (np.rint(255 * x) + np.array(step)) / 255
    if ((v >= 0) & (v <= 1)).all():
      pixels = np.asarray(apply(KEY, v.astype(np.float32)))
      found |= (pixels[..., None, :] == codes).all(-1)
  got = np.asarray(r.from_bytes(x, codes, eps))
  assert not (found & ~got).any()
  assert not (got & ~np.asarray(r.reachable(x, codes, eps))).any()


def test_bytes_reach_fewer_codes_than_reals():
  x, codes = np.full((1, 1, 1), 100 / 255), np.array([[0.0], [201.5 / 255]])
  eps = 0.9 / 255  # up to 100.9, past the middle 100.75, but no byte is there
  assert r.reachable(x, codes, eps)[0, 0].tolist() == [True, True]
  assert r.from_bytes(x, codes, eps)[0, 0].tolist() == [True, False]


def test_the_box_of_binning_is_that_of_its_levels():
  x = np.random.default_rng(8).random((6, 6, 3), np.float32)
  eps, levels = 0.07, np.linspace(0, 1, 4, dtype=np.float32)[:, None]
  flat = x.reshape(6, 18, 1)
  got = r.box(r.reachable(flat, levels, eps), levels)
  apply = binning(4).apply
  for end, v in zip(got, (x - eps, x + eps), strict=True):
    np.testing.assert_array_equal(
      end.reshape(x.shape), apply(KEY, np.clip(v, 0, 1))
    )


TABLE_IV = {  # eps: b, "unable" in percent
  0.0: (0, 0.00), 0.05: (30, 0.43), 0.1: (30, 1.30), 0.15: (26, 29.18),
  0.2: (25, 74.38), 0.25: (25, 89.48), 0.3: (25, 95.67),
}  # fmt: skip


@pytest.fixture(scope='module')
def mnist(data_dir):
  return data.load('mnist', 'test', data_dir).images[..., 0]


@pytest.mark.parametrize('eps', TABLE_IV)
def test_the_printed_rule_gives_table_iv(eps, mnist):
  scale = np.float32(1 / 255)
  codes = np.float32([[0], [253]]) * scale
  values = np.float32(np.arange(256))[:, None] * scale  # as TF1 loads bytes
  free = r.as_printed(values, codes, eps).sum(-1) > 1
  ambiguous = free[mnist].sum((1, 2))
  most, unable = TABLE_IV[eps]
  assert round(100 * (ambiguous > most).mean(), 2) == unable


def test_where_the_printed_set_is_too_small_ours_is_not():
  x = np.full((1, 1, 1), 0.4)
  codes = np.array([[0.0], [1.0]])
  assert not r.as_printed(x, codes, 0.0).any()
  assert r.triangle(x, codes, 0.0).tolist() == [[[True, False]]]
  middle = np.full((1, 1, 1), 0.25)  # at distance exactly D + 2 eps
  assert r.as_printed(middle, codes, 0.25).sum() == 1
  assert r.reachable(middle, codes, 0.25).sum() == 2


@pytest.mark.parametrize(
  'arguments, words',
  [
    ((np.zeros((2, 2, 1)), GREY, -0.1), 'eps=-0.1 must be at least 0'),
    ((np.zeros((2, 2, 3)), GREY, 0.1), 'image has 3 channels, the codes'),
    ((np.zeros((2, 2, 1)), GREY, 0.1, 'l3'), "norm='l3' is unknown"),
    ((np.zeros((2, 2, 1)), GREY[[0, 0]], 0.1), 'codes'),
  ],
)
@pytest.mark.parametrize('name', [*SETS, 'from_bytes'])
def test_mistakes_are_one_sentence(name, arguments, words):
  with pytest.raises(ValueError, match=words):
    getattr(r, name)(*arguments)

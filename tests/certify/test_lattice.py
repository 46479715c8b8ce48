"""Counts of reachable codes: by points tried one by one, and real ones."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rdefense.certify import lattice
from rdefense.certify.reachable import from_bytes, reachable


def tried(pixel, levels, eps, per_level):
  """Codes (tied, given) at all points of a lattice in the ball, plainly."""
  axes = [
    [
      v / per_level
      for v in range(255 * per_level + 1)
      if abs(v / per_level - p) <= 255 * eps + 1e-9
    ]
    for p in pixel
  ]
  tied, given = set(), set()
  for v in itertools.product(*axes):
    away = [max(abs(a - b) for a, b in zip(v, code)) for code in levels]
    given.add(away.index(min(away)))
    tied |= {i for i, d in enumerate(away) if d == min(away)}
  return tied, given


def near(rng, num_channels, k=4, span=9):
  """Codes near a corner and a pixel among them: ties, and the cut at 0."""
  every = np.array([*itertools.product(range(span), repeat=num_channels)])
  return rng.permutation(every)[:k], rng.integers(0, span, num_channels)


@settings(max_examples=30)
@given(
  levels=st.lists(st.integers(0, 255), min_size=2, max_size=6, unique=True),
  pixel=st.integers(0, 255),
  halves=st.integers(0, 160),
)
def test_on_one_channel_both_rules_are_exact(levels, pixel, halves):
  levels, eps = np.array(levels)[:, None], halves / 510
  # Ends and middles are half levels: twice as fine a lattice sees all.
  for which, rule in enumerate(lattice.RULES):
    table = lattice.num_reached(levels / 255, eps, rule)
    assert table[pixel] == len(tried([pixel], levels, eps, 4)[which])


def test_half_levels_show_all_ties_in_colour():
  rng = np.random.default_rng(0)
  for i in range(8):
    levels, pixel = near(rng, 3)
    eps = (1.5 if i % 2 else 1) / 255
    assert tried(pixel, levels, eps, 4)[0] == tried(pixel, levels, eps, 2)[0]


@pytest.mark.parametrize('num_channels, eps', [(2, 1.5), (3, 2)])
def test_tables_are_what_points_tried_one_by_one_say(num_channels, eps):
  rng, eps = np.random.default_rng(num_channels), eps / 255
  bytes_only = num_channels == 3
  levels, _ = near(rng, num_channels)
  pixels = rng.integers(0, 9, (12, num_channels))
  expected = np.array(
    [
      [len(found) for found in tried(p, levels, eps, 2 - bytes_only)]
      for p in pixels
    ]
  )
  for rule, wanted in zip(lattice.RULES, expected.T, strict=True):
    table = lattice.num_reached(levels / 255, eps, rule, bytes_only)
    np.testing.assert_array_equal(table[tuple(pixels.T)], wanted)
  assert (expected[:, 0] > expected[:, 1]).any()  # ties T does not show


def test_radii_count_in_whole_half_levels():
  rng = np.random.default_rng(3)
  levels = rng.permutation(256)[:12].reshape(6, 2)
  tables = [
    lattice.num_reached(levels / 255, t / 255) for t in (3.5, 3.99, 4.0)
  ]
  np.testing.assert_array_equal(tables[0], tables[1])
  assert (tables[2] > tables[1]).any()


def test_it_is_within_what_pairs_and_real_points_say():
  rng = np.random.default_rng(4)
  levels = rng.permutation(256)[:60].reshape(30, 2)
  codes = np.float32(levels / 255)
  pixels = rng.integers(0, 256, (20, 20, 2))
  x, eps = np.float32(pixels / 255), 10.5 / 255
  tied, given = (
    lattice.num_reached(codes, eps, rule)[tuple(pixels.T)].T
    for rule in lattice.RULES
  )
  pairs = np.asarray(reachable(x, codes, eps)).sum(-1)
  assert (given <= tied).all() and (tied <= pairs).all()
  seen = np.zeros((20, 20, 30), bool)
  for _ in range(300):  # real points, whose ties have probability 0
    v = np.clip(pixels + rng.uniform(-10.5, 10.5, pixels.shape), 0, 255)
    away = np.abs(v[..., None, :] - levels).max(-1)
    seen |= np.arange(30) == away.argmin(-1)[..., None]
  assert (seen.sum(-1) <= tied).all()
  # Random points find nearly all of what has a witness.
  assert (given - seen.sum(-1)).mean() < 0.1


def test_bytes_are_those_tried_one_by_one():
  rng = np.random.default_rng(5)
  levels = rng.permutation(256)[:24].reshape(12, 2)
  codes = np.float32(levels / 255)
  pixels = rng.integers(0, 256, (9, 9, 2))
  table = lattice.num_reached(codes, 3 / 255, bytes_only=True)
  expected = from_bytes(np.float32(pixels / 255), codes, 3 / 255)
  np.testing.assert_array_equal(
    table[tuple(pixels.T)].T, np.asarray(expected).sum(-1)
  )


@pytest.mark.parametrize(
  'codes, options, words',
  [
    ([[0.0], [0.501]], {}, 'snap means to pixels'),
    ([[0.0], [253.0]], {}, 'divide by 255'),
    ([[0.0] * 4, [1.0] * 4], {}, '1 to 3 channels'),
    ([[0.0], [1e-8]], {}, 'drop the duplicates'),
    ([[0.0], [1.0]], {'eps': -1}, 'eps=-1 must be at least 0'),
    ([[0.0], [1.0]], {'rule': 'open'}, "rule='open' is unknown"),
  ],
  ids=str,
)
def test_what_is_no_table_is_refused(codes, options, words):
  with pytest.raises(ValueError, match=words):
    lattice.num_reached(np.array(codes), **({'eps': 0.1} | options))

"""Separability: scores counted pixel by pixel, and their ends."""

import numpy as np
import pytest

from rdefense.analysis import assumptions, separability
from rdefense.analysis.separability import PARTS
from rdefense.certify import lattice
from rdefense.defenses.colors import colors_from_histogram


def some(seed, num_channels, n=80, k=7):
  rng = np.random.default_rng(seed)
  values = rng.integers(0, 256, (n, num_channels), dtype=np.uint8)
  counts = rng.integers(1, 9, n)
  levels = rng.permutation(256)[: k * num_channels].reshape(k, num_channels)
  return colors_from_histogram(values, counts), levels


@pytest.mark.parametrize('num_channels', [1, 2, 3])
def test_scores_are_those_counted_pixel_by_pixel(num_channels):
  colors, levels = some(num_channels, num_channels)
  found = separability.separability(colors, levels / 255)
  pixels = colors.values.astype(int).repeat(colors.counts, 0)
  gaps = [
    min(
      max(abs(a - b) for a, b in zip(c, other))
      for j, other in enumerate(levels.tolist())
      if i != j
    )
    for i, c in enumerate(levels.tolist())
  ]
  own, distance, score = [], [], []
  for p in pixels.tolist():
    away = [max(abs(a - b) for a, b in zip(p, c)) for c in levels.tolist()]
    own.append(away.index(min(away)))
    first, second = sorted(away)[:2]
    distance.append(first)
    score.append((second - first) / max(first, second))
  own, distance, score = map(np.array, (own, distance, score))
  assert found.separation == min(gaps)
  np.testing.assert_array_equal(found.gaps, gaps)
  assert found.spread == pytest.approx(distance.mean(), rel=1e-12)
  assert found.silhouette == pytest.approx(score.mean(), rel=1e-12)
  for i in range(len(levels)):
    mine = own == i
    assert found.pixels[i] == mine.sum()
    if mine.any():
      assert found.spreads[i] == pytest.approx(distance[mine].mean())
      assert found.silhouettes[i] == pytest.approx(score[mine].mean())
    else:
      assert np.isnan(found.spreads[i]) and np.isnan(found.silhouettes[i])
  for m, share, share_own in zip(PARTS, found.within, found.within_own):
    near = [d <= min(gaps) / m for d in distance]
    assert share == pytest.approx(np.mean(near))
    near = [d <= gaps[i] / m for i, d in zip(own, distance)]
    assert share_own == pytest.approx(np.mean(near))


def test_what_lies_beyond_an_eighth_is_what_the_guarantee_counts():
  colors, levels = some(5, 1)
  found = separability.separability(colors, levels / 255)
  about = assumptions.violations(colors, levels / 255)
  assert about.separation == found.separation
  assert 1 - found.within[-1] == pytest.approx(about.beyond)


def test_pixels_that_are_codes_score_1_and_ties_0():
  codes = np.array([[0], [100]]) / 255
  at_codes = colors_from_histogram(np.uint8([[0], [100]]), [2, 3])
  found = separability.separability(at_codes, codes)
  assert (found.silhouette, found.spread) == (1, 0)
  assert found.within == found.within_own == (1, 1, 1)
  halfway = colors_from_histogram(np.uint8([[50]]), [4])
  found = separability.separability(halfway, codes)
  assert (found.silhouette, found.within) == (0, (1, 0, 0))


def test_changed_is_the_share_near_a_border():
  colors, levels = some(6, 1, k=3)
  border = (np.sort(levels[:, 0])[1:] + np.sort(levels[:, 0])[:-1]) / 2
  near = np.abs(colors.values - border).min(1) <= 9.5
  table = lattice.num_reached(levels / 255, 9.5 / 255)
  share = colors.counts @ near / colors.counts.sum()
  assert separability.changed(colors, table) == pytest.approx(share)
  assert 0 < share < 1
  with pytest.raises(ValueError, match='another codebook'):
    separability.changed(colors, table[None])


@pytest.mark.parametrize(
  'codes, words',
  [
    ([[0.5]], 'codes .* from whole ones'),
    ([[1.0]], 'number of codes=1'),
    ([[0.0, 0.0], [1.0, 1.0]], 'the codes have 2'),
  ],
  ids=str,
)
def test_codebooks_that_are_none_are_refused(codes, words):
  colors = colors_from_histogram(np.uint8([[0]]), [1])
  with pytest.raises(ValueError, match=words):
    separability.separability(colors, np.array(codes))

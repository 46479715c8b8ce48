"""How well a codebook separates the pixels it stands for.

The paper's guarantee wants codes a distance Gamma apart and pixels within
Gamma / 8 of theirs; discretization can only help where pixels lie in clusters
that are small against the distance between them. Of weighted distinct pixels p,
with a(p) the distance to the nearest code and b(p) that to the second nearest,

  gap(c)     = min over other codes c' of ||c - c'||,  Gamma = min_c gap(c)
  within_m   = share of pixels with a(p) <= gap / m, for m = 2, 4, 8
  silhouette = mean of 1 - a(p) / b(p), as Rousseeuw's with clusters replaced
               by their codes: 1 where all pixels are codes, 0 where all are
               halfway to another one

all norms l_inf over channels, as T's. A pixel of a(p) < gap / 2 - eps of its
own code keeps it under every attack of radius eps; `changed` is the exact share
of those that do not.

>>> from rdefense.defenses.colors import colors_from_histogram
>>> colors = colors_from_histogram(np.uint8([[0], [30], [200]]), [6, 2, 2])
>>> found = separability(colors, np.array([[0], [200]]) / 255)
>>> found.separation, found.within, round(found.silhouette, 3)
(200, (1.0, 1.0, 0.8), 0.965)

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, sections 5 and 6;
  PROTOCOL A11 and A13.
  Rousseeuw, Silhouettes, Journal of Computational and Applied Mathematics 20,
  1987.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from rdefense import checks
from rdefense.analysis.assumptions import nearest
from rdefense.analysis.idealized import distances
from rdefense.certify.lattice import whole_levels
from rdefense.defenses.colors import Colors, pack

__all__ = ['PARTS', 'Separability', 'changed', 'separability']

PARTS = (2, 4, 8)  # of gaps


class Separability(NamedTuple):
  """Scores of a codebook; distances in levels, shares of pixels.

  Attributes:
    separation: Gamma, the smallest distance of two codes.
    gaps: each code's distance to the nearest other one, `[k]`.
    pixels: that go to each code, `[k]`.
    spreads: mean distance of a code's pixels to it, `[k]`; NaN without any.
    spread: the same over all pixels.
    within: shares within Gamma / m of their code, m in `PARTS`.
    within_own: the same with the gap of the pixel's own code.
    silhouettes: mean over each code's pixels, `[k]`; NaN without any.
    silhouette: mean over all pixels.
  """

  separation: int
  gaps: np.ndarray
  pixels: np.ndarray
  spreads: np.ndarray
  spread: float
  within: tuple[float, ...]
  within_own: tuple[float, ...]
  silhouettes: np.ndarray
  silhouette: float


def separability(colors: Colors, codes) -> Separability:
  """Scores a codebook on weighted pixels.

  Args:
    colors: the pixels.
    codes: `[k, C]` in [0, 1], at least two, whole levels of 255.

  Raises:
    ValueError: on codes that are no codebook or no whole levels, fewer than
      two of them, or of other channels than the pixels.
  """
  levels = whole_levels(codes)
  checks.check_channels(colors.values, levels)
  k = len(levels)
  checks.check_at_least('number of codes', k, 2)
  apart = distances(levels, levels) + 256 * np.eye(k, dtype=int)
  gaps = apart.min(1)
  index, own = nearest(colors.values, levels)
  two, _ = cKDTree(levels).query(colors.values, k=2, p=np.inf, workers=-1)
  score = 1 - own / two[:, 1]
  total = int(colors.counts.sum())
  pixels = _per_code(index, colors.counts, k)

  def means(of_color: np.ndarray) -> np.ndarray:
    sums = _per_code(index, colors.counts * of_color, k)
    return np.where(pixels > 0, sums / np.maximum(pixels, 1), np.nan)

  def share(near: np.ndarray) -> float:
    return float(colors.counts @ near / total)

  return Separability(
    separation=int(gaps.min()),
    gaps=gaps,
    pixels=pixels,
    spreads=means(own),
    spread=share(own),
    within=tuple(share(m * own <= gaps.min()) for m in PARTS),
    within_own=tuple(share(m * own <= gaps[index]) for m in PARTS),
    silhouettes=means(score),
    silhouette=share(score),
  )


def changed(colors: Colors, table: np.ndarray) -> float:
  """Share of pixels that some attack sends to another code.

  Args:
    colors: the pixels.
    table: how many codes each pixel can reach, `[256] * C`; see
      `certify.lattice.num_reached`.

  Raises:
    ValueError: if the table is of other channels than the pixels.

  >>> from rdefense.certify.lattice import num_reached
  >>> from rdefense.defenses.colors import colors_from_histogram
  >>> colors = colors_from_histogram(np.uint8([[0], [60]]), [3, 1])
  >>> changed(colors, num_reached(np.array([[0], [253]]) / 255, 0.3))
  0.25
  """
  if table.shape != (256,) * colors.values.shape[1]:
    raise ValueError(
      f'the table has shape {table.shape} and the pixels '
      f'{colors.values.shape[1]} channels: is it of another codebook?'
    )
  several = table.reshape(-1)[pack(colors.values)] > 1
  return float(colors.counts @ several / colors.counts.sum())


def _per_code(index: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
  """Sums of weights by code."""
  total = np.zeros(k, weights.dtype)
  np.add.at(total, index, weights)
  return total

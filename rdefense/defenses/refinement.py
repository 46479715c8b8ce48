"""Medoids of millions of distinct colours, from those of a sample.

All colours take part:

  alternate   exact assignment, and a better medoid within each cluster
  propose     a batch of swaps with candidates drawn where the cost is

in turn, keeping only what lowers the cost over all pixels. Assignment is where
the time goes, so after a move only those colours are assigned again that it
can concern.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from rdefense.defenses.colors import Colors
from rdefense.defenses.costs import METRICS, ORDERS

__all__ = ['Fit', 'assign', 'reassign', 'refine']


class Fit(NamedTuple):
  """Medoids of all colours, with the caches a swap is judged by."""

  rows: np.ndarray  # [k] of the colours
  near: np.ndarray  # [n] which medoid is nearest
  following: np.ndarray  # [n] which is next
  first: np.ndarray  # [n] distance to it, in grey levels
  second: np.ndarray  # [n] distance to the next nearest
  total: float


def refine(
  rng: np.random.Generator,
  colors: Colors,
  fit: Fit,
  norm: str,
  num_candidates: int,
  num_rounds: int,
) -> Fit:
  """Alternation, and batches of swaps kept where all pixels gain by them."""
  fit = _alternate(rng, colors, fit, norm, 8)
  batch = max(1, len(fit.rows) // 16)
  for _ in range(num_rounds):
    rows = _propose(rng, colors, fit, norm, num_candidates, batch)
    trial = reassign(colors, fit, rows, norm)
    trial = _alternate(rng, colors, trial, norm, 2)
    if trial.total < fit.total:
      fit = trial
    else:
      batch = max(1, batch // 2)
  return fit


def assign(colors: Colors, rows: np.ndarray, norm: str) -> Fit:
  """All colours to their two nearest medoids."""
  near, following, first, second = _two_nearest(
    colors.values, colors.values[rows], norm
  )
  total = float(first @ colors.counts)
  return Fit(rows, near, following, first, second, total)


def reassign(colors: Colors, fit: Fit, rows: np.ndarray, norm: str) -> Fit:
  """As `assign`, but looks only at colours that a moved medoid may concern.

  With j the medoid nearest to p and c where some medoid has moved to,
    ||p - c|| < second(p)  only if  ||j - c|| < first(p) + second(p).
  """
  moved = rows != fit.rows
  if not moved.any():
    return fit
  medoids = colors.values[rows].astype(np.float64)
  old = colors.values[fit.rows].astype(np.float64)
  apart = cdist(old, medoids[moved], METRICS[norm]).min(1)
  apart *= 1 - 1e-9  # the safe side of rounding
  stale = np.flatnonzero(
    moved[fit.near]
    | moved[fit.following]
    | (fit.first + fit.second > apart[fit.near])
  )
  near, following = fit.near.copy(), fit.following.copy()
  first, second = fit.first.copy(), fit.second.copy()
  near[stale], following[stale], first[stale], second[stale] = _two_nearest(
    colors.values[stale], medoids, norm
  )
  total = float(first @ colors.counts)
  return Fit(rows, near, following, first, second, total)


def _two_nearest(values, medoids, norm):
  """Nearest medoid of each value, next one, and the distances to both."""
  distances, order = cKDTree(medoids).query(
    values, k=2, p=ORDERS[norm], workers=-1
  )
  # Whole columns in memory: they are read one at a time ever after.
  return *np.ascontiguousarray(order.T), *np.ascontiguousarray(distances.T)


def _alternate(
  rng: np.random.Generator, colors: Colors, fit: Fit, norm: str, limit: int
) -> Fit:
  """Better medoid of each cluster, then assignment, until little is gained."""
  for _ in range(limit):
    if norm == 'l1':
      rows = _recentre_exactly(colors, fit)
    else:
      rows = _recentre_by_sample(rng, colors, fit, norm)
    trial = reassign(colors, fit, rows, norm)
    if trial.total >= fit.total:
      return fit
    gain = 1 - trial.total / fit.total
    fit = trial
    if gain < 3e-4:
      return fit
  return fit


def _recentre_exactly(colors: Colors, fit: Fit) -> np.ndarray:
  """The l1 medoid of each cluster.

  The cost of a centre v is a sum over channels of a function of v's level
  there, so 256 values a channel and cluster price all members.
  """
  num_codes = len(fit.rows)
  levels = np.arange(256)
  prices = np.zeros(len(fit.near))
  for channel in colors.values.T:
    cell = fit.near * 256 + channel
    counts = np.bincount(cell, colors.counts, num_codes * 256)
    counts = counts.reshape(num_codes, 256)
    below, weighted = np.cumsum(counts, 1), np.cumsum(counts * levels, 1)
    price = levels * (2 * below - below[:, -1:]) + weighted[:, -1:]
    prices += (price - 2 * weighted).ravel()[cell]
  lowest = np.full(num_codes, np.inf)
  np.minimum.at(lowest, fit.near, prices)
  rows = fit.rows.copy()
  best = np.flatnonzero(prices == lowest[fit.near])[::-1]
  rows[fit.near[best]] = best  # of several the first: it is assigned last
  return rows


def _recentre_by_sample(
  rng: np.random.Generator,
  colors: Colors,
  fit: Fit,
  norm: str,
  num_points: int = 1024,
  num_candidates: int = 256,
) -> np.ndarray:
  """A better medoid of each cluster among sampled members near the old one."""
  num_codes = len(fit.rows)
  order = np.argsort(fit.near, kind='stable')
  bounds = np.searchsorted(fit.near[order], np.arange(num_codes + 1))
  ends = np.concatenate([[0], np.cumsum(colors.counts[order])])
  rows = fit.rows.copy()
  for code, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:])):
    draws = rng.integers(ends[start], ends[stop], size=num_points)
    sample = order[np.searchsorted(ends, draws, 'right') - 1]
    sample, weights = np.unique(sample, return_counts=True)
    nearest = sample[np.argsort(fit.first[sample], kind='stable')]
    distances = cdist(
      colors.values[nearest[:num_candidates]].astype(np.float64),
      colors.values[sample].astype(np.float64),
      METRICS[norm],
    )
    rows[code] = nearest[(distances @ weights).argmin()]
  apart = colors.values.astype(np.int16) - colors.values[rows[fit.near]]
  distances = np.linalg.norm(apart, ORDERS[norm], axis=1)
  old = np.bincount(fit.near, fit.first * colors.counts, num_codes)
  new = np.bincount(fit.near, distances * colors.counts, num_codes)
  return np.where(new < old, rows, fit.rows)


def _propose(
  rng: np.random.Generator,
  colors: Colors,
  fit: Fit,
  norm: str,
  num_candidates: int,
  batch: int,
) -> np.ndarray:
  """Swaps the cheapest medoids to lose for the most useful ones to add.

  What a candidate x would save, sum_p max(0, d(p) - ||p - x||) with d(p) the
  distance to the nearest medoid, is estimated from pixels drawn in proportion
  to d: total * mean of max(0, 1 - ||p - x|| / d(p)).
  """
  num_codes = len(fit.rows)
  share = np.cumsum(fit.first * colors.counts)

  def draw(size):
    return np.searchsorted(share, rng.random(size) * share[-1], 'right')

  candidates, sample = np.unique(draw(num_candidates)), draw(2**14)
  points = colors.values[sample].astype(np.float64)
  savings = np.concatenate(
    [
      np.maximum(
        0, 1 - cdist(part, points, METRICS[norm]) / fit.first[sample]
      ).mean(1)
      for part in np.array_split(
        colors.values[candidates].astype(np.float64),
        -(-len(candidates) // 512),
      )
    ]
  )
  savings *= fit.total
  losses = np.bincount(
    fit.near, colors.counts * (fit.second - fit.first), num_codes
  )
  rows = fit.rows.copy()
  used: set[int] = set()
  losers = iter(np.argsort(losses, kind='stable').tolist())
  for i in np.argsort(-savings, kind='stable'):
    # Two additions to one cluster, or one to a cluster that goes, would not
    # save what each saves alone.
    home = int(fit.near[candidates[i]])
    if home in used:
      continue
    loser = next((code for code in losers if code not in used | {home}), None)
    if len(used) >= 2 * batch or loser is None or savings[i] <= losses[loser]:
      break
    rows[loser] = candidates[i]
    used |= {home, loser}
  return rows

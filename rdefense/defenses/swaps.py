"""Swaps of medoids and candidates, on a table of distances.

  argmin over k rows of  sum_p weight_p min_row distance(row, p)

by exchanging one medoid for one candidate as soon as the sum drops by it.

References:
  Schubert and Rousseeuw, Fast and eager k-medoids clustering, Information
  Systems 2021, https://arxiv.org/abs/2008.05171.
"""

import numpy as np

__all__ = ['sample', 'swap']


def sample(
  rng: np.random.Generator, counts: np.ndarray, size: int, least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
  """Distinct rows and weights whose weighted sums are unbiased for all rows.

  Half of the draws follow the counts and half are uniform over colours, so that
  neither common nor rare colours are missed. Where they come to fewer than
  `least` colours, twice as many are drawn.
  """
  total = counts.sum()
  ends = np.cumsum(counts)
  rows = np.concatenate(
    [
      np.searchsorted(
        ends, rng.integers(total, size=size - size // 2), 'right'
      ),
      rng.integers(len(counts), size=size // 2),
    ]
  )
  rows, draws = np.unique(rows, return_counts=True)
  if len(rows) < least:
    return sample(rng, counts, 2 * size, least)
  chance = 0.5 * counts[rows] / total + 0.5 / len(counts)
  return rows, draws * counts[rows] / (size * chance)


def swap(
  rng: np.random.Generator,
  distances: np.ndarray,
  weights: np.ndarray,
  num_codes: int,
) -> np.ndarray:
  """Eager swaps until no candidate improves on any medoid.

  Args:
    distances: `[m, n]` from candidates to points; candidate i is point i.
    weights: `[n]` of the points.

  Returns:
    `[num_codes]` candidates.
  """
  num_candidates = len(distances)
  chosen = [
    int(rng.choice(num_candidates, p=_shares(weights[:num_candidates])))
  ]
  nearest = distances[chosen[0]].copy()
  for _ in range(num_codes - 1):
    shares = _shares((weights * nearest)[:num_candidates])
    chosen.append(int(rng.choice(num_candidates, p=shares)))
    np.minimum(nearest, distances[chosen[-1]], out=nearest)
  # Smaller changes are rounding: distances are float32, sums float64.
  tolerance = 1e-9 * float(weights @ nearest)
  rows = np.array(chosen)
  near, first, following, second = _two_nearest(distances[rows])
  removal = np.bincount(near, weights * (second - first), num_codes)
  candidate = misses = 0
  while misses < num_candidates:
    to_new = distances[candidate]
    # Only points nearer to the candidate than to their second medoid matter.
    hit = np.flatnonzero(to_new < second)
    new, old, weight = to_new[hit], first[hit], weights[hit]
    addition = weight @ np.minimum(new - old, 0)
    saved = weight * (second[hit] - np.maximum(new, old))
    change = removal - np.bincount(near[hit], saved, num_codes)
    out = change.argmin()
    if change[out] + addition < -tolerance:
      misses = 0
      rows[out] = candidate
      orphaned = (near == out) | (following == out)
      hit = hit[~orphaned[hit]]
      ahead = hit[to_new[hit] < first[hit]]
      behind = hit[to_new[hit] >= first[hit]]
      following[ahead], second[ahead] = near[ahead], first[ahead]
      near[ahead], first[ahead] = out, to_new[ahead]
      following[behind], second[behind] = out, to_new[behind]
      lost = np.flatnonzero(orphaned)
      near[lost], first[lost], following[lost], second[lost] = _two_nearest(
        distances[np.ix_(rows, lost)]
      )
      removal = np.bincount(near, weights * (second - first), num_codes)
    else:
      misses += 1
    candidate = (candidate + 1) % num_candidates
  return rows


def _two_nearest(
  distances: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Down the columns of [k, n]: nearest, its distance, next, its distance."""
  columns = np.arange(distances.shape[1])
  near = distances.argmin(0)
  first = distances[near, columns]
  distances[near, columns] = np.inf
  following = distances.argmin(0)
  return near, first, following, distances[following, columns]


def _shares(weights: np.ndarray) -> np.ndarray:
  weights = np.asarray(weights, np.float64)
  return weights / weights.sum()

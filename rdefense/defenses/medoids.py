"""Codebooks that minimise a sum of distances from pixels to their nearest code.

  medoids            argmin over k pixels c of  sum_p min_c ||p - c||
  medoids_exact_1d   the same for one channel, by dynamic programming: the truth
  means              argmin over any k points of sum_p min_c ||p - c||_2^2
  cost               the sum itself, always over all pixels

>>> images = np.array([0, 0, 0, 9, 9, 8, 7], np.uint8).reshape(1, 1, 7, 1)
>>> book = medoids(jax.random.key(0), images, num_codes=2)
>>> np.rint(255 * book.codes).ravel().tolist(), book.counts.tolist()
([0.0, 8.0], [3, 4])

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, Algorithm 2.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from rdefense.defenses.codebooks import (
  Codebook,
  Colors,
  check_codes,
  check_num_codes,
  coerce_colors,
  make_provenance,
  pixel_units,
)

__all__ = [
  'Cost',
  'cost',
  'means',
  'medoids',
  'medoids_exact_1d',
]

_ORDERS = {'l1': 1, 'l2': 2, 'linf': np.inf}
_METRICS = {'l1': 'cityblock', 'l2': 'euclidean', 'linf': 'chebyshev'}


class Cost(NamedTuple):
  """Distance of pixels to their nearest code, in [0, 1] pixel units."""

  total: float  # over all pixels
  mean: float  # a pixel


class _Fit(NamedTuple):
  """Medoids of all colours, with the caches a swap is judged by."""

  rows: np.ndarray  # [k] of the colours
  near: np.ndarray  # [n] which medoid is nearest
  first: np.ndarray  # [n] distance to it, in grey levels
  second: np.ndarray  # [n] distance to the next nearest
  total: float


def medoids(
  key: jax.Array,
  colors: Colors | np.ndarray,
  num_codes: int,
  norm: str = 'l1',
  *,
  num_restarts: int = 1,
  num_candidates: int = 4096,
  num_points: int = 2**15,
  num_rounds: int = 12,
) -> Codebook:
  """Codes at the pixels with the least total distance to all pixels.

  Looks for argmin over sets of k pixels of sum_p min_c ||p - c||. A start in
  the manner of k-means++ (each pixel drawn with probability proportional to its
  distance from those drawn before) is followed by swaps of a medoid and a
  non-medoid, each done as soon as it lowers the cost, until none does: with at
  most `num_candidates` distinct colours, the result is a local optimum of the
  paper's Algorithm 2 over all pixels.

  With more, swaps run to convergence on `num_candidates` candidates and about
  `num_points` weighted colours, both sampled. All colours then take part:
  exact assignment and a better medoid within each cluster in turn (for l1 the
  best one there is; for l2 and linf the best of 256 sampled candidates, if its
  exact cost is lower), and `num_rounds` times a batch of swaps with sampled
  candidates, kept only where the cost over all pixels drops. What comes out is
  then not proven to be a local optimum.

  Args:
    key: from `jax.random.key`; the result is a function of it.
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    num_codes: at least 2, at most the number of distinct colours.
    norm: 'l1' (the paper), 'l2' (not squared) or 'linf', over channels.
    num_restarts: independent searches, of which the best is kept.
    num_candidates: distinct colours up to which the search is exhaustive, and
      candidates sampled beyond; at least `num_codes`.
    num_points: colours sampled to judge swaps; the distance matrix takes 4 *
      num_candidates * num_points bytes, 512 MiB as it stands.
    num_rounds: batches of swaps on all colours.

  Returns:
    The codebook, in lexicographic order; `counts` are the pixels nearest to
    each code, and the cost on record is over all pixels.

  Raises:
    ValueError: for an argument out of range or an unknown norm.

  References:
    Chen et al., 2019, https://arxiv.org/abs/1805.07816, Algorithm 2.
    Schubert and Rousseeuw, Fast and eager k-medoids clustering, Information
    Systems 2021, https://arxiv.org/abs/2008.05171.
  """
  colors = coerce_colors(colors)
  check_num_codes(num_codes, len(colors.counts))
  _check_norm(norm)
  if num_restarts < 1:
    raise ValueError(f'num_restarts={num_restarts}, expected at least 1')
  if not num_codes <= num_candidates <= num_points:
    raise ValueError(
      f'num_candidates={num_candidates}, expected from num_codes={num_codes} '
      f'to num_points={num_points}: codes are chosen among the candidates'
    )
  rng = _generator(key)
  fits = []
  for _ in range(num_restarts):
    rows, weights = np.arange(len(colors.counts)), colors.counts
    if len(rows) > num_candidates:
      rows, weights = _sample(rng, colors.counts, num_points)
    order = rng.permutation(len(rows))
    rows, weights = rows[order], weights[order]
    points = colors.values[rows].astype(np.float64)
    distances = cdist(points[:num_candidates], points, _METRICS[norm])
    chosen = _swap(rng, distances.astype(np.float32), weights, num_codes)
    del distances
    fit = _assign(colors, rows[chosen], norm)
    if len(colors.counts) > num_candidates:
      fit = _refine(rng, colors, fit, norm, num_candidates, num_rounds)
    fits.append(fit)
  best = min(fits, key=lambda fit: fit.total)
  return _nearest_codebook(
    colors,
    pixel_units(colors.values[np.sort(best.rows)]),
    norm,
    'medoids',
    num_codes=int(num_codes),
    num_restarts=num_restarts,
    num_candidates=num_candidates,
    num_points=num_points,
    num_rounds=num_rounds,
    key=_key_words(key),
  )


def medoids_exact_1d(colors: Colors | np.ndarray, num_codes: int) -> Codebook:
  """The cheapest medoids there are, for pixels of one channel.

  Clusters of an optimum are intervals, each served by its weighted median, so
    best(q, j) = min over i of best(q - 1, i - 1) + interval(i, j)
  finds argmin over k pixels of sum_p min_c |p - c|, in whole numbers.

  Args:
    colors: `Colors`, or images `[N, H, W, 1]` uint8.
    num_codes: at least 2, at most the number of distinct colours.

  Returns:
    The codebook, in ascending order.

  Raises:
    ValueError: for an argument out of range, or more than one channel.

  >>> images = np.uint8([0, 3, 4, 90, 95]).reshape(1, 1, 5, 1)
  >>> np.rint(255 * medoids_exact_1d(images, 2).codes).ravel().tolist()
  [3.0, 90.0]
  """
  colors = coerce_colors(colors)
  check_num_codes(num_codes, len(colors.counts))
  if colors.values.shape[1] != 1:
    raise ValueError(
      f'pixels have {colors.values.shape[1]} channels, expected 1: use medoids '
      'for colour images'
    )
  value = colors.values[:, 0].astype(np.int64)
  weight = np.concatenate([[0], np.cumsum(colors.counts)])
  moment = np.concatenate([[0], np.cumsum(colors.counts * value)])
  low, high = np.ogrid[: len(value), 1 : len(value) + 1]  # half-open interval
  middle = np.searchsorted(2 * weight[1:], weight[low] + weight[high])
  middle = np.minimum(middle, len(value) - 1)
  centre = value[middle]
  interval = (
    centre * (2 * weight[middle + 1] - weight[low] - weight[high])
    - 2 * moment[middle + 1]
    + moment[low]
    + moment[high]
  )
  unreachable = np.int64(2**60)
  interval = np.where(low < high, interval, unreachable)
  best, splits = interval[0], []
  for _ in range(num_codes - 1):
    # Column j: the last cluster starts at low, the others cover all before it.
    before = np.concatenate([[unreachable], best[:-1]])[:, None]
    totals = np.minimum(before + interval, unreachable)
    splits.append(totals.argmin(0))
    best = totals.min(0)
  chosen, end = [], len(value)
  for split in reversed(splits):
    start = split[end - 1]
    chosen.append(middle[start, end - 1])
    end = start
  chosen.append(middle[0, end - 1])
  return _nearest_codebook(
    colors,
    pixel_units(colors.values[chosen[::-1]]),
    'l1',
    'medoids_exact_1d',
    num_codes=int(num_codes),
  )


def means(
  key: jax.Array,
  colors: Colors | np.ndarray,
  num_codes: int,
  num_restarts: int = 1,
  num_points: int = 2**18,
) -> Codebook:
  """Codes at the centres of scikit-learn's weighted k-means.

  Looks for argmin over codes of sum_p min_c ||p - c||_2^2.

  Args:
    key: from `jax.random.key`; the result is a function of it.
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    num_codes: at least 2, at most the number of distinct colours.
    num_restarts: k-means++ starts, of which the best is kept.
    num_points: with more distinct colours than this, k-means sees a weighted
      sample of about this many; the cost is on all pixels all the same.

  Returns:
    The codebook, in lexicographic order; `counts` are the pixels nearest to
    each code, and the cost on record is the unsquared l_2 distance.

  Raises:
    ValueError: for an argument out of range.

  >>> images = np.uint8([0, 2, 100, 104]).reshape(1, 2, 2, 1)
  >>> book = means(jax.random.key(0), images, 2)
  >>> np.rint(255 * book.codes).ravel().tolist()
  [1.0, 102.0]
  """
  # Imported here: scikit-learn takes a second that other fitters need not pay.
  from sklearn.cluster import KMeans

  colors = coerce_colors(colors)
  check_num_codes(num_codes, len(colors.counts))
  if num_restarts < 1 or num_points < num_codes:
    raise ValueError(
      f'num_restarts={num_restarts} and num_points={num_points}, expected at '
      f'least 1 and num_codes={num_codes}'
    )
  rng = _generator(key)
  rows, weights = np.arange(len(colors.counts)), colors.counts
  if len(rows) > num_points:
    rows, weights = _sample(rng, colors.counts, num_points)
  model = KMeans(
    num_codes, n_init=num_restarts, random_state=int(rng.integers(2**31))
  ).fit(colors.values[rows].astype(np.float64), sample_weight=weights)
  centres = model.cluster_centers_[np.lexsort(model.cluster_centers_.T[::-1])]
  return _nearest_codebook(
    colors,
    pixel_units(centres),
    'l2',
    'means',
    num_codes=int(num_codes),
    num_restarts=num_restarts,
    num_points=num_points,
    key=_key_words(key),
  )


def cost(
  colors: Colors | np.ndarray, codes: np.ndarray, norm: str = 'l1'
) -> Cost:
  """Sum and mean over all pixels of the distance to the nearest code.

  Args:
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    codes: `[k, C]` in [0, 1].
    norm: 'l1', 'l2' (not squared) or 'linf', over channels.

  Returns:
    The cost in [0, 1] pixel units, in float64.

  Raises:
    ValueError: for an unknown norm or codes that `check_codes` refuses.

  >>> images = np.uint8([0, 51, 255]).reshape(1, 1, 3, 1)
  >>> cost(images, np.array([[0.0], [1.0]]))
  Cost(total=0.2, mean=0.06666666666666667)
  """
  colors = coerce_colors(colors)
  check_codes(codes)
  return _cost_of(colors, _nearest(colors, codes, norm)[0])


def _check_norm(norm: str) -> None:
  if norm not in _ORDERS:
    raise ValueError(f'norm={norm!r} is unknown: choose l1, l2 or linf')


def _key_words(key: jax.Array) -> list[int]:
  if not jax.dtypes.issubdtype(
    getattr(key, 'dtype', np.dtype(object)), jax.dtypes.prng_key
  ):
    raise ValueError(
      f'key={key!r} is not a typed key: make it with jax.random.key(seed)'
    )
  return np.asarray(jax.random.key_data(key)).ravel().tolist()


def _generator(key: jax.Array) -> np.random.Generator:
  return np.random.default_rng(_key_words(key))


def _nearest(
  colors: Colors, codes: np.ndarray, norm: str
) -> tuple[np.ndarray, np.ndarray]:
  """Distance in grey levels to the nearest code of each colour, and which."""
  _check_norm(norm)
  levels = 255 * np.asarray(codes, np.float64)
  # Codes that are 8-bit pixels give exact distances in spite of float32.
  whole = np.rint(levels)
  levels = np.where(np.abs(levels - whole) < 1e-4, whole, levels)
  if levels.shape[1] != colors.values.shape[1]:
    raise ValueError(
      f'codes have {levels.shape[1]} channels and the pixels '
      f'{colors.values.shape[1]}: fit the codes on pixels of the same kind'
    )
  return cKDTree(levels).query(colors.values, p=_ORDERS[norm], workers=-1)


def _cost_of(colors: Colors, distances: np.ndarray) -> Cost:
  total = float(distances @ colors.counts) / 255
  return Cost(total, total / int(colors.counts.sum()))


def _nearest_codebook(
  colors: Colors, codes: np.ndarray, norm: str, method: str, **parameters: Any
) -> Codebook:
  """Counts the pixels nearest to each code and records the cost of all."""
  distances, near = _nearest(colors, codes, norm)
  provenance = make_provenance(method, colors, norm=norm, **parameters)
  provenance['cost'] = _cost_of(colors, distances)._asdict()
  counts = np.zeros(len(codes), np.int64)
  np.add.at(counts, near, colors.counts)
  return Codebook(codes, counts, provenance)


def _sample(
  rng: np.random.Generator, counts: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Distinct rows and weights whose weighted sums are unbiased for all rows.

  Half of the draws follow the counts and half are uniform over colours, so that
  neither common nor rare colours are missed.
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
  chance = 0.5 * counts[rows] / total + 0.5 / len(counts)
  return rows, draws * counts[rows] / (size * chance)


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


def _swap(
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


def _shares(weights: np.ndarray) -> np.ndarray:
  weights = np.asarray(weights, np.float64)
  return weights / weights.sum()


def _assign(colors: Colors, rows: np.ndarray, norm: str) -> _Fit:
  """All colours to their two nearest medoids."""
  distances, near = cKDTree(colors.values[rows]).query(
    colors.values, k=2, p=_ORDERS[norm], workers=-1
  )
  first, second = distances.T
  return _Fit(rows, near[:, 0], first, second, float(first @ colors.counts))


def _refine(
  rng: np.random.Generator,
  colors: Colors,
  fit: _Fit,
  norm: str,
  num_candidates: int,
  num_rounds: int,
) -> _Fit:
  """Alternation, and batches of swaps kept where all pixels gain by them."""
  fit = _alternate(rng, colors, fit, norm, 8)
  batch = max(1, len(fit.rows) // 16)
  for _ in range(num_rounds):
    rows = _propose(rng, colors, fit, norm, num_candidates, batch)
    trial = _assign(colors, rows, norm)
    trial = _alternate(rng, colors, trial, norm, 2)
    if trial.total < fit.total:
      fit = trial
    else:
      batch = max(1, batch // 2)
  return fit


def _alternate(
  rng: np.random.Generator, colors: Colors, fit: _Fit, norm: str, limit: int
) -> _Fit:
  """Better medoid of each cluster, then assignment, until little is gained."""
  for _ in range(limit):
    if norm == 'l1':
      rows = _recentre_exactly(colors, fit)
    else:
      rows = _recentre_by_sample(rng, colors, fit, norm)
    trial = _assign(colors, rows, norm)
    if trial.total >= fit.total:
      return fit
    gain = 1 - trial.total / fit.total
    fit = trial
    if gain < 3e-4:
      return fit
  return fit


def _recentre_exactly(colors: Colors, fit: _Fit) -> np.ndarray:
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
  fit: _Fit,
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
      _METRICS[norm],
    )
    rows[code] = nearest[(distances @ weights).argmin()]
  apart = colors.values.astype(np.int16) - colors.values[rows[fit.near]]
  distances = np.linalg.norm(apart, _ORDERS[norm], axis=1)
  old = np.bincount(fit.near, fit.first * colors.counts, num_codes)
  new = np.bincount(fit.near, distances * colors.counts, num_codes)
  return np.where(new < old, rows, fit.rows)


def _propose(
  rng: np.random.Generator,
  colors: Colors,
  fit: _Fit,
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
        0, 1 - cdist(part, points, _METRICS[norm]) / fit.first[sample]
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

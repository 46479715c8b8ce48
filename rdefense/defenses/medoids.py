"""Codebooks of the pixels with the least total distance to all the others.

  medoids            argmin over k pixels c of  sum_p min_c ||p - c||
  medoids_exact_1d   the same for one channel, by dynamic programming: the truth

>>> images = np.array([0, 0, 0, 9, 9, 8, 7], np.uint8).reshape(1, 1, 7, 1)
>>> book = medoids(jax.random.key(0), images, num_codes=2)
>>> np.rint(255 * book.codes).ravel().tolist(), book.counts.tolist()
([0.0, 8.0], [3, 4])

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, Algorithm 2.
"""

import jax
import numpy as np
from scipy.spatial.distance import cdist

from rdefense import checks
from rdefense.defenses.codebooks import Codebook, check_num_codes, key_words
from rdefense.defenses.colors import Colors, coerce_colors, pixel_units
from rdefense.defenses.costs import METRICS, check_norm, nearest_codebook
from rdefense.defenses.refinement import assign, refine
from rdefense.defenses.swaps import sample, swap

__all__ = ['medoids', 'medoids_exact_1d']


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
  check_norm(norm)
  checks.check_whole('num_restarts', num_restarts, 1)
  if not num_codes <= num_candidates <= num_points:
    raise ValueError(
      f'num_candidates={num_candidates}, expected from num_codes={num_codes} '
      f'to num_points={num_points}: codes are chosen among the candidates'
    )
  rng = np.random.default_rng(key_words(key))
  fits = []
  for _ in range(num_restarts):
    rows, weights = np.arange(len(colors.counts)), colors.counts
    if len(rows) > num_candidates:
      rows, weights = sample(rng, colors.counts, num_points, num_codes)
    order = rng.permutation(len(rows))
    rows, weights = rows[order], weights[order]
    points = colors.values[rows].astype(np.float64)
    distances = cdist(points[:num_candidates], points, METRICS[norm])
    chosen = swap(rng, distances.astype(np.float32), weights, num_codes)
    del distances
    fit = assign(colors, rows[chosen], norm)
    if len(colors.counts) > num_candidates:
      fit = refine(rng, colors, fit, norm, num_candidates, num_rounds)
    fits.append(fit)
  best = min(fits, key=lambda fit: fit.total)
  return nearest_codebook(
    colors,
    pixel_units(colors.values[np.sort(best.rows)]),
    norm,
    'medoids',
    num_codes=int(num_codes),
    num_restarts=num_restarts,
    num_candidates=num_candidates,
    num_points=num_points,
    num_rounds=num_rounds,
    key=key_words(key),
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
  return nearest_codebook(
    colors,
    pixel_units(colors.values[chosen[::-1]]),
    'l1',
    'medoids_exact_1d',
    num_codes=int(num_codes),
  )

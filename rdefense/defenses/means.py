"""Codebooks at the centres of k-means, which need be no pixels."""

import jax
import numpy as np

from rdefense import checks
from rdefense.defenses.codebooks import Codebook, check_num_codes, key_words
from rdefense.defenses.colors import Colors, coerce_colors, pixel_units
from rdefense.defenses.costs import nearest_codebook
from rdefense.defenses.swaps import sample

__all__ = ['means']


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
  checks.check_whole('num_restarts', num_restarts, 1)
  checks.check_whole('num_points', num_points, num_codes, ': a code of each')
  rng = np.random.default_rng(key_words(key))
  rows, weights = np.arange(len(colors.counts)), colors.counts
  if len(rows) > num_points:
    rows, weights = sample(rng, colors.counts, num_points, num_codes)
  model = KMeans(
    num_codes, n_init=num_restarts, random_state=int(rng.integers(2**31))
  ).fit(colors.values[rows].astype(np.float64), sample_weight=weights)
  centres = model.cluster_centers_[np.lexsort(model.cluster_centers_.T[::-1])]
  return nearest_codebook(
    colors,
    pixel_units(centres),
    'l2',
    'means',
    num_codes=int(num_codes),
    num_restarts=num_restarts,
    num_points=num_points,
    key=key_words(key),
  )

"""Margins that no attack takes: from divergences, and from least probabilities.

On a clean image a randomised classifier gives the label, and avoids any one
other class, with probabilities of `shares` at least. How far an attack can take
these down is told by how far it moves the law of what the classifier sees:

  pinsker         divergence, then Pinsker's inequality: paper B, made sound
  kl              the same divergence, by data processing
  renyi           the best of several orders, in both directions
  neyman_pearson  the best test there is, against the worst end of each pixel

Their sum less 1 is the margin; an image is certified where a bound of it is
positive.

>>> found = of_normal(np.array([0.04]), np.array([[0.9, 0.9]]))
>>> [float(found.margin[name][0].round(2)) for name in BOUNDS]
[0.6, 0.66, 0.7, 0.72]

References:
  Zhang, Liang, 2019, Proposition 1; PROTOCOL B3 to B5. Cohen, Rosenfeld,
  Kolter, Certified adversarial robustness via randomized smoothing, 2019,
  https://arxiv.org/abs/1902.02918.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from rdefense.certify import divergences

__all__ = ['BOUNDS', 'Certified', 'best', 'of_divergences', 'of_normal']

BOUNDS = ('pinsker', 'kl', 'renyi', 'neyman_pearson')


class Certified(NamedTuple):
  """Bounds for N images."""

  divergence: np.ndarray  # [N], float64: U, of clean || attacked
  margin: Mapping[str, np.ndarray]  # of BOUNDS: attacked margin at least, [N]


def best(found: Certified) -> np.ndarray:
  """The greatest of all bounds of the margin, image by image: `[N]`.

  NaN is no bound, and hides none of the others.
  """
  return np.fmax.reduce(list(found.margin.values()))


def of_normal(squared: np.ndarray, shares: np.ndarray) -> Certified:
  """Bounds where a normal law of deviation 1 is moved.

  Args:
    squared: `[N]`, squares of the distances.
    shares: `[N, 2]`, of `votes.shares`.
  """
  renyi = {
    (a, reverse): a * squared / 2
    for a in divergences.ORDERS for reverse in (False, True)
  }  # fmt: skip
  distance = np.sqrt(squared)[:, None]
  least = stats.norm.cdf(stats.norm.ppf(shares) - distance)
  return of_divergences(
    squared / 2, renyi, shares, np.maximum(least - 1e-12, 0)
  )


def of_divergences(
  divergence: np.ndarray,
  renyi: Mapping[tuple[float, bool], np.ndarray],
  shares: np.ndarray,
  exact: np.ndarray | None,
) -> Certified:
  """Bounds from divergences, and from least probabilities where known.

  Args:
    divergence: `[N]`, Kullback-Leibler, of clean || attacked, at most.
    renyi: (order, whether of attacked || clean) -> `[N]`; may be empty.
    shares: `[N, 2]`, of `votes.shares`.
    exact: `[N, 2]`, least probabilities of events of `shares`; None if unknown.
  """

  def margin(least) -> np.ndarray:
    return least.sum(-1) - 1

  of_image = divergence[:, None]
  found = {
    'pinsker': margin(divergences.least_pinsker(shares, of_image)),
    'kl': margin(divergences.least_kl(shares, of_image)),
  }
  if renyi:
    found['renyi'] = margin(
      np.max(
        [divergences.least_renyi(shares, d[:, None], *how)
         for how, d in renyi.items()],
        0,
      )
    )  # fmt: skip
  if exact is not None:
    found['neyman_pearson'] = margin(exact)
  return Certified(divergence, found)

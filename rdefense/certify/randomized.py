"""Certificates of randomised defenses: what no attack in the ball can take.

A certifier knows a defense's randomness. Given images as the noise meets them,
a radius, and lower bounds of the clean probability of events, it bounds those
probabilities under any attack, by every means of `certify.margins` there is for
that defense:

  noise_alone     noise, and whatever is done to an image after it
  fixed_codes     noise, then codes that are the same for all images, a grid
                  over the axes of colour: exact laws of independent cells
  adaptive_codes  noise, then centres found in the image: the attack moves
                  these as well, and every sampled pixel counts as one more

Max-pooling before the noise does not widen an l_inf ball: certify the pooled
image. Noise and comparisons are taken as real numbers, not as float32.

>>> images = np.linspace(0, 1, 49, dtype=np.float32).reshape(1, 7, 7, 1)
>>> certify = fixed_codes(np.array([[0.0], [1.0]]), sigma=0.15)
>>> found = certify(images, 0.05, np.array([[0.999, 0.999]]))
>>> [float(found.margin[name][0].round(2)) for name in BOUNDS]
[-0.24, -0.08, 0.86, 0.91]

References:
  Zhang, Liang, 2019, (4), (5), Propositions 1 and 2; PROTOCOL B3 to B5. Noise
  alone: Cohen, Rosenfeld, Kolter, Certified adversarial robustness via
  randomized smoothing, 2019, https://arxiv.org/abs/1902.02918.
"""

from typing import Protocol

import jax
import numpy as np

from rdefense import checks
from rdefense.certify import divergences
from rdefense.certify.cells import Cells, cells, laws, midpoints, reach
from rdefense.certify.margins import (
  BOUNDS,
  Certified,
  best,
  of_divergences,
  of_normal,
)
from rdefense.certify.privacy_loss import least_event
from rdefense.defenses.centers import Chooser, sampled
from rdefense.types import Key

__all__ = [
  'BOUNDS', 'Certified', 'Certifier', 'adaptive_codes', 'best',
  'fixed_codes', 'noise_alone',
]  # fmt: skip


class Certifier(Protocol):
  """Bounds the margin of images under any attack."""

  def __call__(
    self,
    images: np.ndarray,
    eps: float,
    shares: np.ndarray,
    index: np.ndarray | None = None,
  ) -> Certified:
    """What no attack gets below.

    Args:
      images: `[N, H, W, C]` in [0, 1], as the noise meets them.
      eps: radius in [0, 1] pixel units.
      shares: `[N, 2]`, of `votes.shares`.
      index: `[N]`, numbers in the dataset, where something is drawn for an
        image; None means 0 to N - 1.

    Raises:
      ValueError: on shares of another shape, or outside [0, 1].
    """


def _checked(shares, images) -> np.ndarray:
  checks.check_shares(shares, len(images))
  return np.asarray(shares, np.float64)


def noise_alone(sigma: float) -> Certifier:
  """Noise alone, x + w: the attack shifts a normal law by |x' - x|_2 / sigma.

  Holds whatever is done to x + w afterwards.

  Args:
    sigma: in [0, 1] pixel units, positive.

  Raises:
    ValueError: if sigma is not in (0, 1]; the certifier, on eps outside [0, 1]
      or on images that are none.
  """
  checks.check_noise('sigma', sigma)

  def certify(images, eps: float, shares, index=None) -> Certified:
    del index
    checks.check_images(images)
    checks.check_length('eps', eps)
    shares = _checked(shares, images)
    return of_normal(_moved(images, eps) / sigma**2, shares)

  return certify


def fixed_codes(codes: np.ndarray, sigma: float) -> Certifier:
  """Noise, then the nearest of codes that are the same for all images.

  Args:
    codes: `[k, C]` in [0, 1], a grid over the axes of colour.
    sigma: in [0, 1] pixel units, positive.

  Raises:
    ValueError: on codes that are none and on sigma outside (0, 1]; the
      certifier, as `certify.cells`.
  """
  checks.check_codes(codes)
  checks.check_noise('sigma', sigma)
  codes = np.asarray(codes)

  def certify(images, eps: float, shares, index=None) -> Certified:
    del index
    found = cells(images, codes, sigma, eps)
    shares = _checked(shares, images)
    divergence = divergences.kl(found)
    renyi = {
      (a, reverse): divergences.renyi(found, a, reverse)
      for a in divergences.ORDERS for reverse in (False, True)
    }  # fmt: skip
    return of_divergences(divergence, renyi, shares, least_event(found, shares))

  return certify


def adaptive_codes(
  choose: Chooser,
  sigma: float,
  tau: float,
  num_samples: int,
  key: Key,
  num_draws: int = 200,
  delta: float = 1e-4,
) -> Certifier:
  """Noise, then the nearest of centres chosen among noisy sampled pixels.

  Paper B's bound (5): the s samples, drawn at the same places, cost up to
  s C eps^2 / (2 tau^2); given the centres, each pixel costs the divergence of
  its cell, in one channel averaged over draws of the centres of the clean
  image, with an empirical Bernstein bound above; in colour, that of its noise.
  The other bounds take samples and pixels for one normal law.

  Args:
    choose: `(key, samples [s, C]) -> centers [k, C]`, as `centers.adaptive`.
    sigma, tau: deviations on the pixels and on the samples, positive.
    num_samples: s, at least 1.
    key: of the draws of centres; folded per image by its index.
    num_draws: of the centres, from 2.
    delta: probability that the bound of the average fails.

  Raises:
    ValueError: if sigma or tau is not in (0, 1], num_samples < 1, or
      num_draws < 2; the certifier, as that of `noise_alone`.
  """
  checks.check_noise('sigma', sigma)
  find_centers = sampled(choose, num_samples, tau)
  checks.check_whole('num_draws', num_draws, 2, ': their spread is needed')
  find = jax.jit(jax.vmap(jax.vmap(find_centers, (0, None)), (0, 0)))

  def given_centers(images, eps: float, index) -> np.ndarray:
    most = _moved(images, eps) / (2 * sigma**2)
    if images.shape[-1] > 1:
      return most
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    keys = jax.vmap(lambda k: jax.random.split(k, num_draws))(keys)
    centers = np.asarray(find(keys, images))[..., 0]
    drawn = np.array(
      [
        _divergences(x, those, sigma, eps)
        for x, those in zip(images, centers, strict=True)
      ]
    )
    return np.fmin(_mean_above(drawn, most, delta), most)

  def certify(images, eps: float, shares, index=None) -> Certified:
    checks.check_images(images)
    checks.check_length('eps', eps)
    shares = _checked(shares, images)
    index = np.arange(len(images)) if index is None else np.asarray(index)
    images = np.asarray(images, np.float32)
    samples = num_samples * images.shape[-1] * (reach(eps) / tau) ** 2
    normal = of_normal(_moved(images, eps) / sigma**2 + samples, shares)
    divergence = np.minimum(
      samples / 2 + given_centers(images, eps, index), normal.divergence
    )
    by_kl = of_divergences(divergence, {}, shares, None)
    return Certified(divergence, dict(normal.margin) | dict(by_kl.margin))

  return certify


def _moved(images: np.ndarray, eps: float) -> np.ndarray:
  """The greatest squared l_2 norm of a perturbation that stays in [0, 1]."""
  images = np.asarray(images, np.float64)
  moved = np.minimum(reach(eps), np.maximum(images, 1 - images))
  return (moved**2).reshape(len(images), -1).sum(-1)


def _divergences(x, drawn, sigma: float, eps: float) -> list[float]:
  """Of all cells of one image, given each draw of centres `[M, k]`."""
  values, counts = np.unique(x, return_counts=True)
  found = []
  for centers in drawn:
    own = laws(values, midpoints(np.unique(centers)), sigma, reach(eps))
    found.append(float(divergences.kl(Cells(counts[None], *own))[0]))
  return found


def _mean_above(
  drawn: np.ndarray, most: np.ndarray, delta: float
) -> np.ndarray:
  """Upper bounds of means of values in [0, most], from draws `[N, M]`.

  References:
    Maurer, Pontil, Empirical Bernstein bounds and sample-variance
    penalization, 2009, https://arxiv.org/abs/0907.3740, theorem 4.
  """
  number, log = drawn.shape[1], np.log(2 / delta)
  spread = np.sqrt(2 * drawn.var(-1, ddof=1) * log / number)
  return drawn.mean(-1) + spread + 7 * most * log / (3 * (number - 1))

"""How far real images are from paper A's idealised ones.

The model of `idealized` asks for pixels within an eighth of the codes' distance
of their code, codes that are equally frequent, and noise whose norm has the law
a exp(-t^2 / sigma^2). Of a codebook and the pixels it stands for, this module
measures each. sigma is fitted by maximum likelihood: the law is an exponential
family in t^2, so the sigma sought is the one that has the observed mean of t^2.
Fitted to near pixels only it is the model's at its most favourable; fitted to
all it is what the far ones, which the model rules out, would need.

>>> noisy = np.repeat(np.arange(4), [731, 269, 0, 0])  # exp(-t^2), t < 2
>>> sigma = fitted_sigma(np.bincount(noisy))
>>> round(sigma, 2)
1.0

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, section 5; PROTOCOL A11.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from rdefense import checks
from rdefense.analysis import guarantee, idealized
from rdefense.defenses.colors import Colors

__all__ = ['Fit', 'Violations', 'fitted_sigma', 'nearest', 'violations']

_CHUNK = 2**16


class Fit(NamedTuple):
  """The noise law fitted to distances to the nearest code, in levels.

  Attributes:
    sigma: infinite where far distances are no rarer than near ones.
    misfit: total variation distance of all pixels' distances from the law.
    nu: of the formula with this sigma; None where 2 gamma / a >= 1/k, or sigma
      is 0 or infinite.
    needed: 16 nu, which the separation would have to exceed; None as nu.
  """

  sigma: float
  misfit: float
  nu: float | None
  needed: float | None


class Violations(NamedTuple):
  """What the assumptions are about; shares of pixels, distances in levels.

  Attributes:
    num_pixels: N.
    separation: the smallest distance of two codes, taken as Gamma.
    beyond: share of pixels further than Gamma / 8 from their nearest code.
    at_code: share of pixels that equal a code.
    imbalance: total variation distance of the codes' shares from uniform.
    sigma_allowed: Gamma / (16 sqrt(log k)): with any more noise the guarantee
      says nothing, however many pixels there are.
    within: the model's law, on 0, ..., Gamma / 8, fitted to pixels that near;
      None where there are none.
    all: the law on 0, ..., the largest distance there is, fitted to all pixels.
  """

  num_pixels: int
  separation: int
  beyond: float
  at_code: float
  imbalance: float
  sigma_allowed: float
  within: Fit | None
  all: Fit


def violations(colors: Colors, codes, delta: float = 0.05) -> Violations:
  """Holds weighted pixels and a codebook against the model's assumptions.

  Args:
    colors: the pixels.
    codes: `[k, C]` in [0, 1], at least two, whole levels of 255 (others are
      rounded to such).
    delta: of the guarantee, strictly between 0 and 1.

  Raises:
    ValueError: on codes that are no codebook, are of other channels than the
      pixels, or coincide after rounding; on delta out of range.

  References:
    PROTOCOL A11.
  """
  codes = np.asarray(codes)
  checks.check_codes(codes)
  checks.check_channels(colors.values, codes)
  levels = np.rint(255 * codes.astype(np.float64)).astype(np.int64)
  k = len(levels)
  checks.check_at_least('number of codes', k, 2)
  apart = idealized.distances(levels, levels) + 256 * np.eye(k, dtype=int)
  separation = int(apart.min())
  checks.check_positive(
    'separation', separation, ': two codes are the same level of 255'
  )
  index, distance = nearest(colors.values, levels)
  total = int(colors.counts.sum())
  reach = separation // 8
  counts = np.zeros(max(int(distance.max()), reach) + 1, np.int64)
  np.add.at(counts, distance, colors.counts)
  owned = np.zeros(k, np.int64)
  np.add.at(owned, index, colors.counts)
  deviation = guarantee.gamma(total, 256, delta)
  return Violations(
    num_pixels=total,
    separation=separation,
    beyond=float(counts[reach + 1 :].sum() / total),
    at_code=float(counts[0] / total),
    imbalance=float(np.abs(owned / total - 1 / k).sum() / 2),
    sigma_allowed=separation / (16 * math.sqrt(math.log(k))),
    within=(
      _fit(counts, reach, k, deviation) if counts[: reach + 1].any() else None
    ),
    all=_fit(counts, int(distance.max()), k, deviation),
  )


def _fit(counts, reach, num_codes, deviation) -> Fit:
  """Fits the law on 0, ..., reach, and what the formulas make of it."""
  sigma = fitted_sigma(counts[: reach + 1])
  law = np.zeros(len(counts))
  law[: reach + 1] = _law(sigma, reach)
  defined = 0 < sigma < math.inf and 2 * deviation / law[0] < 1 / num_codes
  nu = None
  if defined:
    nu = guarantee.nu(sigma, float(law[0]), num_codes, deviation)
  return Fit(
    sigma=sigma,
    misfit=float(np.abs(counts / counts.sum() - law).sum() / 2),
    nu=nu,
    needed=None if nu is None else guarantee.required_separation(nu),
  )


def fitted_sigma(counts) -> float:
  """Maximum-likelihood sigma of P[t] = a exp(-t^2 / sigma^2), t < len(counts).

  Args:
    counts: how often each norm t = 0, 1, ... occurs, `[n]`, not all 0.

  Returns:
    sigma in levels; 0 where only t = 0 occurs, infinity where the mean of t^2
    is that of the uniform law or larger.

  Raises:
    ValueError: for negative counts or none.
  """
  counts = np.asarray(counts)
  if counts.ndim != 1 or not counts.sum() > 0 or counts.min() < 0:
    raise ValueError(
      f'counts of shape {counts.shape} must be how often each norm 0, 1, ... '
      'occurs, not all 0.'
    )
  square = np.arange(len(counts)) ** 2.0
  mean = float(counts @ square / counts.sum())
  if mean == 0:
    return 0.0
  if mean >= square.mean() * (1 - 1e-12):  # of a float64 sum
    return math.inf

  def excess(log_sigma: float) -> float:
    law = idealized.noise_law(math.exp(log_sigma), len(counts) - 1)
    return float(law @ square) - mean

  # At e^-4 all is at 0 in float64; widened until the law is flat enough.
  high = math.log(len(counts))
  while excess(high) < 0:
    high += 1
  return math.exp(brentq(excess, -4.0, high, xtol=1e-12))


def nearest(
  values: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Nearest code in l_inf; ties go to the lowest index, as in `nearest_code`.

  Args:
    values: `[n, C]` uint8.
    levels: `[k, C]`, whole levels.

  Returns:
    `(index [n], distance [n])`, the latter in levels.
  """
  index = np.zeros(len(values), np.int64)
  distance = np.zeros(len(values), np.int64)
  codes = np.asarray(levels).astype(np.int16)
  for start in range(0, len(values), _CHUNK):
    rows = slice(start, start + _CHUNK)
    # Channels first: one code at a time, in contiguous rows.
    part = np.ascontiguousarray(values[rows].T).astype(np.int16)
    best = np.full(part.shape[1], 256, np.int16)
    own = np.zeros(part.shape[1], np.int16)
    for i, code in enumerate(codes):
      away = np.abs(part - code[:, None]).max(0)
      nearer = away < best
      own[nearer] = i
      np.minimum(best, away, out=best)
    index[rows], distance[rows] = own, best
  return index, distance


def _law(sigma: float, reach: int) -> np.ndarray:
  """The noise law with its limits: a point at 0, and the uniform law."""
  if 0 < sigma < math.inf:
    return idealized.noise_law(sigma, reach)
  size = reach + 1
  return np.eye(1, size)[0] if sigma == 0 else np.full(size, 1 / size)

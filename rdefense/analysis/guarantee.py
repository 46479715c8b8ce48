"""What paper A promises of its idealised images, as formulas.

With N independent samples, K levels and k codes in noise whose norm is 0 with
probability a,

  gamma = sqrt(4 / N log(K / delta)),
  nu = sigma sqrt(log(1 / (1/k - 2 gamma / a))).

Lemma 1: if codes are Gamma > 16 nu apart, then with probability 1 - delta
Algorithm 1 of radius 2 nu finds each to within nu. Proposition 1: then no
attack of radius 5 nu changes what T makes of an image.

The paper counts pixels as its N. Hoeffding's inequality needs samples that are
independent, and pixels of one image are not: a skeleton may give all of them
one code, and a code that no image has cannot be found. The argument does hold
for N images: the share of an image's pixels that have some value is a number in
[0, 1], and images are independent. `simulation` tries both.

>>> peak = noise_law(2.0, reach=20)[0]
>>> radius = nu(2.0, peak, num_codes=2, deviation=gamma(50_000, 256, 0.05))
>>> round(radius, 3), round(required_separation(radius), 1)
(1.964, 31.4)

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, section 5; PROTOCOL A11, where the roots
  were restored, and trap 24.
"""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from rdefense import checks
from rdefense.analysis.idealized import Model, distances, noise_law

__all__ = [
  'gamma',
  'is_approximation',
  'match',
  'nu',
  'promised',
  'required_separation',
]


def gamma(num_samples: int, num_levels: int, delta: float) -> float:
  """sqrt(4 / N log(K / delta)): how far a share of pixels may be from its mean.

  Hoeffding's inequality and a union over the K^C values, for C up to 7:
  2 K^C exp(-2 N gamma^2) <= delta.

  Args:
    num_samples: N, of independent samples. The paper counts pixels; where those
      of an image depend on each other only the number of images will do.
    num_levels: K, at least 2.
    delta: probability of failure, strictly between 0 and 1.

  Raises:
    ValueError: for an argument out of range.

  >>> round(gamma(10_000, 256, 0.05), 4)
  0.0584
  """
  checks.check_whole('num_samples', num_samples, 1)
  checks.check_whole('num_levels', num_levels, 2)
  checks.check_probability('delta', delta, ': the guarantee fails with it')
  return math.sqrt(4 / num_samples * math.log(num_levels / delta))


def nu(sigma: float, peak: float, num_codes: int, deviation: float) -> float:
  """sigma sqrt(log(1 / (1/k - 2 gamma / a))): how near codes are found.

  Args:
    sigma: of the noise, in levels, above 0.
    peak: a, the probability of no noise: `noise_law(sigma, reach)[0]`.
    num_codes: k, at least 2.
    deviation: gamma; 0 for the limit of many samples, sigma sqrt(log k).

  Returns:
    nu, in levels.

  Raises:
    ValueError: where 2 gamma / a >= 1/k, so that the guarantee says nothing.

  >>> round(nu(1.0, 0.5, 2, 0.0) ** 2, 4)  # log 2
  0.6931
  """
  checks.check_positive('sigma', sigma, ': it is in levels')
  checks.check_positive('peak', peak, ': it is a probability')
  checks.check_whole('num_codes', num_codes, 2)
  checks.check_at_least('deviation', deviation, 0)
  left = 1 / num_codes - 2 * deviation / peak
  if left <= 0:
    raise ValueError(
      f'2 gamma / a = {2 * deviation / peak:.4g} must be below 1/k = '
      f'{1 / num_codes:.4g}: too few samples for {num_codes} codes in noise of '
      f'sigma={sigma:g}.'
    )
  return sigma * math.sqrt(math.log(1 / left))


def required_separation(radius: float) -> float:
  """16 nu: the guarantee needs codes further apart than this, in levels."""
  return 16 * radius


def match(codes: np.ndarray, truth: np.ndarray, nu: float) -> np.ndarray | None:
  """Which learnt code stands for which true one, each within nu of its own.

  Args:
    codes: learnt, `[m, C]`.
    truth: `[k, C]`, in the same unit.
    nu: in that unit, at least 0; inclusive.

  Returns:
    For each true code the row of its learnt one, `[k]`; None unless m = k and
    there is such a matching.
  """
  if np.shape(codes) != np.shape(truth):
    return None
  far = distances(truth, codes) > nu
  _, row = linear_sum_assignment(far)
  return None if far[np.arange(len(row)), row].any() else row


def is_approximation(codes: np.ndarray, truth: np.ndarray, nu: float) -> bool:
  """Whether codes are a nu-approximation of the truth; arguments of `match`.

  >>> is_approximation(np.array([[199], [41]]), np.array([[40], [200]]), 1)
  True
  """
  return match(codes, truth, nu) is not None


def promised(model: Model, num_samples: int, delta: float) -> float | None:
  """nu where Lemma 1 covers so many independent samples of a model, or None.

  Args:
    model: of the images.
    num_samples, delta: as of `gamma`.

  Returns:
    nu, in levels; None where 2 gamma / a >= 1/k or Gamma <= 16 nu.

  >>> from rdefense.analysis.idealized import make_model
  >>> about = make_model([[40], [200]], separation=160, sigma=2.0)
  >>> [promised(about, n, 0.05) is not None for n in (100, 50_000)]
  [False, True]
  """
  peak = float(noise_law(model.sigma, model.reach)[0])
  deviation, k = gamma(num_samples, model.num_levels, delta), len(model.codes)
  if 2 * deviation / peak >= 1 / k:
    return None
  radius = nu(model.sigma, peak, k, deviation)
  return radius if model.separation > required_separation(radius) else None

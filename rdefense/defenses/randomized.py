"""Randomised defenses: Gaussian noise, RandDisc and RandMix.

Noise w_i ~ N(0, sigma^2 I) on every pixel, then discretization to k centres,

  RandDisc  x'_i = argmin_c ||x_i + w_i - c||_2^2
  RandMix   x'_i = sum_j c_j softmax_j(-alpha ||x_i + w_i - c_j||_2^2),

with centres chosen from the image itself (`adaptive`), or, under other names,
the same for all images. For the same key, all discretizing ones see the same
noise, and those with the same chooser the same centres. Outputs may leave
[0, 1].

>>> import jax, jax.numpy as jnp
>>> x = jnp.zeros((4, 4, 1)).at[:2].set(1.0)
>>> options = dict(sigma=0.15, tau=0.15, num_centers=2, num_samples=100)
>>> defense = rand_disc(**options, gamma=40.0, alpha=40.0)
>>> len(jnp.unique(defense.apply(jax.random.key(0), x)))
2

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586. Constants on
  [0, 1], where alpha and gamma are 40/t^2 for pixels in [0, t] and the noise
  is 0.15, 32/255 and 16/255:

                 k   sigma = tau   s    gamma = alpha
    MNIST        2   0.15          100  40 (the authors' code: 20)
    ImageNet     5   32/255        100  40
    NIPS 2017    10  16/255        100  40
"""

from collections.abc import Callable

import jax

from rdefense import checks
from rdefense.defenses.assignment import mixture, nearest_center
from rdefense.defenses.base import Defense, checked
from rdefense.defenses.centers import Finder, adaptive, fixed, sampled
from rdefense.types import Array, Key, KeyedFn

__all__ = [
  'discretize_with',
  'gaussian',
  'rand_disc',
  'rand_disc_fixed',
  'rand_disc_steep',
  'rand_mix',
  'rand_mix_fixed',
]

Assign = Callable[[Array, Array], Array]  # ([H, W, C], [k, C]) -> [H, W, C]


def gaussian(sigma) -> Defense:
  """Noise alone: x + w with w ~ N(0, sigma^2 I), not clipped to [0, 1].

  Args:
    sigma: standard deviation in [0, 1] pixel units, positive. May be traced.

  Returns:
    A `Defense` that is its own surrogate; the key is consumed.

  Raises:
    ValueError: unless 0 < sigma <= 1.
  """
  checks.check_noise('sigma', sigma)

  def noisy(key: Key, x: Array) -> Array:
    return x + sigma * jax.random.normal(key, x.shape, x.dtype)

  return checked(noisy)


def discretize_with(
  find_centers: Finder, sigma, assign: Assign, surrogate: Assign
) -> Defense:
  """Noise on every pixel, then discretization to centres found in the image.

  For example, to the nearest centre of k-means:

    soft = functools.partial(mixture, alpha=40.0)
    find = sampled(iterated_kmeans(5, 10), num_samples=100, tau=0.1)
    defense = discretize_with(find, 0.1, nearest_center, soft)

  Args:
    find_centers: `(key, x) -> centers [k, C]`; sees the clean image.
    sigma: standard deviation of the noise in [0, 1] pixel units, positive. May
      be traced.
    assign: `(x + w, centers) -> image`, deployed.
    surrogate: the same, differentiable.

  Returns:
    A `Defense`, both sides of which see the same noise and the same centres;
    the key is consumed.

  Raises:
    ValueError: unless 0 < sigma <= 1.
  """
  noisy = gaussian(sigma).apply

  def to_centers(assign: Assign) -> KeyedFn:
    def fn(key: Key, x: Array) -> Array:
      noise_key, centers_key = jax.random.split(key)
      centers = find_centers(centers_key, x).astype(x.dtype)
      return assign(noisy(noise_key, x), centers)

    return fn

  return checked(to_centers(assign), to_centers(surrogate))


def rand_disc(
  sigma, tau, num_centers: int, num_samples: int, gamma, alpha
) -> Defense:
  """RandDisc of paper B: nearest of k centres chosen adaptively in the image.

  The authors' code evaluates a steep mixture instead: `rand_disc_steep`.

  Args:
    sigma, tau: standard deviations of the noise on the pixels and on the
      samples, in [0, 1] pixel units, positive. May be traced.
    num_centers: k, from 1 to num_samples.
    num_samples: s, pixels drawn with replacement.
    gamma: temperature of `adaptive`, at least 0. May be traced.
    alpha: steepness of the surrogate per squared distance. May be traced.

  Returns:
    A `Defense` whose surrogate is `rand_mix` with the same key, noise and
    centres; the key is consumed.

  Raises:
    ValueError: unless sigma and tau are in (0, 1], alpha > 0 and gamma >= 0 are
      finite, and 1 <= num_centers <= num_samples.
  """
  find = _adaptive_centers(tau, num_centers, num_samples, gamma)
  return discretize_with(find, sigma, nearest_center, _mixture('alpha', alpha))


def rand_mix(
  sigma,
  tau,
  num_centers: int,
  num_samples: int,
  gamma,
  alpha,
  surrogate_alpha=None,
) -> Defense:
  """RandMix of paper B: a mixture of k centres chosen adaptively in the image.

  Args:
    sigma, tau, num_centers, num_samples, gamma: as for `rand_disc`.
    alpha: steepness of the mixture per squared distance. May be traced.
    surrogate_alpha: that of the surrogate; by default alpha, so that the
      defense is its own surrogate (paper B attacks it directly).

  Returns:
    A `Defense`; the key is consumed. For the same key it sees the noise and
    the centres of `rand_disc`.

  Raises:
    ValueError: as `rand_disc`.
  """
  find = _adaptive_centers(tau, num_centers, num_samples, gamma)
  return discretize_with(find, sigma, *_mixtures(alpha, surrogate_alpha))


def rand_disc_steep(
  sigma,
  tau,
  num_centers: int,
  num_samples: int,
  gamma,
  alpha,
  steep_alpha=400.0,
) -> Defense:
  """RandDisc as the authors' code evaluates it: a steep mixture, no argmin.

  That code also clips exponents to [-200, 200], left out here: with its 400, a
  pixel further than 0.71 from all centres gets the mean of them there.

  Args:
    sigma, tau, num_centers, num_samples, gamma: as for `rand_disc`.
    alpha: steepness of the surrogate per squared distance. May be traced.
    steep_alpha: that of the deployed mixture. The authors' 100 on [-1, 1] is
      400 on [0, 1]; their last MNIST config has 200.

  Returns:
    A `Defense`; the key is consumed.

  Raises:
    ValueError: as `rand_disc`.
  """
  find = _adaptive_centers(tau, num_centers, num_samples, gamma)
  steep = _mixture('steep_alpha', steep_alpha)
  return discretize_with(find, sigma, steep, _mixture('alpha', alpha))


def rand_disc_fixed(codes, sigma, alpha) -> Defense:
  """Noise, then the nearest of centres that are the same for all images.

  Not `rand_disc`: a certificate for these centres says nothing about adaptive
  ones. Paper B's curves use the threshold 0.55 on MNIST and {64, 192}^3 / 255.

  Args:
    codes: `[k, C]` in [0, 1]. May be traced.
    sigma: standard deviation of the noise in [0, 1] pixel units, positive. May
      be traced.
    alpha: steepness of the surrogate per squared distance. May be traced.

  Returns:
    A `Defense` whose surrogate is `rand_mix_fixed`; the key is consumed. When
    traced on an image with other channels, it raises `ValueError`.

  Raises:
    ValueError: unless sigma is in (0, 1] and alpha positive and finite, or on
      bad codes.
  """
  soft = _mixture('alpha', alpha)
  return discretize_with(fixed(codes), sigma, nearest_center, soft)


def rand_mix_fixed(codes, sigma, alpha, surrogate_alpha=None) -> Defense:
  """Noise, then a mixture of centres that are the same for all images.

  Args:
    codes, sigma: as for `rand_disc_fixed`.
    alpha: steepness of the mixture per squared distance. May be traced.
    surrogate_alpha: that of the surrogate; by default alpha.

  Returns:
    A `Defense`; the key is consumed. When traced on an image with other
    channels, it raises `ValueError`.

  Raises:
    ValueError: as `rand_disc_fixed`.
  """
  soft = _mixtures(alpha, surrogate_alpha)
  return discretize_with(fixed(codes), sigma, *soft)


def _adaptive_centers(tau, num_centers: int, num_samples: int, gamma) -> Finder:
  find = sampled(adaptive(num_centers, gamma), num_samples, tau)
  if num_centers > num_samples:
    raise ValueError(
      f'num_centers={num_centers} exceeds num_samples={num_samples}: centres '
      'are chosen among the samples.'
    )
  return find


def _mixture(name: str, alpha) -> Assign:
  checks.check_steepness(
    name, alpha, ': it is that of a mixture; argmin is rand_disc'
  )
  return lambda x, centers: mixture(x, centers, alpha)


def _mixtures(alpha, surrogate_alpha) -> tuple[Assign, Assign]:
  soft = _mixture('alpha', alpha)
  if surrogate_alpha is None:
    return soft, soft
  return soft, _mixture('surrogate_alpha', surrogate_alpha)

"""Centres of a randomised discretization, chosen from pixels of the image.

Paper B draws s pixels of the image uniformly with replacement, adds noise to
each, b_j = x_{i_j} + e_j with e_j ~ N(0, tau^2 I), and chooses k centres among
b_1 .. b_s. A *chooser* does the second step: `(key, samples [s, C]) -> [k, C]`;
`sampled` makes `(key, x) -> [k, C]` of it. Gradients flow through the values of
the pixels, never through the probabilities they are chosen with. Traced on
fewer than k samples, a chooser raises `ValueError`.

>>> import jax, jax.numpy as jnp
>>> x = jnp.array([[[0.0], [0.0], [1.0]]])
>>> find = sampled(adaptive(2, gamma=40.0), num_samples=30, tau=1e-6)
>>> jnp.sort(find(jax.random.key(0), x), axis=0).round(3).tolist()
[[0.0], [1.0]]

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586.
"""

from collections.abc import Callable

import jax
from jax.lax import stop_gradient
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.types import Array, Key

__all__ = [
  'Chooser',
  'Finder',
  'adaptive',
  'fixed',
  'iterated_kmeans',
  'kmeans_pp',
  'sample_pixels',
  'sampled',
]

Chooser = Callable[[Key, Array], Array]  # samples [s, C] -> centers [k, C]
Finder = Callable[[Key, Array], Array]  # image [H, W, C] -> centers [k, C]


def sample_pixels(key: Key, x: Array, num_samples: int, tau) -> Array:
  """Noisy pixels of an image, drawn uniformly with replacement: b_1 .. b_s.

  A pixel drawn twice gets noise twice. (The authors' code adds noise once to
  every pixel of the image, so repeats agree, and shares the s indices among
  the images of a batch; here, as in the paper, they do not and are not.)

  Args:
    key: consumed.
    x: image `[H, W, C]`.
    num_samples: s, at least 1. Paper B: 100.
    tau: standard deviation of the noise, in [0, 1] pixel units, positive.

  Returns:
    Samples `[s, C]` of the dtype of `x`; gradients flow to the drawn pixels.

  Raises:
    ValueError: if num_samples < 1 or tau outside (0, 1].
  """
  _check_sampling(num_samples, tau)
  index_key, noise_key = jax.random.split(key)
  pixels = x.reshape(-1, x.shape[-1])
  index = jax.random.randint(index_key, (num_samples,), 0, len(pixels))
  noise = jax.random.normal(noise_key, (num_samples, x.shape[-1]), x.dtype)
  return pixels[index] + tau * noise


def sampled(choose: Chooser, num_samples: int, tau) -> Finder:
  """Centres chosen among the noisy pixels of an image.

  Args:
    choose: `(key, samples [s, C]) -> centers [k, C]`.
    num_samples, tau: of `sample_pixels`. tau may be traced.

  Returns:
    `(key, x [H, W, C]) -> centers [k, C]`; the key is consumed.

  Raises:
    ValueError: if num_samples < 1 or tau outside (0, 1].
  """
  _check_sampling(num_samples, tau)

  def find(key: Key, x: Array) -> Array:
    sample_key, choice_key = jax.random.split(key)
    return choose(choice_key, sample_pixels(sample_key, x, num_samples, tau))

  return find


def adaptive(num_centers: int, gamma) -> Chooser:
  """Paper B's choice: far from the centres chosen before, with a temperature.

  The first centre is uniform among the samples, then

    P(c_j = b)  proportional to  exp(gamma min_{l < j} ||c_l - b||_2^2).

  A chosen sample keeps the weight exp(0) and may be chosen again. The weights
  are used as logarithms: in colour gamma ||.||^2 passes 120, and exp(89)
  overflows float32.

  Args:
    num_centers: k, at least 1. Paper B: 2 on MNIST, 5 on ImageNet, 10 against
      the attacks of the NIPS 2017 competition.
    gamma: per squared distance on [0, 1] pixels, finite, at least 0 (uniform).
      Paper B: 40; the authors' MNIST code: 20. May be traced.

  Returns:
    A chooser; the key is consumed.

  Raises:
    ValueError: if num_centers < 1, gamma < 0 or gamma is infinite.
  """
  checks.check_whole('num_centers', num_centers, 1)
  checks.check_at_least('gamma', gamma, 0, ': 0 is uniform')
  if not isinstance(gamma, jax.core.Tracer) and not np.isfinite(gamma):
    raise ValueError(f'gamma={gamma} must be finite: it multiplies zeros.')
  return lambda key, samples: samples[
    _sequence(key, samples, num_centers, lambda square: gamma * square)
  ]


def kmeans_pp(num_centers: int) -> Chooser:
  """The seeding of k-means++: P(c_j = b) ~ min_{l < j} ||c_l - b||_2^2.

  The first centre is uniform. A sample is chosen twice only where all samples
  equal some centre.

  Args:
    num_centers: k, at least 1.

  Returns:
    A chooser; the key is consumed.

  Raises:
    ValueError: if num_centers < 1.

  References:
    Arthur, Vassilvitskii, k-means++: the advantages of careful seeding, 2007.
  """
  checks.check_whole('num_centers', num_centers, 1)

  def log_weight(square: Array) -> Array:  # uniform where all weights are 0
    return jnp.where(square.max() > 0, jnp.log(square), 0.0)

  return lambda key, samples: samples[
    _sequence(key, samples, num_centers, log_weight)
  ]


def iterated_kmeans(num_centers: int, num_iterations: int) -> Chooser:
  """Lloyd's iterations from the centres that `kmeans_pp` finds with that key.

  Each iteration assigns the samples to their nearest centre in l2, ties to the
  lowest index, and replaces a centre by the mean of its samples; one without
  samples stays. Gradients flow through the means at fixed assignments.

  Args:
    num_centers: k, at least 1.
    num_iterations: at least 1.

  Returns:
    A chooser; the key is consumed.

  Raises:
    ValueError: if num_centers < 1 or num_iterations < 1.
  """
  checks.check_whole(
    'num_iterations', num_iterations, 1, ': without one it is kmeans_pp'
  )
  start = kmeans_pp(num_centers)

  def choose(key: Key, samples: Array) -> Array:
    centers = start(key, samples)
    for _ in range(num_iterations):
      square = ((samples[:, None] - centers[None]) ** 2).sum(-1)
      member = jax.nn.one_hot(
        square.argmin(-1), num_centers, dtype=samples.dtype
      )
      count = member.sum(0)[:, None]
      total = jnp.matmul(member.T, samples, precision='highest')
      centers = jnp.where(count > 0, total / jnp.maximum(count, 1), centers)
    return centers

  return choose


def fixed(codes) -> Chooser:
  """Centres that do not depend on the image: `codes`, whatever the samples.

  Args:
    codes: `[k, C]`, distinct, in [0, 1]. May be traced.

  Returns:
    A chooser, which also finds the centres of an image; the key is not used.
    When traced on samples or an image with other channels, it raises
    `ValueError`.

  Raises:
    ValueError: on codes that are empty, not `[k, C]`, repeated or outside
      [0, 1].
  """
  checks.check_codes(codes)
  codes = jnp.asarray(codes, jnp.float32)

  def choose(key: Key, samples: Array) -> Array:
    del key
    checks.check_channels(samples, codes)
    return codes

  return choose


def _sequence(key: Key, samples: Array, num_centers: int, log_weight) -> Array:
  """Indices `[k]`, one after another; the first is uniform.

  `log_weight` sees the squared distances `[s]` to the nearest chosen sample.
  """
  if num_centers > len(samples):
    raise ValueError(
      f'num_centers={num_centers} exceeds the {len(samples)} samples they are '
      'chosen from: raise num_samples.'
    )
  values = stop_gradient(samples)
  # The largest of logits + Gumbel noise has the probability of its weight.
  noise = jax.random.gumbel(key, (num_centers, len(values)), values.dtype)
  chosen = [noise[0].argmax()]
  square = jnp.full(len(values), jnp.inf, values.dtype)
  for i in range(1, num_centers):
    apart = values - values[chosen[-1]][None]
    square = jnp.minimum(square, (apart**2).sum(-1))
    chosen.append((log_weight(square) + noise[i]).argmax())
  return jnp.stack(chosen)


def _check_sampling(num_samples: int, tau) -> None:
  checks.check_whole('num_samples', num_samples, 1, ': centres need some')
  checks.check_noise('tau', tau)

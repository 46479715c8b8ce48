"""Deterministic pixel discretization: binning, nearest code, thermometer.

Paper A's transformations T and their soft approximation g,

  T(v) = argmin_c dist(v, c),
  g(v) = sum_t c_t w_t(v) / sum_t w_t(v),   w_t(v) = exp(-alpha dist(v, c_t)),

with `dist` an *unsquared* norm over the channels of one pixel.

>>> import jax, jax.numpy as jnp
>>> key, x = jax.random.key(0), jnp.array([[[0.2], [0.5], [0.9]]])
>>> binning(2).apply(key, x)[0, :, 0].tolist()
[0.0, 1.0, 1.0]
>>> nearest_code([[0.0], [0.75]]).apply(key, x)[0, :, 0].tolist()
[0.0, 0.75, 0.75]

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards understanding limitations of pixel
  discretization against adversarial attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, sections 2 and 3.
"""

import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.defenses import by_code
from rdefense.defenses.base import Defense, checked
from rdefense.types import Array, Key

__all__ = [
  'NORMS',
  'binning',
  'channel_distance',
  'nearest_code',
  'soft_assignment',
  'thermometer',
]

NORMS = ('linf', 'l2', 'l1')


def _abs(x: Array) -> Array:
  return x * jnp.sign(x)  # with derivative 0 at 0, where `jnp.abs` has 1


def channel_distance(x: Array, codes: Array, norm: str) -> Array:
  """Distance of every pixel to every code, over channels.

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    norm: `linf`, `l2` or `l1`, unsquared. The gradient of `linf` is split
      evenly among tied channels; that of every norm is 0 at distance 0.

  Returns:
    Distances `[..., k]`, in the unit of `x`.
  """
  if codes.shape[-1] == 1:  # all norms agree on one channel
    return _abs(x - codes.reshape((1,) * (x.ndim - 1) + (-1,)))
  codes = codes.reshape((1,) * (x.ndim - 1) + codes.shape)
  difference = x[..., None, :] - codes
  match norm:
    case 'linf':
      return _abs(difference).max(-1)
    case 'l1':
      return _abs(difference).sum(-1)
  square = (difference**2).sum(-1)
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def soft_assignment(x: Array, codes: Array, alpha, norm: str) -> Array:
  """Mean of the codes weighted by softmax(-alpha distance): paper A's g.

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    alpha: steepness per unit of distance; as it grows, g tends to the nearest
      code wherever that is unique.
    norm: norm over channels, see `channel_distance`.

  Returns:
    An image of the shape of `x`.
  """
  return by_code.soft(x, codes, alpha, norm)


def nearest_code(codes, alpha=10.0, norm: str = 'linf') -> Defense:
  """Replaces every pixel by its nearest code; ties go to the lowest index.

  Args:
    codes: `[k, C]`, distinct, in [0, 1]. May be traced.
    alpha: steepness of the surrogate per unit of distance on [0, 1] pixels.
      Paper A: 10 on grey images; 0.1 a grey level, that is 25.5, in colour.
    norm: `linf` (paper A), `l2` or `l1`, over the channels of a pixel.

  Returns:
    A `Defense` whose surrogate is `soft_assignment`; the key is not used.

  Raises:
    ValueError: on codes that are empty, repeated or outside [0, 1], on an alpha
      that is not positive and finite, on an unknown norm, and (when traced) on
      an image whose number of channels differs from the codes'.
  """
  checks.check_codes(codes)
  codes = jnp.asarray(codes, jnp.float32)
  checks.check_steepness('alpha', alpha, ': the surrogate has to follow T')
  checks.check_choice('norm', norm, NORMS)

  def apply(key: Key, x: Array) -> Array:
    del key
    checks.check_channels(x, codes)
    return codes[by_code.nearest(x, codes, norm)].astype(x.dtype)

  def surrogate(key: Key, x: Array) -> Array:
    del key
    checks.check_channels(x, codes)
    return soft_assignment(x, codes, alpha, norm)

  return checked(apply, surrogate)


def binning(num_levels: int, alpha=10.0) -> Defense:
  """Colour-depth reduction: T(v) = floor((k - 1) v + 1/2) / (k - 1).

  Every channel is a scalar of its own, with its own soft weights. Values
  halfway between two levels go up (whereas `nearest_code` sends a tie to the
  lowest index); those outside of [0, 1], as noise makes them, become 0 or 1.

  Args:
    num_levels: k, from 2 to 256.
    alpha: steepness of the surrogate per unit of |v - level|, on [0, 1].

  Returns:
    A `Defense`; the key is not used.

  Raises:
    ValueError: unless 2 <= num_levels <= 256 and alpha is positive and finite.
  """
  checks.check_whole(
    'num_levels', num_levels, 2, ': one level is a constant image'
  )
  if num_levels > 256:
    raise ValueError(
      f'num_levels={num_levels} exceeds the 256 levels of 8-bit images.'
    )
  checks.check_steepness('alpha', alpha, ': the surrogate has to follow T')
  levels = jnp.asarray(np.linspace(0, 1, num_levels)[:, None], jnp.float32)

  def apply(key: Key, x: Array) -> Array:
    del key
    scaled = (num_levels - 1) * x
    below = jnp.floor(scaled)  # v + 1/2 would round just below a half upwards
    levels = (below + (scaled - below >= 0.5)) / (num_levels - 1)
    return jnp.clip(levels, 0.0, 1.0)

  def surrogate(key: Key, x: Array) -> Array:
    del key
    return soft_assignment(x[..., None], levels, alpha, 'linf')[..., 0]

  return checked(apply, surrogate)


def thermometer(num_levels: int) -> Defense:
  """Thermometer encoding: `C` channels become `C * num_levels` zeros and ones.

  Level l of a value v is 1 where v > l / L, for l = 0 .. L - 1; the levels of
  one channel are neighbours. The surrogate is the ramp clip(L v - l, 0, 1).
  The classifier behind it has to be trained on it.

  Args:
    num_levels: L, at least 2.

  Returns:
    A `Defense` from `[H, W, C]` to `[H, W, C * num_levels]`; the key is not
    used.

  Raises:
    ValueError: if num_levels < 2.

  References:
    Buckman, Roy, Raffel, Goodfellow, Thermometer encoding: one hot way to
    resist adversarial examples, ICLR 2018 (complemented: here bright pixels
    have more ones).
  """
  checks.check_whole('num_levels', num_levels, 2)

  def ramp(x: Array) -> Array:
    levels = jnp.arange(num_levels, dtype=x.dtype)
    levels = levels.reshape((1,) * x.ndim + (-1,))
    return num_levels * x[..., None] - levels

  def flat(x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)

  def apply(key: Key, x: Array) -> Array:
    del key
    return flat((ramp(x) > 0).astype(x.dtype))

  def surrogate(key: Key, x: Array) -> Array:
    del key
    return flat(jnp.clip(ramp(x), 0.0, 1.0))

  return checked(apply, surrogate)

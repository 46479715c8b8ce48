"""Which codes a pixel can be given by T when it moves by at most eps.

An attacker at distance eps in l_inf chooses every pixel on its own, so what the
classifier can see is the product over pixels of the codes that each can reach.
All sets here but `as_printed` contain the true one whatever the rounding: when
in doubt, a code is reachable.

  triangle     dist(x, c) <= min dist + 2 eps: paper A's set, made inclusive
  reachable    no other code is nearer all over the box of the pixel: exact for
               one channel, within `triangle` in colour
  from_bytes   the same for an attacker who has to submit 8-bit images
  as_printed   paper A's set with its strict inequality, for comparison: at
               eps 0 it is empty, and at a tie it may miss a code

Binning treats channels one by one: give its images as `[H, W C, 1]`.

>>> import numpy as np
>>> x, codes = np.float32([[[0.1], [0.45], [0.9]]]), np.float32([[0.0], [1.0]])
>>> reachable(x, codes, 0.1)[0].tolist()
[[True, False], [True, True], [False, True]]
>>> box(reachable(x, codes, 0.1), codes).high[0, :, 0].tolist()
[0.0, 1.0, 1.0]

References:
  Paper A, section 4; PROTOCOL A12 and A13.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.defenses.discretize import NORMS, channel_distance
from rdefense.types import Array

__all__ = [
  'Box',
  'as_printed',
  'box',
  'checked',
  'from_bytes',
  'reachable',
  'triangle',
]

# More than float32 errs by, in distances of pixels in [0, 1] of up to three
# channels, in both of two; and how that grows with channels, as sums do.
_DOUBT = 4e-6
_GROWTH = {'linf': 0.0, 'l2': 1.5, 'l1': 2.0}


class Box(NamedTuple):
  """Bounds of every entry, ends included."""

  low: Array
  high: Array


def checked(x, codes, eps, norm) -> tuple[Array, Array]:
  """Image and codes in float32; `ValueError` on what is neither."""
  x, codes = jnp.asarray(x, jnp.float32), jnp.asarray(codes, jnp.float32)
  checks.check_codes(codes)
  checks.check_channels(x, codes)
  checks.check_length('eps', eps)
  checks.check_choice('norm', norm, NORMS)
  return x, codes


def triangle(x, codes, eps, norm: str = 'linf') -> Array:
  """Codes no further than the nearest one by more than 2 eps.

  C(x) = { c : dist(x, c) <= min_c' dist(x, c') + 2 eps }; by the triangle
  inequality no other code can be the nearest anywhere in the ball. In more
  than one channel the ball is l_inf, whose diameter in `norm` is larger, and
  so is the bound.

  Args:
    x: image `[H, W, C]` in [0, 1].
    codes: `[k, C]`, distinct, in [0, 1].
    eps: radius in [0, 1] pixel units. May be traced.
    norm: of T's distances over channels, one of `discretize.NORMS`.

  Returns:
    `[H, W, k]`, bool.

  Raises:
    ValueError: on codes that are no codebook or of other channels than the
      image, on eps outside [0, 1], on an unknown norm.

  References:
    PROTOCOL A12: the paper has a strict inequality.
  """
  x, codes = checked(x, codes, eps, norm)
  num_channels = x.shape[-1]
  longest = {'linf': 1.0, 'l1': num_channels, 'l2': math.sqrt(num_channels)}
  distance = channel_distance(x, codes, norm)
  reach = 2 * longest[norm] * eps + _doubt(num_channels, norm)
  return distance <= distance.min(-1, keepdims=True) + reach


def reachable(x, codes, eps, norm: str = 'linf') -> Array:
  """Codes that no single other code beats all over the pixel's box.

  The box is { v : |v - x| <= eps in every channel, 0 <= v <= 1 }; code c stays
  unless some c' has dist(v, c') < dist(v, c) for all v in it, which is decided
  in closed form for each pair. On one channel that is exact, as intervals that
  meet in pairs all meet. In colour several codes together may leave nothing to
  c, so the set may be too large; it is never too small.

  Args:
    x: image `[H, W, C]` in [0, 1].
    codes: `[k, C]`, distinct, in [0, 1].
    eps: radius in [0, 1] pixel units. May be traced.
    norm: of T's distances over channels, one of `discretize.NORMS`.

  Returns:
    `[H, W, k]`, bool.

  Raises:
    ValueError: as `triangle`.
  """
  return _unbeaten(*checked(x, codes, eps, norm), eps, norm)


# Called by itself, its loops would be compiled at each call.
@functools.partial(jax.jit, static_argnames='norm')
def _unbeaten(x: Array, codes: Array, eps, norm: str) -> Array:
  low, high = jnp.clip(x - eps, 0, 1), jnp.clip(x + eps, 0, 1)
  gap = {'linf': _least_gap_linf, 'l2': _least_gap_l2, 'l1': _least_gap_l1}
  doubt = _doubt(x.shape[-1], norm)

  def one_code(code: Array) -> Array:
    def beaten(any_so_far: Array, other: Array):
      least = gap[norm](low, high, code, other)
      return any_so_far | (least > doubt), None

    start = jnp.zeros(x.shape[:-1], bool)
    return ~jax.lax.scan(beaten, start, pixels)[0]

  pixels = codes[:, None, None, :]
  return jnp.moveaxis(jax.lax.map(one_code, pixels), 0, -1)


def _doubt(num_channels: int, norm: str) -> float:
  """More than two distances err by, and their difference.

  A sum of C terms of at most 1 errs by C roundings of numbers up to C; of
  squares, the root of which is at most sqrt(C), by half as much over that.
  """
  return _DOUBT * max(1.0, num_channels / 3) ** _GROWTH[norm]


def _least_gap_l2(low: Array, high: Array, code: Array, other: Array) -> Array:
  """min over the box of |v - code|^2 - |v - other|^2, which is linear in v.

  Squares of distances up to sqrt(C) differ by less than twice that times what
  the distances do, so a doubt about those is one about these.
  """
  nearest = jnp.where(code < other, low, high)
  gaps = (nearest - code) ** 2 - (nearest - other) ** 2
  return gaps.sum(-1) / (2 * math.sqrt(low.shape[-1]))


def _least_gap_l1(low: Array, high: Array, code: Array, other: Array) -> Array:
  """min over the box of |v - code|_1 - |v - other|_1, channel by channel."""
  nearest = jnp.where(code < other, low, high)
  return (jnp.abs(nearest - code) - jnp.abs(nearest - other)).sum(-1)


def _least_gap_linf(
  low: Array, high: Array, code: Array, other: Array
) -> Array:
  """A number <= 0 exactly if |v - code|_inf <= |v - other|_inf in the box.

  Some channel a has to hold the other code's distance: |v_a - other_a| at
  least |v_a - code_a|, and at least what is left of the other channels when
  they come as near to the code as they can.
  """
  left = jnp.abs(jnp.clip(code, low, high) - code)
  gaps = []
  for a in range(low.shape[-1]):
    others = [left[..., b] for b in range(low.shape[-1]) if b != a]
    rest = jnp.stack(others).max(0) if others else jnp.zeros(low.shape[:-1])
    ends = []
    for v in (low[..., a], high[..., a]):
      own, far = jnp.abs(v - code[..., a]), jnp.abs(v - other[..., a])
      ends.append(jnp.maximum(own, rest) - far)
    gaps.append(jnp.minimum(*ends))
  return jnp.stack(gaps).min(0)


def from_bytes(x, codes, eps: float, norm: str = 'linf') -> Array:
  """Codes that some 8-bit pixel of the ball can be given.

  Every byte is tried, so the set is exact up to the doubt of rounding.

  Args:
    x: image `[H, W, C]` in [0, 1].
    codes: `[k, C]`, distinct, in [0, 1].
    eps: radius in [0, 1] pixel units; not traced.
    norm: of T's distances over channels, one of `discretize.NORMS`.

  Returns:
    `[H, W, k]`, bool; no code where no byte lies in the ball.

  Raises:
    ValueError: as `triangle`.
  """
  x, codes = checked(x, codes, eps, norm)
  offsets = np.arange(-math.ceil(255 * eps) - 1, math.ceil(255 * eps) + 2)
  steps = np.array([*itertools.product(offsets, repeat=x.shape[-1])])
  middle, doubt = jnp.rint(255 * x), _doubt(x.shape[-1], norm)

  def add(found: Array, step: Array):
    v = (middle + step.reshape(1, 1, -1)) / 255
    inside = (jnp.abs(v - x) <= eps + _DOUBT) & (v >= 0) & (v <= 1)
    distance = channel_distance(v, codes, norm)
    near = distance <= distance.min(-1, keepdims=True) + doubt
    return found | (near & inside.all(-1, keepdims=True)), None

  start = jnp.zeros((*x.shape[:-1], len(codes)), bool)
  return jax.lax.scan(add, start, jnp.asarray(steps, jnp.float32))[0]


def as_printed(x, codes, eps: float) -> np.ndarray:
  """Paper A's strict set in float64, for comparison only: it is not sound.

  C(x) = { c : ||x - c||_inf < min_c' ||x - c'||_inf + 2 eps }.

  Args:
    x: images `[..., C]`, any float dtype, kept as they are.
    codes: `[k, C]`.
    eps: radius in [0, 1] pixel units.

  Returns:
    `[..., k]`, bool, on the host.

  References:
    PROTOCOL A10, Table IV, and trap 10.
  """
  x, codes = np.asarray(x, np.float64), np.asarray(codes, np.float64)
  distance = np.abs(x[..., None, :] - codes).max(-1)
  return distance < distance.min(-1, keepdims=True) + 2 * eps


def box(allowed: Array, codes) -> Box:
  """The smallest box of each pixel that holds its codes.

  Args:
    allowed: `[H, W, k]`, bool, some code for every pixel.
    codes: `[k, C]`.

  Returns:
    `Box` of two `[H, W, C]`.
  """
  codes = jnp.asarray(codes, jnp.float32)
  codes = codes.reshape((1,) * (allowed.ndim - 1) + codes.shape)
  inside = allowed[..., None]
  return Box(
    jnp.where(inside, codes, jnp.inf).min(-2),
    jnp.where(inside, codes, -jnp.inf).max(-2),
  )

"""Nearest code and soft assignment, one code at a time.

The distances of all pixels to all codes would be k times the image, and going
to memory and back with them is what costs, even for two codes. A loop over the
codes keeps running sums instead, of the size of the image; so does the
derivative, forward and reverse,

  dg_i = -alpha E[(c_i - g_i) sum_j (D_j - D*_j) dv_j],

with D_j the derivative of dist(v, c) in v_j, D*_j that of the nearest code, and
E the mean over codes of weights exp(-alpha dist(v, c)). As E[c - g] = 0, D*
changes nothing but rounding: where the nearest code has almost all the weight,
c - g is lost in that of g, and D - D* leaves it out. Where all D agree, as
outside the codes of one channel, the derivative is 0 exactly.

>>> codes = jnp.linspace(0.0, 1.0, 11)[:, None]
>>> int(nearest(jnp.array([0.32]), codes, 'linf'))
3
"""

import functools

import jax
from jax.custom_derivatives import SymbolicZero
import jax.numpy as jnp

from rdefense.types import Array

__all__ = ['nearest', 'soft']

# Called by itself, a loop would be compiled at each call; inside of what is
# compiled this changes nothing.
_once = functools.partial(jax.jit, static_argnames='norm')

_ROUNDS = (8, 4, 2, 1)  # codes: few rounds for a GPU, small code for a CPU


@_once
def nearest(x: Array, codes: Array, norm: str) -> Array:
  """Number of the nearest code of each pixel; ties go to the lowest.

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    norm: `linf`, `l2` or `l1` over channels.

  Returns:
    `[...]` int32.
  """

  planes = _planes(x)

  def look(i, code, found):
    least, index = found
    distance, _ = _distance(planes, code, norm)
    return jnp.minimum(least, distance), jnp.where(distance < least, i, index)

  shape = x.shape[:-1]
  start = jnp.full(shape, jnp.inf, x.dtype), jnp.zeros(shape, jnp.int32)
  return _over(codes, look, start)[1]


@_once
def soft(x: Array, codes: Array, alpha, norm: str) -> Array:
  """Mean of the codes weighted by softmax(-alpha distance).

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    alpha: steepness per unit of distance.
    norm: as for `nearest`. The derivative of `linf` is split evenly among tied
      channels; that of every norm is 0 at distance 0.

  Returns:
    An image of the shape of `x`, whose derivative in `x` float32 gets right
    relative to its size, however small.
  """
  return _soft(x, codes, alpha, norm)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _soft(x: Array, codes: Array, alpha, norm: str) -> Array:
  return _means(x, codes, alpha, norm)[0]


@functools.partial(_soft.defjvp, symbolic_zeros=True)
def _soft_jvp(norm, primals, tangents):
  x, codes, alpha = primals
  x_dot, *others = tangents
  out, gaps, total = _means(x, codes, alpha, norm)
  out_dot = jnp.zeros_like(out)
  if not isinstance(x_dot, SymbolicZero):
    x_dot = x_dot * (alpha / total)[..., None]
    out_dot += _moved(x, x_dot, codes, alpha, norm, out, gaps)
  if not all(isinstance(dot, SymbolicZero) for dot in others):
    dots = [
      jnp.zeros_like(primal) if isinstance(dot, SymbolicZero) else dot
      for primal, dot in zip((codes, alpha), others, strict=True)
    ]
    _, more = jax.jvp(
      lambda codes, alpha: _means(x, codes, alpha, norm)[0],
      (codes, alpha), tuple(dots),
    )  # fmt: skip
    out_dot += more
  return out, out_dot


def _over(codes: Array, body, start):
  """Folds `body(number, code, carry)` over the codes.

  In rounds of equal size, at least two: without a loop, or with codes left
  after it, XLA writes channels of the derivative one by one on a CPU, four to
  ten times slower.
  """
  codes = jnp.asarray(codes)
  sizes = [n for n in _ROUNDS if n < len(codes) and not len(codes) % n]
  return jax.lax.fori_loop(
    0, len(codes), lambda i, carry: body(i, codes[i], carry), start,
    unroll=max(sizes, default=1),
  )  # fmt: skip


def _planes(x: Array) -> list[Array]:
  """Channels, each for itself: a loop over slices of `x` is slower."""
  return [x[..., c] for c in range(x.shape[-1])]


def _distance(planes: list[Array], code, norm: str):
  """Of all pixels to one code, and its derivative in each channel."""
  return _length([p - c for p, c in zip(planes, code, strict=True)], norm)


def _length(differences: list[Array], norm: str) -> tuple[Array, list[Array]]:
  """Norm `[...]` of what each channel differs by, and its derivatives."""
  signs = [jnp.sign(d) for d in differences]
  sizes = [jnp.maximum(d, -d) for d in differences]  # derivative 0 at 0
  if len(sizes) == 1:  # all norms agree
    return sizes[0], signs
  if norm == 'l1':
    return sum(sizes[1:], sizes[0]), signs
  if norm == 'linf':
    distance = functools.reduce(jnp.maximum, sizes)
    tied = [(size == distance).astype(size.dtype) for size in sizes]
    share = 1 / sum(tied[1:], tied[0])
    return distance, [s * t * share for s, t in zip(signs, tied, strict=True)]
  square = functools.reduce(jnp.add, [d**2 for d in differences])
  root = jnp.sqrt(jnp.where(square > 0, square, 1.0))
  distance = jnp.where(square > 0, root, 0.0)
  return distance, [d / root for d in differences]


def _gaps(x: Array, codes: Array, norm: str) -> list[Array]:
  """What each channel of a pixel has more than its nearest code; constants."""
  x, codes = jax.lax.stop_gradient((x, jnp.asarray(codes)))
  planes = _planes(x)
  if len(planes) > 1:
    code = _planes(codes[nearest(x, codes, norm)])
    return [p - c for p, c in zip(planes, code, strict=True)]

  def look(i, code, gap):  # of one channel, to gather is slower
    del i
    other = planes[0] - code[0]
    return jnp.where(abs(other) < abs(gap), other, gap)

  return [_over(codes, look, jnp.full(x.shape[:-1], jnp.inf, x.dtype))]


def _means(x: Array, codes: Array, alpha, norm: str):
  """g `[..., C]`, the `_gaps` and the sum of weights `[...]`."""
  planes, gaps = _planes(x), _gaps(x, codes, norm)
  least, _ = _length(gaps, norm)

  def add(i, code, sums):
    del i
    total, means = sums
    weight = jnp.exp(-alpha * (_distance(planes, code, norm)[0] - least))
    return total + weight, [
      mean + weight * c for mean, c in zip(means, code, strict=True)
    ]

  zero = jnp.zeros(x.shape[:-1], x.dtype)
  total, means = _over(codes, add, (zero, [zero for _ in planes]))
  return jnp.stack([mean / total for mean in means], -1), gaps, total


def _moved(x, x_dot, codes, alpha, norm: str, out, gaps) -> Array:
  """Sum over codes of weight (g - c) <D - D*, x_dot>, `[..., C]`."""
  planes, x_dots = _planes(x), _planes(x_dot)
  least, near = _length(gaps, norm)

  # The transpose looks at each code again: kept, D would be k images.
  @jax.checkpoint
  def term(x_dots, code):
    distance, slopes = _distance(planes, code, norm)
    weight = jnp.exp(-alpha * (distance - least))
    rows = zip(slopes, near, x_dots, strict=True)
    each = [(slope - common) * dot for slope, common, dot in rows]
    change = weight * sum(each[1:], each[0])
    return [change, *(-c * change for c in code)]

  def add(i, code, sums):
    del i
    return [a + b for a, b in zip(sums, term(x_dots, code), strict=True)]

  zero = jnp.zeros(x.shape[:-1], x.dtype)
  change, *rest = _over(codes, add, [zero for _ in range(1 + len(planes))])
  return out * change[..., None] + jnp.stack(rest, -1)

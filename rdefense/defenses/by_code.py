"""Nearest code and soft assignment, one code at a time.

The distances of all pixels to all codes would be k times the image, and going
to memory and back with them is what costs, even for two codes. A loop over the
codes keeps running sums instead, of the size of the image; so does the
derivative, forward and reverse,

  dg_i = -alpha E[(c_i - g_i) sum_j D_j dv_j],

with D_j the derivative of dist(v, c) in v_j, and E the mean over codes of
weights exp(-alpha dist(v, c)).

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

_ROUNDS = (8, 4, 2, 1)  # codes: few rounds for a GPU, small code for a CPU


def nearest(x: Array, codes: Array, norm: str) -> Array:
  """Number of the nearest code of each pixel; ties go to the lowest.

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    norm: `linf`, `l2` or `l1` over channels.

  Returns:
    `[...]` int32.
  """

  def look(i, code, found):
    least, index = found
    distance, _ = _distance(x, code, norm)
    return jnp.minimum(least, distance), jnp.where(distance < least, i, index)

  shape = x.shape[:-1]
  start = jnp.full(shape, jnp.inf, x.dtype), jnp.zeros(shape, jnp.int32)
  return _over(codes, look, start)[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def soft(x: Array, codes: Array, alpha, norm: str) -> Array:
  """Mean of the codes weighted by softmax(-alpha distance).

  Args:
    x: image `[..., C]`.
    codes: `[k, C]`.
    alpha: steepness per unit of distance.
    norm: as for `nearest`. The derivative of `linf` is split evenly among tied
      channels; that of every norm is 0 at distance 0.

  Returns:
    An image of the shape of `x`.
  """
  return _means(x, codes, alpha, norm)[0]


@functools.partial(soft.defjvp, symbolic_zeros=True)
def _soft_jvp(norm, primals, tangents):
  x, codes, alpha = primals
  x_dot, *others = tangents
  out, least, total = _means(x, codes, alpha, norm)
  out_dot = jnp.zeros_like(out)
  if not isinstance(x_dot, SymbolicZero):
    moved = _moved(x, x_dot, codes, alpha, norm, out, least)
    out_dot += alpha * moved / total[..., None]
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


def _distance(x: Array, code: Array, norm: str) -> tuple[Array, list[Array]]:
  """Of all pixels to one code, and its derivative in each channel."""
  differences = [x[..., c] - code[c] for c in range(x.shape[-1])]
  signs = [jnp.sign(d) for d in differences]
  sizes = [jnp.maximum(d, -d) for d in differences]  # derivative 0 at 0
  if norm == 'l1':
    return sum(sizes[1:], sizes[0]), signs
  if norm == 'linf':
    distance = functools.reduce(jnp.maximum, sizes)
    tied = [(size == distance).astype(x.dtype) for size in sizes]
    share = 1 / sum(tied[1:], tied[0])
    return distance, [s * t * share for s, t in zip(signs, tied, strict=True)]
  square = functools.reduce(jnp.add, [d**2 for d in differences])
  root = jnp.sqrt(jnp.where(square > 0, square, 1.0))
  distance = jnp.where(square > 0, root, 0.0)
  return distance, [d / root for d in differences]


def _least(x: Array, codes: Array, norm: str) -> Array:
  def look(i, code, least):
    del i
    return jnp.minimum(least, _distance(x, code, norm)[0])

  start = jnp.full(x.shape[:-1], jnp.inf, x.dtype)
  return jax.lax.stop_gradient(_over(codes, look, start))


def _means(x: Array, codes: Array, alpha, norm: str):
  """g `[..., C]`, the least distance and the sum of weights, `[...]` each."""
  least = _least(jax.lax.stop_gradient(x), jax.lax.stop_gradient(codes), norm)

  def add(i, code, sums):
    del i
    total, means = sums
    weight = jnp.exp(-alpha * (_distance(x, code, norm)[0] - least))
    return total + weight, [
      mean + weight * c for mean, c in zip(means, code, strict=True)
    ]

  zero = jnp.zeros(x.shape[:-1], x.dtype)
  total, means = _over(codes, add, (zero, [zero] * x.shape[-1]))
  return jnp.stack([mean / total for mean in means], -1), least, total


def _moved(x, x_dot, codes, alpha, norm: str, out, least) -> Array:
  """Sum over codes of weight (g - c) <D, x_dot>, `[..., C]`."""
  channels = range(x.shape[-1])

  # The transpose looks at each code again: kept, D would be k images.
  @jax.checkpoint
  def term(x_dots, code):
    distance, slopes = _distance(x, code, norm)
    weight = jnp.exp(-alpha * (distance - least))
    each = [s * dot for s, dot in zip(slopes, x_dots, strict=True)]
    change = weight * sum(each[1:], each[0])
    return [(out[..., c] - code[c]) * change for c in channels]

  def add(i, code, sums):
    del i
    return [a + b for a, b in zip(sums, term(x_dots, code), strict=True)]

  zero = jnp.zeros(x.shape[:-1], x.dtype)
  x_dots = [x_dot[..., c] for c in channels]
  return jnp.stack(_over(codes, add, [zero for _ in channels]), -1)

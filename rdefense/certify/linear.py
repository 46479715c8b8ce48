"""Linear bounds of a network over a box, backward from its outputs (CROWN).

An output is bounded from below by a linear function of the image,

  f_m(x) >= <coefs_m, x> + const_m    for all x in the box,

found by carrying coefficients from the outputs to the input: through an affine
operation by its transpose, through a maximum by the line that lies below it or
above it, as the sign of the coefficient demands. The lines of
max(t, 0) on l < 0 < h are t or 0 (the nearer one) and h (t - l) / (h - l); l
and h are interval bounds. What float32 may have lost on the way is subtracted.

>>> import jax.numpy as jnp
>>> fn = lambda x: (jnp.maximum(x, 0.0).sum() - x.sum())[None]
>>> bound = linear(fn, -jnp.ones(2), jnp.ones(2))
>>> round(float(bound.lower[0]), 3)  # intervals alone give -2
-0.0

References:
  Zhang, Weng, Chen, Hsieh, Daniel, Efficient neural network robustness
  certification with general activation functions, 2018,
  https://arxiv.org/abs/1811.00866; with interval bounds inside: Zhang, Chen,
  Xiao, Gowal, Stanforth, Li, Boning, Hsieh, Towards stable and efficient
  training of verifiably robust neural networks, 2020,
  https://arxiv.org/abs/1906.06316.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense.certify.interval import AFFINE, ROUNDOFF, bounded, largest
from rdefense.certify.operations import Operation
from rdefense.certify.reachable import Box
from rdefense.types import Array

__all__ = ['LinearBound', 'linear']


class LinearBound(NamedTuple):
  """Lower bounds of all outputs over a box."""

  outputs: Array  # [K], int: which outputs the lines are of
  coefs: Array  # [K, *x.shape]
  const: Array  # [K], roundoff subtracted
  lower: Array  # [M], over the box; never below the interval's


class _Lines(NamedTuple):
  """max(t, 0) lies between `below` t and `above` t + `offset`."""

  below: Array
  above: Array
  offset: Array
  lost: Array  # what its products may be wrong by, in units of a few roundoffs


def linear(
  fn: Callable[[Array], Array],
  low: Array,
  high: Array,
  known: Array | None = None,
  most: int | None = None,
) -> LinearBound:
  """Bounds every output of `fn` from below on `low <= x <= high`.

  Args:
    fn: function of one array with value `[M]`, made of affine operations and
      maxima or minima of two.
    low: of the input.
    high: of the input.
    known: `[M]`, lower bounds that have been proved before, of a larger box.
    most: only so many outputs get lines, those whose bounds by intervals and
      `known` are the least; None means all, in their order.

  Returns:
    `LinearBound`, sound for `fn` as float32 computes it.

  Raises:
    ValueError: on any other operation, by name.
  """
  ops, boxes, slack = bounded(fn, low, high)
  proved = boxes[-1].low
  if known is not None:
    proved = jnp.maximum(proved, known)
  (num_outputs,) = proved.shape
  outputs = jnp.arange(num_outputs)
  if most is not None:
    outputs = jnp.argsort(proved)[:most]
  # What is still to be carried: coefficients of each operation's value.
  carried: dict[int, Array] = {len(ops) - 1: jnp.eye(num_outputs)[outputs]}
  const = jnp.zeros(len(outputs))

  for position in range(len(ops) - 1, 0, -1):
    coefs, op = carried.pop(position, None), ops[position]
    if coefs is None:
      continue
    inputs = [boxes[i] for i in op.inputs]
    if op.name in AFFINE:
      const -= _inner(jnp.abs(coefs), slack[position])
      parts, offset = _through_affine(op, coefs, inputs)
    elif op.name in ('max', 'min'):
      parts, offset = _through_maximum(op, coefs, inputs)
    else:
      raise ValueError(
        f'layer {op.name!r} has no linear bound; there are bounds of: '
        f'{", ".join(sorted({*AFFINE, "max", "min"}))}. Write a maximum over '
        'windows as models.max_pool, a leaky ReLU as jnp.maximum(t, 0.1 * t).'
      )
    const += offset
    for i, part in zip(op.inputs, parts, strict=True):
      if i in carried:
        part = carried[i] + part
        const -= _inner(jnp.abs(part), 2 * ROUNDOFF * largest(boxes[i]))
      carried[i] = part

  coefs = carried[0]
  low, high = boxes[0]
  least = jnp.minimum(coefs * low[None], coefs * high[None])
  lower = proved.at[outputs].max(const + _sum(least))
  return LinearBound(outputs, coefs, const, lower)


def _sum(terms: Array) -> Array:
  """Sums `[K, ...]` over all but the first axis, from below.

  What n additions in any order may lose is subtracted.
  """
  flat = terms.reshape(len(terms), -1)
  lost = 2 * ROUNDOFF * flat.shape[1] * jnp.abs(flat).sum(1)
  return flat.sum(1) - lost


def _inner(coefs: Array, values: Array | float) -> Array:
  """<coefs_m, values>; infinite values count only where they are looked at."""
  values = jnp.broadcast_to(jnp.asarray(values), coefs.shape[1:])[None]
  return _sum(jnp.where(coefs == 0, 0.0, coefs * values))


def _through_affine(op: Operation, coefs: Array, inputs: list[Box]):
  """Coefficients of the inputs of an affine operation, and its offset."""
  zeros = [jnp.zeros_like(box.low) for box in inputs]
  offset: Array
  offset, transpose = jax.vjp(op.__call__, *zeros)
  return jax.vmap(transpose)(coefs), _inner(coefs, offset)


def _through_maximum(op: Operation, coefs: Array, inputs: list[Box]):
  """The same of max(a, b) = b + max(a - b, 0), or of min = -max(-a, -b)."""
  sign = 1.0 if op.name == 'max' else -1.0
  first, second = (
    _signed(a if isinstance(a, Box) else Box(a, a), sign)
    for a in op.filled(*inputs)
  )
  gap = Box(first.low - second.high, first.high - second.low)
  lines = _lines(gap, largest(second))
  coefs = sign * coefs
  taken = jnp.where(
    coefs >= 0, coefs * lines.below[None], coefs * lines.above[None]
  )
  offset = _inner(jnp.minimum(coefs, 0.0), lines.offset)
  # The slopes, and products with them, are right to a few roundings.
  lost = _inner(jnp.abs(coefs), 8 * ROUNDOFF * lines.lost)
  parts = [sign * taken, sign * (coefs - taken)]
  for a, part in zip(op.operands, parts, strict=True):
    if a is not None:
      offset += _inner(part, a)
  kept = [p for a, p in zip(op.operands, parts, strict=True) if a is None]
  return kept, offset - lost


def _signed(box: Box, sign: float) -> Box:
  return box if sign > 0 else Box(-box.high, -box.low)


def _lines(gap: Box, second: Array) -> _Lines:
  """Lines of max(t, 0) for t in the gap; `second` is as large as |b| gets."""
  low, high = gap
  crosses = ~(low >= 0) & ~(high <= 0)  # so that NaN comes out as NaN
  width = jnp.where(crosses, high - low, 1.0)
  slope = jnp.where(crosses, high, 0.0) / width
  positive = jnp.where(low >= 0, 1.0, 0.0)
  above = jnp.where(crosses, slope, positive)
  nearer = jnp.where(high >= -low, 1.0, 0.0)
  below = jnp.where(crosses, nearer, positive)
  offset = jnp.where(crosses, -slope * jnp.where(crosses, low, 0.0), 0.0)
  lost = jnp.where(crosses, jnp.maximum(-low, high) + second, 0.0)
  return _Lines(below, above, offset, lost)

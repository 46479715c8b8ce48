"""What float32 may lose on the way through a network.

Two evaluations of a network that add up in different orders differ. Of a sum of
n products each is right to n roundings of their absolute values, so a
difference d of the operands, and what is lost anew, become

  |W| d + n u |W| |x|,   u = 2^-24,

and a maximum keeps the larger difference, of those operands that may be the
largest: what a network shuts off is not carried on.

>>> fn = lambda x: jnp.maximum(x[:2].sum() - x[2], 0.0)[None]
>>> x = jnp.float32([[1000.0, 1.0, 900.0], [1000.0, 2.0, 900.0]])
>>> values, lost = evaluated(fn, x)
>>> values.tolist(), 0 < float(lost[0]) < 0.01
([[101.0], [102.0]], True)

References:
  Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense.certify.interval import (
  PRODUCTS,
  ROUNDED,
  ROUNDOFF,
  SPARE,
  TINY,
  check,
  largest,
  magnitude,
  through,
)
from rdefense.certify.operations import Operation, num_terms, operations
from rdefense.certify.reachable import Box
from rdefense.types import Array

__all__ = ['evaluated', 'rounded']

_PLACES = ('gather', 'dynamic_slice')  # whose constants are positions


class _Rounded(NamedTuple):
  """Values in float32."""

  box: Box  # that holds them, however they are added up
  lost: Array  # how far apart two evaluations may be


def rounded(
  fn: Callable[[Array], Array], box: Box, lost: Array, again: int
) -> Array:
  """How far apart two evaluations of `fn` may be on a box.

  Args:
    fn: part of a network, of operations that `interval` knows.
    box: holds the operands of both.
    lost: how far apart these may be.
    again: of how many roundings the second evaluation is right, in any of its
      operations; the first makes as many as each operation adds up numbers.

  Returns:
    An array of the shape of the value.

  Raises:
    ValueError: on an operation of another kind, by name.
  """
  ops = operations(fn, box.low)
  found = [_Rounded(box, lost)]
  for op in ops[1:]:
    check(op)
    inputs = [found[i] for i in op.inputs]
    box = through(op, [each.box for each in inputs])
    found.append(_after(op, box, _lost(op, inputs, again)))
  return found[-1].lost


def evaluated(
  fn: Callable[[Array], Array], images: Array
) -> tuple[Array, Array]:
  """Values of some images, and how far off any other evaluation may be.

  Args:
    fn: a network on one image, of operations that `interval` knows.
    images: `[n, H, W, C]`.

  Returns:
    `(values [n, ...], lost [...])`; what may be lost is that of the worst of
    the images, found along with all of them.

  Raises:
    ValueError: as `rounded`.
  """
  ops = operations(fn, images[0])
  values = [images]
  found = [_Rounded(_ends(images), jnp.zeros_like(images[0]))]
  for op in ops[1:]:
    check(op)
    values.append(jax.vmap(op.__call__)(*(values[i] for i in op.inputs)))
    inputs = [found[i] for i in op.inputs]
    box = (
      _ends(values[-1])
      if op.name in PRODUCTS
      else through(op, [each.box for each in inputs])
    )
    found.append(_after(op, box, _lost(op, inputs, None)))
  return values[-1], found[-1].lost


def _ends(values: Array) -> Box:
  return Box(values.min(0), values.max(0))


def _after(op: Operation, box: Box, lost: Array) -> _Rounded:
  if op.name in ROUNDED:
    box = Box(box.low - lost, box.high + lost)
  return _Rounded(box, lost)


def _lost(op: Operation, inputs: list[_Rounded], again: int | None) -> Array:
  """Up to an operation's value; None says that it is evaluated twice alike."""
  if op.name not in ROUNDED:
    return _carried(op, inputs)
  sizes = [largest(each.box) for each in inputs]
  forward, _ = num_terms(op, [a.shape for a in sizes])
  again = forward if again is None else again
  error = (forward + again + SPARE) * ROUNDOFF
  if op.name in PRODUCTS:  # both at once
    (each,), (size,) = inputs, sizes
    return magnitude(op, [each.lost + error * size]) + TINY
  return _carried(op, inputs) + error * magnitude(op, sizes) + TINY


def _carried(op: Operation, inputs: list[_Rounded]) -> Array:
  """What is left in an operation's value of what its operands have lost."""
  lost = [each.lost for each in inputs]
  if op.name in _PLACES:
    return op(*lost)
  if op.name in ('max', 'min'):
    return _of_larger(op, inputs)
  if op.name == 'neg':
    return lost[0]
  exact = [None if a is None else jnp.zeros_like(a) for a in op.operands]
  op = op._replace(operands=tuple(exact))
  return sum(op.filled(*lost)) if op.name == 'sub' else op(*lost)


def _of_larger(op: Operation, inputs: list[_Rounded]) -> Array:
  """Of max(a, b): what those of the two have lost that may be the larger."""
  (a, lost_a), (b, lost_b) = (
    each
    if isinstance(each, _Rounded)
    else _Rounded(Box(each, each), jnp.zeros(()))
    for each in op.filled(*inputs)
  )
  if op.name == 'min':
    a, b = Box(-a.high, -a.low), Box(-b.high, -b.low)
  return jnp.maximum(
    jnp.where(a.high < b.low, 0.0, lost_a),
    jnp.where(b.high < a.low, 0.0, lost_b),
  )

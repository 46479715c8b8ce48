"""Interval bounds of a network over a box, outward whatever the rounding.

Every operation maps the box of its operands to a box that holds all values:
affine ones through W m and |W| r of the middle m and the radius r, monotone
ones through both ends. A box is widened by more than float32 errs by in the
operation, in whatever order its terms are added up: so the bounds hold for the
network as any device computes it at highest precision. The `slack` of linear
bounds is a little more, as they make other sums.

>>> import numpy as np
>>> fn = lambda x: jnp.maximum(x[0] - x[1], 0.0)[None]
>>> low, high = interval(fn, jnp.zeros(2), jnp.float32([1.0, 0.25]))
>>> round(float(high[0]), 3), -1e-6 < float(low[0]) < 0
(1.0, True)

References:
  Gowal, Dvijotham, Stanforth, Bunel, Qin, Uesato, Arandjelovic, Mann, Kohli,
  On the effectiveness of interval bound propagation for training verifiably
  robust models, 2018, https://arxiv.org/abs/1810.12715.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from rdefense.certify.operations import Operation, num_terms, operations
from rdefense.certify.reachable import Box
from rdefense.types import Array

__all__ = [
  'AFFINE',
  'MOVES',
  'PRODUCTS',
  'ROUNDED',
  'ROUNDOFF',
  'SPARE',
  'TINY',
  'Bounded',
  'bounded',
  'check',
  'interval',
  'largest',
  'magnitude',
  'through',
]

ROUNDOFF = 2.0**-24  # of float32, relative, to nearest
TINY = 1e-30  # more than is lost where numbers are too small for it
SPARE = 8  # roundings, for sums and differences of what is bounded

# Exact rearrangements of their operands.
MOVES = (
  'broadcast_in_dim',
  'concatenate',
  'convert_element_type',
  'copy',
  'dynamic_slice',
  'expand_dims',
  'gather',
  'pad',
  'reshape',
  'rev',
  'slice',
  'squeeze',
  'stack',
  'stop_gradient',
  'transpose',
)
PRODUCTS = ('mul', 'div', 'dot_general', 'conv_general_dilated')
_SUMS = ('reduce_sum', 'reduce_window_sum')
ROUNDED = (*PRODUCTS, *_SUMS, 'add', 'add_any', 'sub')
_LOSSY = (*ROUNDED, 'broadcast_in_dim', 'gather')  # or whose transposes are
_MONOTONE = (*MOVES, *_SUMS, 'add', 'add_any', 'max', 'min', 'reduce_max',
             'reduce_window_max')  # fmt: skip
# One factor of a product, and what is divided by, must not depend on the input.
AFFINE = (*MOVES, *_SUMS, *PRODUCTS, 'add', 'add_any', 'neg', 'sub')


class Bounded(NamedTuple):
  """A function's operations, each with the box of its values.

  Attributes:
    ops: the operations.
    boxes: of each.
    slack: of each, more than float32 errs by in it and in its transpose; 0.0
      where nothing is lost.
  """

  ops: list[Operation]
  boxes: list[Box]
  slack: list[Array | float]


def interval(
  fn: Callable[[Array], Array], low: Array, high: Array, outward: bool = True
) -> Box:
  """A box that holds `fn(x)` for every `low <= x <= high`.

  Args:
    fn: a network on one image, `[H, W, C] -> [num_classes]`, or any function
      of one array made of the operations named in an error of this function.
    low: of the input.
    high: of the input.
    outward: whether boxes are widened by what rounding may lose; certificates
      need it, training does not and runs faster without.

  Returns:
    `Box` of the shape of the value.

  Raises:
    ValueError: on an operation of another kind, by name.
  """
  return bounded(fn, low, high, outward).boxes[-1]


def bounded(
  fn: Callable[[Array], Array], low: Array, high: Array, outward: bool = True
) -> Bounded:
  """Boxes of all operations of `fn`; see `interval`."""
  ops = operations(fn, low)
  boxes = [Box(jnp.asarray(low), jnp.asarray(high))]
  slack: list[Array | float] = [0.0]
  for op in ops[1:]:
    check(op)
    inputs = [boxes[i] for i in op.inputs]
    lossy = outward and op.name in _LOSSY
    box, lost = _outward(op, inputs) if lossy else (through(op, inputs), 0.0)
    boxes.append(box)
    slack.append(lost)
  return Bounded(ops, boxes, slack)


def through(op: Operation, inputs: list[Box]) -> Box:
  """The box of an operation's values, rounding apart, from those of its inputs.

  The operation is one that has a bound.
  """
  if op.name in PRODUCTS:
    (box,) = inputs
    middle, radius = (box.low + box.high) / 2, (box.high - box.low) / 2
    middle, radius = op(middle), magnitude(op, [radius])
    return Box(middle - radius, middle + radius)
  # Falls where the operand after a minus rises.
  falls = [op.name == 'neg' or op.name == 'sub' and p == 1 for p in _places(op)]
  turned = [
    Box(b.high, b.low) if down else b
    for b, down in zip(inputs, falls, strict=True)
  ]
  return Box(op(*(b.low for b in turned)), op(*(b.high for b in turned)))


def _places(op: Operation) -> list[int]:
  """Of the operands that depend on the input."""
  return [i for i, a in enumerate(op.operands) if a is None]


def check(op: Operation) -> None:
  """Raises `ValueError` on an operation without a bound, by name."""
  if op.params.get('new_dtype', jnp.float32) != jnp.float32:  # of a cast
    raise ValueError(
      f'layer {op.name!r} to {op.params["new_dtype"]} has no bound: what '
      'depends on the input must stay float32.'
    )
  places = _places(op)
  factor = places in ([0], [1]) and (op.name, *places) != ('div', 1)
  if op.name in ('neg', 'sub', *_MONOTONE) or op.name in PRODUCTS and factor:
    return
  known = ', '.join(sorted({*_MONOTONE, *AFFINE}))
  raise ValueError(
    f'layer {op.name!r} with {len(places)} operands that depend on the input '
    f'has no bound; there are bounds of: {known}.'
  )


def largest(box: Box) -> Array:
  """Of the absolute values in a box."""
  return jnp.maximum(jnp.abs(box.low), jnp.abs(box.high))


def _outward(op: Operation, inputs: list[Box]) -> tuple[Box, Array]:
  """The box of an operation in float32, in any order of its sums, and slack.

  A sum of n products is right to n roundings of their absolute values. The
  network makes this error once and its box once more, of the middle and the
  radius together; `linear` makes it in the transpose, of other sums.
  """
  sizes = [largest(b) for b in inputs]
  # Where an end is infinite, as in the padding of a maximum, nothing is lost.
  finite = [jnp.where(jnp.isfinite(a), a, 0.0) for a in sizes]
  forward, backward = num_terms(op, [a.shape for a in finite])
  total = magnitude(op, finite)
  slack = (forward + max(forward, backward) + SPARE) * ROUNDOFF * total + TINY
  error = (2 * forward + SPARE) * ROUNDOFF
  if op.name in PRODUCTS:  # of which one operand is here: no product more
    inputs = [
      Box(b.low - error * a, b.high + error * a)
      for b, a in zip(inputs, finite, strict=True)
    ]
    box, lost = through(op, inputs), jnp.asarray(TINY)
  else:
    box, lost = through(op, inputs), error * total + TINY
  return Box(box.low - lost, box.high + lost), slack


def magnitude(op: Operation, absolutes: list[Array]) -> Array:
  """The operation on absolute values: the sum of what it adds up, unsigned."""
  if op.name == 'gather':  # whose constants are positions
    return op(*absolutes)
  unsigned = op._replace(
    operands=tuple(None if a is None else jnp.abs(a) for a in op.operands)
  )
  if op.name == 'sub':
    return sum(unsigned.filled(*absolutes))
  return unsigned(*absolutes)

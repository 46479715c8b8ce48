"""Which entries a layer's maxima are taken of.

Operations that take maxima, and rearrange them, are run on sets of positions:
what comes out says of each entry which ones before it is the maximum of.

>>> from rdefense.certify.operations import operations
>>> fn = lambda x: jnp.maximum(x, 0.0).reshape(2, 2).max(0)
>>> ops = operations(fn, jnp.zeros(4))
>>> sets, floor = windows(ops, 0, len(ops) - 1)
>>> sets.tolist(), floor.tolist()
([[0, 1], [2, 3]], [0.0, 0.0])
"""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.certify.operations import Operation, part, within

__all__ = ['MAXIMA', 'windows']

MAXIMA = ('max', 'reduce_max')


def windows(
  ops: list[Operation], begin: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
  """Of which entries each entry of a value is the maximum, and of what else.

  Args:
    ops: a network's; those from `begin` to `end` are maxima and moves.
    begin: the position whose entries are meant, flattened.
    end: the position of the value.

  Returns:
    `(windows [w, n], floor [n])`, the windows filled up by repetition.

  Raises:
    ValueError: where an entry is the maximum of constants alone.
  """
  shape = ops[begin].shape
  fn = part(ops, begin, end)
  floor = np.asarray(fn(jnp.full(shape, -jnp.inf))).reshape(-1)
  values = {begin: np.arange(np.prod(shape)).reshape(*shape, 1)}
  for position in within(ops, begin, end):
    op = ops[position]
    inputs = [values[i] for i in op.inputs]
    if op.name == 'max':
      parts = [np.broadcast_to(a, (*op.shape, a.shape[-1])) for a in inputs]
      value = np.concatenate(parts, -1)
    elif op.name == 'reduce_max':
      axes = tuple(op.params['axes'])
      last = tuple(range(-1 - len(axes), -1))
      value = np.moveaxis(inputs[0], axes, last).reshape(*op.shape, -1)
    else:
      value = _moved(op, inputs)
    values[position] = value
  found = values[end].reshape(len(floor), -1)
  # What a move fills in, -1, is part of the floor.
  found = np.where(found < 0, found.max(-1, keepdims=True), found)
  if found.min() < 0:
    raise ValueError('some entry of a layer is the maximum of constants alone.')
  found = np.sort(found, -1).T
  keep = np.ones(len(found), bool)
  keep[1:] = (found[1:] != found[:-1]).any(-1)
  return found[keep], floor


def _moved(op: Operation, inputs: list[np.ndarray]) -> np.ndarray:
  """A rearrangement of sets of entries; -1 for what it fills in."""
  if op.name in ('convert_element_type', 'copy', 'stop_gradient'):
    return inputs[0]
  fixed = tuple(
    a
    if a is None or jnp.issubdtype(jnp.result_type(a), jnp.integer)
    else jnp.full(jnp.shape(a), -1)
    for a in op.operands
  )
  widest = max(a.shape[-1] for a in inputs)
  sets = [
    jnp.asarray(np.take(a, np.arange(widest), -1, mode='clip')) for a in inputs
  ]
  move = op._replace(operands=fixed).__call__
  return np.asarray(jax.vmap(move, -1, -1)(*sets))

"""A network as the list of the operations that depend on its input.

Bounds (`interval`, `linear`) walk this list. It is read off the function's
jaxpr: calls are written out, whatever does not depend on the input is computed
on the spot, and what remains has one output and some operands that are earlier
entries of the list.

>>> import jax.numpy as jnp
>>> weights = jnp.ones((2, 3))
>>> fn = lambda x: jax.nn.relu(jnp.matmul(x, weights) + jnp.tanh(1.0))
>>> [op.name for op in operations(fn, jnp.zeros(2))]
['input', 'dot_general', 'add', 'max']
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Literal
from jax.extend.core.primitives import broadcast_in_dim_p
import jax.numpy as jnp

from rdefense.types import Array

__all__ = ['Operation', 'num_terms', 'operations', 'part', 'within']


# Of others, such as `scan` and `reduce`, an inner jaxpr is not the whole.
_CALLS = (
  'checkpoint',
  'closed_call',
  'core_call',
  'custom_jvp_call',
  'custom_vjp_call',
  'jit',
  'pjit',
  'remat',
  'remat2',
)
# They take scalars beside arrays.
_ENTRYWISE = ('add', 'add_any', 'div', 'max', 'min', 'mul', 'sub')


class Operation(NamedTuple):
  """One operation of a function of one array.

  Attributes:
    primitive: of JAX; None for the first of the list, the input.
    params: of the primitive.
    operands: of the primitive, None where it depends on the input.
    inputs: positions in the list of the operands that are None.
    shape: of the value.
  """

  primitive: Any
  params: dict[str, Any]
  operands: tuple[Any, ...]
  inputs: tuple[int, ...]
  shape: tuple[int, ...]

  @property
  def name(self) -> str:
    return self.primitive.name if self.primitive else 'input'

  @property
  def constant(self) -> Any:
    """The one operand that does not depend on the input."""
    (constant,) = (a for a in self.operands if a is not None)
    return constant

  def __call__(self, *inputs: Array) -> Array:
    """The value, from those of the inputs."""
    return self.primitive.bind(*self.filled(*inputs), **self.params)

  def filled(self, *inputs: Any) -> list[Any]:
    """The operands, with the inputs in their places."""
    rest = iter(inputs)
    return [next(rest) if a is None else a for a in self.operands]


class _Entry(NamedTuple):
  """Stands for a value that depends on the input."""

  position: int


def operations(fn: Callable[[Array], Array], x: Array) -> list[Operation]:
  """All operations of `fn(x)` that depend on `x`, the last one its value.

  Args:
    fn: function of one array, with one array as its value; may close over
      traced parameters.
    x: of the input's shape and dtype; its values do not matter.

  Raises:
    ValueError: where the value does not depend on `x`, or an operation on
      which it depends has several outputs.
  """
  with jax.default_matmul_precision('highest'):
    closed = jax.make_jaxpr(fn)(x)
  shape = tuple(jnp.shape(x))
  found = [Operation(None, {}, (), (), shape)]
  (out,) = _walk(closed.jaxpr, closed.consts, [_Entry(0)], found)
  if not isinstance(out, _Entry):
    raise ValueError('the function does not depend on its input.')
  return found[: out.position + 1]


def _walk(jaxpr, consts, arguments, found: list[Operation]) -> list:
  values = dict(zip(jaxpr.constvars, consts, strict=True))
  values |= dict(zip(jaxpr.invars, arguments, strict=True))

  def read(atom):
    return atom.val if isinstance(atom, Literal) else values[atom]

  for eqn in jaxpr.eqns:
    operands = [read(atom) for atom in eqn.invars]
    inner = _called(eqn)
    if inner is not None:
      outputs = _walk(inner.jaxpr, inner.consts, operands, found)
    elif any(isinstance(a, _Entry) for a in operands):
      outputs = [_append(eqn, operands, found)]
    else:
      out = eqn.primitive.bind(*operands, **eqn.params)
      outputs = out if eqn.primitive.multiple_results else [out]
    values |= dict(zip(eqn.outvars, outputs, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _called(eqn):
  """The jaxpr of a call that is no more than its body, or None."""
  if eqn.primitive.name not in _CALLS:
    return None
  inner = eqn.params.get('call_jaxpr', eqn.params.get('jaxpr'))
  return inner if hasattr(inner, 'consts') else ClosedJaxpr(inner, ())


def _append(eqn, operands, found: list[Operation]) -> _Entry:
  if len(eqn.outvars) != 1:
    raise ValueError(
      f'layer {eqn.primitive.name!r} has {len(eqn.outvars)} outputs, which no '
      'bound supports.'
    )
  shape = tuple(eqn.outvars[0].aval.shape)
  if eqn.primitive.name in _ENTRYWISE:
    operands = [_spread(a, shape, found) for a in operands]
  inputs = tuple(a.position for a in operands if isinstance(a, _Entry))
  fixed = tuple(None if isinstance(a, _Entry) else a for a in operands)
  found.append(Operation(eqn.primitive, eqn.params, fixed, inputs, shape))
  return _Entry(len(found) - 1)


def _spread(operand, shape: tuple[int, ...], found: list[Operation]):
  """A scalar that depends on the input, as an array of a shape."""
  is_scalar = isinstance(operand, _Entry) and not found[operand.position].shape
  if not is_scalar or not shape:
    return operand
  params = {'shape': shape, 'broadcast_dimensions': (), 'sharding': None}
  found.append(
    Operation(broadcast_in_dim_p, params, (None,), (operand.position,), shape)
  )
  return _Entry(len(found) - 1)


def within(ops: list[Operation], begin: int, end: int) -> list[int]:
  """Positions up to `end` of what depends on nothing but operation `begin`.

  Raises:
    ValueError: where `end` depends on an earlier operation as well.
  """
  known = {begin}
  for position in range(begin + 1, end + 1):
    if set(ops[position].inputs) <= known:
      known.add(position)
  if end not in known:
    raise ValueError(f'layer {ops[end].name!r} joins values of two depths.')
  return sorted(known - {begin})


def part(
  ops: list[Operation], begin: int, end: int
) -> Callable[[Array], Array]:
  """The value of operation `end`, from that of `begin`.

  Raises:
    ValueError: as `within`.
  """
  positions = within(ops, begin, end)

  def fn(x: Array) -> Array:
    values = {begin: x}
    for position in positions:
      op = ops[position]
      values[position] = op(*(values[i] for i in op.inputs))
    return values[end]

  return fn


def num_terms(op: Operation, shapes: list[tuple[int, ...]]) -> tuple[int, int]:
  """How many numbers an operation adds up for one of its, and its transpose.

  Args:
    op: the operation.
    shapes: of its inputs.

  Returns:
    `(forward, backward)`, 1 where nothing is added up.
  """
  match op.name:
    case 'dot_general':
      shape = jnp.shape(op.constant)
      (left, right), _ = op.params['dimension_numbers']
      axes = left if op.operands[1] is None else right
      summed = math.prod(shape[a] for a in axes)
      return summed, math.prod(shape) // summed
    case 'conv_general_dilated':
      shape = jnp.shape(op.constant)
      outputs, inputs = op.params['dimension_numbers'].rhs_spec[:2]
      whole = math.prod(shape)
      return whole // shape[outputs], whole // shape[inputs]
    case 'reduce_sum':
      return math.prod(shapes[0]) // max(1, math.prod(op.shape)), 1
    case 'broadcast_in_dim':
      return 1, math.prod(op.shape) // max(1, math.prod(shapes[0]))
    case 'gather':
      return 1, math.prod(op.shape)
    case 'reduce_window_sum':
      size = math.prod(op.params['window_dimensions'])
      return size, size
  return 1, 1

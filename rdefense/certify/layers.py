"""A network as layers of blocks: sums over groups of entries, then maxima.

Up to its first dense layer a convolutional classifier alternates two things,

  t_e = b_e + sum_r  phi_r A[r, e]        affine: convolutions, biases, means
  phi_o = max(floor_o, max_{e in E_o} t_e)     ReLU and max-pooling

where r runs over groups of entries of the layer before: pixels at first, then
entries that depend on the same groups, such as the channels at a place. Most
blocks A[r, .] are zero, as convolutions are local. `layered` reads all of this
off the function itself, whatever its layers are called.

>>> import jax.numpy as jnp
>>> weights = jnp.float32([[1.0, -1.0], [2.0, 0.0]])
>>> fn = lambda x: jnp.maximum(jnp.matmul(x.reshape(-1), weights), 0.0) + 1.0
>>> found = layered(fn, jnp.zeros((1, 2, 1)))
>>> len(found.layers), len(found.sums.blocks), found.head(jnp.zeros(2)).tolist()
(0, 2, [1.0, 1.0])
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.certify.interval import AFFINE, MOVES, PRODUCTS
from rdefense.certify.operations import Operation, operations
from rdefense.types import Array

__all__ = ['Affine', 'Group', 'Layer', 'Layered', 'layered']

_MAXIMA = ('max', 'reduce_max')


class Affine(NamedTuple):
  """t = bias + sum over groups r of phi_r @ blocks[r].

  Attributes:
    bias: `[E]`, float32.
    blocks: for each group the entries it reaches, and its matrix
      `[len(group), len(entries)]`.
  """

  bias: np.ndarray
  blocks: list[tuple[np.ndarray, np.ndarray]]


class Group(NamedTuple):
  """Entries of a layer that depend on the same groups of the one before.

  Attributes:
    entries: of the layer's value, flattened, `[n]`.
    windows: of each, entries of the sum it is the maximum of, `[w, n]`.
    floor: what it is at least, `[n]`.
    sources: the groups before that they depend on, `[s]`.
    matrices: what `windows` takes of each, `[len(source), w * n]`.
    bias: `[w * n]`.
  """

  entries: np.ndarray
  windows: np.ndarray
  floor: np.ndarray
  sources: np.ndarray
  matrices: list[np.ndarray]
  bias: np.ndarray


Layer = list[Group]


class Layered(NamedTuple):
  """A network as layers, the sums behind them, and the rest.

  Attributes:
    layers: each a list of groups; the first layer's sources are pixels.
    sums: of the last layer's groups (of pixels, where there is no layer): the
      first dense layer before its non-linearity.
    head: the rest of the network, from those sums to its value.
  """

  layers: list[Layer]
  sums: Affine
  head: Callable[[Array], Array]


def layered(fn: Callable[[Array], Array], x: Array) -> Layered:
  """Reads the layers of `fn` off its operations.

  Args:
    fn: a network of one image, `[H, W, C] -> [num_classes]`.
    x: of the image's shape and dtype; its values do not matter.

  Raises:
    ValueError: where a layer adds, or takes the maximum of, values of two
      depths, as a residual connection does, or is neither affine nor a
      maximum, before the first dense layer.
  """
  ops = operations(fn, x)
  cuts = _cuts(ops)
  height, width, channels = x.shape
  groups = list(np.arange(x.size).reshape(height * width, channels))
  layers = []
  for begin, middle, end in zip(cuts[::2], cuts[1::2], cuts[2::2]):
    affine = _affine(_between(ops, begin, middle), ops[begin].shape, groups)
    windows, floor = _maxima(ops, middle, end)
    layers.append(_grouped(affine, windows, floor))
    groups = [group.entries for group in layers[-1]]
  begin, end = cuts[-2:]
  sums = _affine(_between(ops, begin, end), ops[begin].shape, groups)
  rest, shape = _between(ops, end, len(ops) - 1), ops[end].shape
  return Layered(layers, sums, lambda h: rest(h.reshape(shape)))


def _between(
  ops: list[Operation], begin: int, end: int
) -> Callable[[Array], Array]:
  """The value of operation `end`, from that of `begin`."""
  known = {begin}
  for position in range(begin + 1, end + 1):
    if set(ops[position].inputs) <= known:
      known.add(position)
  if end not in known:
    raise ValueError(f'layer {ops[end].name!r} joins values of two depths.')

  def fn(x: Array) -> Array:
    values = {begin: x}
    for position in sorted(known - {begin}):
      op = ops[position]
      values[position] = op(*(values[i] for i in op.inputs))
    return values[end]

  return fn


def _is_affine(op: Operation) -> bool:
  fixed = len(op.inputs) == 1 and (op.name != 'div' or op.operands[0] is None)
  return op.name in AFFINE and (op.name not in PRODUCTS or fixed)


def _cuts(ops: list[Operation]) -> list[int]:
  """Positions where sums end and maxima end, by turns; first the input.

  The last ones end the sums that the first dense layer is part of, or the last
  sums of all. Moves go with what follows them.
  """
  depths, cuts, dense = [0], [0], False
  for position, op in enumerate(ops[1:], 1):
    depth = max(depths[i] for i in op.inputs)
    if op.name not in MOVES:
      if dense and not _is_affine(op):
        break
      if not _is_affine(op) and op.name not in _MAXIMA:
        raise ValueError(
          f'layer {op.name!r} comes before the first dense layer, and is '
          'neither affine nor a maximum.'
        )
      depth += depth % 2 != _is_affine(op)
      if depth == 0:
        raise ValueError(f'layer {op.name!r} comes before the first sum.')
      dense |= op.name == 'dot_general'
      cuts[depth:] = [position]
    depths.append(depth)
  return cuts[: len(cuts) // 2 * 2]


def _affine(
  fn: Callable[[Array], Array], shape: tuple[int, ...], groups: list[np.ndarray]
) -> Affine:
  """Its bias, and the columns of its Jacobian that are not zero."""
  bias, linear = jax.linearize(fn, jnp.zeros(shape))
  size = int(np.prod(shape))

  @jax.jit
  def rows(entries: Array) -> Array:
    basis = jax.nn.one_hot(entries, size).reshape(-1, *shape)
    with jax.default_matmul_precision('highest'):
      return jax.vmap(linear)(basis).reshape(len(entries), -1)

  blocks = []
  for group in groups:
    matrix = np.asarray(rows(group))
    reached = np.flatnonzero(matrix.any(0))
    blocks.append((reached, matrix[:, reached]))
  return Affine(np.asarray(bias).reshape(-1), blocks)


def _maxima(
  ops: list[Operation], begin: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
  """Of which entries each entry of a value is the maximum, and of what else.

  Returns:
    `(windows [w, n], floor [n])`, the windows filled up by repetition.
  """
  shape = ops[begin].shape
  fn = _between(ops, begin, end)
  floor = np.asarray(fn(jnp.full(shape, -jnp.inf))).reshape(-1)
  values = {begin: np.arange(np.prod(shape)).reshape(*shape, 1)}
  for position in range(begin + 1, end + 1):
    op = ops[position]
    if not set(op.inputs) <= set(values):
      continue
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
  windows = values[end].reshape(len(floor), -1)
  # What a move fills in, -1, is part of the floor.
  windows = np.where(windows < 0, windows.max(-1, keepdims=True), windows)
  if windows.min() < 0:
    raise ValueError('some entry of a layer is the maximum of constants alone.')
  windows = np.sort(windows, -1).T
  keep = np.ones(len(windows), bool)
  keep[1:] = (windows[1:] != windows[:-1]).any(-1)
  return windows[keep], floor


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


def _grouped(affine: Affine, windows: np.ndarray, floor: np.ndarray) -> Layer:
  """The entries of a layer by the groups that they depend on."""
  reaches = np.zeros((len(affine.blocks), len(affine.bias)), bool)
  for reach, (entries, _) in zip(reaches, affine.blocks, strict=True):
    reach[entries] = True
  depends = np.any(reaches[:, windows], axis=1)  # [groups, n]
  packed = np.packbits(depends, axis=0).T
  _, first, owner = np.unique(
    packed, axis=0, return_index=True, return_inverse=True
  )
  owner = owner.reshape(-1)
  by_owner = np.split(
    np.argsort(owner, kind='stable'), np.cumsum(np.bincount(owner))[:-1]
  )
  layer = []
  for representative, entries in zip(first, by_owner, strict=True):
    wanted = windows[:, entries]
    flat = wanted.reshape(-1)
    sources = np.flatnonzero(depends[:, representative])
    matrices = []
    for reached, matrix in (affine.blocks[r] for r in sources):
      where = np.searchsorted(reached, flat).clip(max=len(reached) - 1)
      hit = reached[where] == flat
      matrices.append(np.where(hit, matrix[:, where], np.float32(0)))
    layer.append(
      Group(
        entries, wanted, floor[entries], sources, matrices, affine.bias[flat]
      )
    )
  return layer

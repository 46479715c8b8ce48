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

from rdefense.certify.interval import AFFINE, MOVES, PRODUCTS, ROUNDED
from rdefense.certify.operations import (
  Operation,
  num_terms,
  operations,
  part,
  within,
)
from rdefense.certify.windows import MAXIMA, windows
from rdefense.types import Array

__all__ = ['Affine', 'Group', 'Layer', 'Layered', 'Step', 'layered']


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


class Step(NamedTuple):
  """A layer, or the sums, as the network itself computes it.

  Attributes:
    fn: from the entries before, flattened, to its own.
    again: of how many roundings each sum is right by the blocks, in any order;
      their own entries have been rounded too.
  """

  fn: Callable[[Array], Array]
  again: int


class Layered(NamedTuple):
  """A network as layers, the sums behind them, and the rest.

  Attributes:
    layers: each a list of groups; the first layer's sources are pixels.
    sums: of the last layer's groups (of pixels, where there is no layer): the
      first dense layer before its non-linearity.
    head: the rest of the network, from those sums to its value.
    groups: the entries of the pixels, then of each layer's groups.
    steps: of each layer, then of the sums.
  """

  layers: list[Layer]
  sums: Affine
  head: Callable[[Array], Array]
  groups: list[list[np.ndarray]]
  steps: list[Step]


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
  groups = [list(np.arange(x.size).reshape(height * width, channels))]
  layers, steps = [], []
  for begin, middle, end in zip(cuts[::2], cuts[1::2], cuts[2::2]):
    affine = _affine(part(ops, begin, middle), ops[begin].shape, groups[-1])
    layers.append(_grouped(affine, *windows(ops, middle, end)))
    deepest = max((group.matrices for group in layers[-1]), key=_depth)
    steps.append(_step(ops, begin, end, deepest))
    groups.append([group.entries for group in layers[-1]])
  begin, end = cuts[-2:]
  sums = _affine(part(ops, begin, end), ops[begin].shape, groups[-1])
  steps.append(_step(ops, begin, end, [m for _, m in sums.blocks]))
  head = _flat(part(ops, end, len(ops) - 1), ops[end].shape)
  return Layered(layers, sums, head, groups, steps)


def _flat(
  fn: Callable[[Array], Array], shape: tuple[int, ...]
) -> Callable[[Array], Array]:
  """The function of a flattened array, its value flattened as well."""
  return lambda x: fn(x.reshape(shape)).reshape(-1)


def _depth(matrices: list[np.ndarray]) -> int:
  """How many additions follow each other: within a block, then of blocks."""
  return max(map(len, matrices), default=0) + len(matrices)


def _step(
  ops: list[Operation], begin: int, end: int, matrices: list[np.ndarray]
) -> Step:
  """Counts what blocks round: their sums, and all but the first of products."""
  rounded = [
    num_terms(op, [ops[i].shape for i in op.inputs])[0]
    for op in (ops[position] for position in within(ops, begin, end))
    if op.name in ROUNDED
  ]
  fn = _flat(part(ops, begin, end), ops[begin].shape)
  return Step(fn, _depth(matrices) + sum(rounded[1:]))


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
      if not _is_affine(op) and op.name not in MAXIMA:
        raise ValueError(
          f'layer {op.name!r} comes before the first dense layer, and is '
          f'neither affine nor of: {", ".join(MAXIMA)}. Windows are taken '
          'maxima of by models.max_pool.'
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

"""Bounds of a network that know what nearby pixels do: tables of intervals.

An entry of a feature map depends on few pixels with a choice of codes, so it
can be tabulated: a row for each pattern of them. Where they are too many, a
table has rows for the patterns of those that matter most, and an interval for
whatever the others do. Sums of tables, and maxima of such sums, are tables
again, of more pixels; no table has more than `max_patterns` rows.

Behind the convolutions stands the first dense layer, h = b + sum_p phi_p W_p.
Each h_j lies between the sums of the least and of the largest rows of phi_p
W_p; over that box the rest of the network, from h, has linear lower bounds
(`linear`), and a linear function of h is again a sum of tables,

  margin_m >= const_m + sum_p phi_p W_p coefs_m,

whose least value is found by elimination. So only the dense part is relaxed,
where all convolutions are tabulated without intervals.

References:
  Paper A, section 4, whose certificates enumerate S(x); PROTOCOL A12.
"""

from collections.abc import Callable, Iterable
import math
from typing import NamedTuple

import numpy as np

from rdefense.certify.elimination import Term, broadcast
from rdefense.certify.layers import Affine, Group, Layered

__all__ = [
  'Table',
  'ends',
  'num_images',
  'ranges',
  'summed',
  'tabulated',
  'terms',
]


class Table(NamedTuple):
  """What a group of entries can be, for each pattern of some pixels' codes.

  Attributes:
    pixels: in ascending order.
    low: `[n_1, ..., n_b, e]`, an axis for each pixel, one for the entries.
    high: of the same shape; the same array where nothing is left open.
  """

  pixels: tuple[int, ...]
  low: np.ndarray
  high: np.ndarray

  @property
  def rows(self) -> int:
    return self.low[..., 0].size


def num_images(allowed: np.ndarray) -> int:
  """How many images a node has, exactly."""
  return math.prod(allowed.sum(-1).reshape(-1).tolist())


def tabulated(
  network: Layered, codes: np.ndarray, allowed: np.ndarray, max_patterns: int
) -> list[list[Table]]:
  """Tables of the pixels, then of the entries of each layer.

  Args:
    network: the classifier.
    codes: `[k, C]`.
    allowed: `[H, W, k]`, bool, some code for every pixel.
    max_patterns: rows of a table, at most.

  Returns:
    One table for each of `network.groups`; the last are in front of the first
    dense layer.
  """
  options = [codes[a] for a in allowed.reshape(-1, len(codes))]
  tables = []
  for pixel, values in enumerate(options):
    values = np.asarray(values, np.float32)
    own = (pixel,) if len(values) > 1 else ()
    values = values if own else values[0]
    tables.append(Table(own, values, values))
  found = [tables]
  for layer in network.layers:
    tables = [_maxima(group, tables, max_patterns) for group in layer]
    found.append(tables)
  return found


def ends(
  groups: list[np.ndarray], tables: list[Table]
) -> tuple[np.ndarray, np.ndarray]:
  """The least and the largest of each entry, over the patterns: `[E]` each."""
  low = np.empty(sum(map(len, groups)), np.float32)
  high = np.empty_like(low)
  for entries, table in zip(groups, tables, strict=True):
    low[entries] = table.low.reshape(-1, len(entries)).min(0)
    high[entries] = table.high.reshape(-1, len(entries)).max(0)
  return low, high


def ranges(sums: Affine, tables: list[Table]) -> tuple[np.ndarray, np.ndarray]:
  """A box that holds the sums: added up are least rows, and largest rows."""
  low, high = sums.bias.astype(np.float64), sums.bias.astype(np.float64)
  for (entries, matrix), table in zip(sums.blocks, tables, strict=True):
    if len(entries):
      product = _product(table, matrix)
      flat = [a.reshape(-1, len(entries)) for a in (product.low, product.high)]
      low[entries] += flat[0].min(0)
      high[entries] += flat[1].max(0)
  return low.astype(np.float32), high.astype(np.float32)


def summed(sums: Affine, tables: list[Table]) -> Table:
  """The sums of every image, from tables that leave nothing open.

  Raises:
    ValueError: where some table holds intervals.
  """
  if any(table.high is not table.low for table in tables):
    raise ValueError('tables hold intervals: their sums are of no image.')
  products, base = [], sums.bias
  for (entries, matrix), table in zip(sums.blocks, tables, strict=True):
    full = np.zeros((len(matrix), len(base)), np.float32)
    full[:, entries] = matrix
    product = _product(table, full)
    if table.pixels:
      products.append(product)
    else:
      base = base + product.low
  parts = [(table.pixels, table.low) for table in products]
  sizes = _sizes(products)
  total = _total(base, parts, set(sizes), sizes)
  return Table(tuple(sorted(sizes)), total, total)


def terms(
  sums: Affine,
  tables: list[Table],
  coefs: np.ndarray,
  lost: list[np.ndarray],
) -> list[Term]:
  """Lower bounds of linear functions of the sums without their bias.

  Args:
    sums: the first dense layer.
    tables: of its groups.
    coefs: `[M, H]`.
    lost: of each group, what its entries may be off by.

  Returns:
    For each table its pixels and a table `[..., M]`, the lower ends; their
    sum is below the functions.
  """
  found = []
  for (entries, matrix), table, off in zip(
    sums.blocks, tables, lost, strict=True
  ):
    # In float64, as sums over all entries come before those over groups.
    slopes = matrix.astype(np.float64) @ coefs[:, entries].T
    low = _product(table, slopes).low - off @ np.abs(slopes)
    found.append((table.pixels, low))
  return found


def _product(table: Table, matrix: np.ndarray) -> Table:
  low, high = (a.reshape(-1, len(matrix)) for a in (table.low, table.high))
  shape = (*table.low.shape[:-1], matrix.shape[1])
  if table.high is table.low:
    value = (low @ matrix).reshape(shape)
    return Table(table.pixels, value, value)
  middle, radius = (low + high) / 2 @ matrix, (high - low) / 2 @ np.abs(matrix)
  return Table(
    table.pixels, (middle - radius).reshape(shape),
    (middle + radius).reshape(shape),
  )  # fmt: skip


def _maxima(group: Group, tables: list[Table], max_patterns: int) -> Table:
  """The table of a layer's group: maxima of sums of those before."""
  base = group.bias
  products = []
  for r, matrix in zip(group.sources, group.matrices, strict=True):
    table = tables[r]
    if table.pixels or table.high is not table.low:
      products.append(_product(table, matrix))
    else:
      base = base + table.low @ matrix
  pixels = _strongest(products, max_patterns)
  sizes = _sizes(products)
  exact = all(t.high is t.low and set(t.pixels) <= pixels for t in products)
  ends = []
  for end, reduce in ((0, np.min), (1, np.max))[: 1 if exact else 2]:
    parts = [
      _kept(t, t.high if end else t.low, pixels, reduce) for t in products
    ]
    ends.append(_pooled(group, _total(base, parts, pixels, sizes)))
  return Table(tuple(sorted(pixels)), ends[0], ends[-1])


def _sizes(tables: Iterable[Table]) -> dict[int, int]:
  return {
    pixel: size for table in tables
    for pixel, size in zip(table.pixels, table.low.shape[:-1], strict=True)
  }  # fmt: skip


def _strongest(products: list[Table], max_patterns: int) -> set[int]:
  """The pixels that move the sums most, as many as `max_patterns` allows."""
  sizes = _sizes(products)
  if math.prod(sizes.values()) <= max_patterns:
    return set(sizes)
  moved = dict.fromkeys(sizes, 0.0)
  for table in products:
    for axis, pixel in enumerate(table.pixels):
      moved[pixel] += float((table.low.max(axis) - table.low.min(axis)).mean())
  chosen, count = set(), 1
  for pixel in sorted(sizes, key=lambda pixel: -moved[pixel]):
    if count * sizes[pixel] <= max_patterns:
      chosen.add(pixel)
      count *= sizes[pixel]
  return chosen


def _kept(
  table: Table,
  values: np.ndarray,
  pixels: set[int],
  reduce: Callable[..., np.ndarray],
) -> Term:
  """The values by patterns of the chosen pixels, the worst of the others."""
  weak = tuple(i for i, v in enumerate(table.pixels) if v not in pixels)
  return tuple(v for v in table.pixels if v in pixels), reduce(values, weak)


def _total(
  base: np.ndarray, parts: list[Term], pixels: set[int], sizes: dict[int, int]
) -> np.ndarray:
  """The sum of all parts, small ones added to larger ones of their pixels."""
  by_pixels: dict[tuple[int, ...], np.ndarray] = {}
  for own, values in parts:
    by_pixels[own] = by_pixels[own] + values if own in by_pixels else values
  for own in sorted(by_pixels, key=len):
    above = [v for v in by_pixels if len(v) > len(own) and {*own} < {*v}]
    if above:
      largest = max(above, key=len)
      small = broadcast((own, by_pixels.pop(own)), largest)
      by_pixels[largest] = by_pixels[largest] + small
  every = sorted(pixels)
  total = np.empty((*(sizes[v] for v in every), len(base)), np.float32)
  total[...] = base
  for own, values in by_pixels.items():
    total += broadcast((own, values), every)
  return total


def _pooled(group: Group, sums: np.ndarray) -> np.ndarray:
  windows = sums.reshape(*sums.shape[:-1], *group.windows.shape)
  return np.maximum(windows.max(-2), group.floor)

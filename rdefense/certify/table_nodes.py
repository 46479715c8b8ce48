"""What branch and bound asks of one node, answered by tables.

The counterpart of `nodes.examine` for networks that `layers.layered` can read,
on the host: tables are of as many shapes as there are images. The margins are
bounded over all images of the node,

  l_y - l_m >= const_m + sum_p g_mp(pixels near p),

the least of that sum is found, or bounded, by elimination, and the pixels'
codes that it comes from are the corner to try. Where that does not settle a
node with no more images than a table has rows, all of them are evaluated: the
dense layer's sums are those of the tables. What float32 may lose, in the tables
and in the network itself, is carried along (`rounding`) and subtracted: the
bounds hold for the network as any device computes it at highest precision.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.certify import tables
from rdefense.certify.elimination import Term, least_sum
from rdefense.certify.interval import interval
from rdefense.certify.layers import Layered, Step
from rdefense.certify.linear import linear
from rdefense.certify.nodes import Examined, Tried, least_margin
from rdefense.certify.reachable import Box
from rdefense.certify.rounding import rounded
from rdefense.losses import margin, margins
from rdefense.types import Array, PyTree

__all__ = ['examine']

_MAX_ENTRIES = 2**16  # of tables of one number, when one is made of several


@functools.lru_cache(maxsize=16)
def _bound(head: Callable[[Array], Array]):
  def fn(low, high, label):
    return linear(lambda h: margins(head(h), label), low, high)

  return jax.jit(fn)


@functools.lru_cache(maxsize=16)
def _least(head: Callable[[Array], Array]):
  def one(low, high, label):
    box = interval(lambda h: margins(head(h), label), low, high)
    return least_margin(box.low, label)

  return jax.jit(jax.vmap(one, (0, 0, None)))


@functools.lru_cache(maxsize=64)
def _lost(step: Step):
  def fn(low, high, lost):
    box = Box(low - lost, high + lost)
    return rounded(step.fn, box, lost, step.again)

  return jax.jit(fn)


@functools.lru_cache(maxsize=16)
def _margin(apply: Callable[[PyTree, Array], Array]):
  def fn(params, z, label):
    with jax.default_matmul_precision('highest'):
      return margin(apply(params, z), label)

  return jax.jit(fn)


class _Losses(NamedTuple):
  """How far float32 may be from the tables, and they from what they stand for.

  Attributes:
    entries: of each group in front of the sums, `[e]` each.
    own: `[H]`, of the sums, where the entries before are known.
    whole: `[H]`, of the sums.
  """

  entries: list[np.ndarray]
  own: np.ndarray
  whole: np.ndarray


# What is beyond float32 becomes infinite or NaN, and proves nothing.
@np.errstate(over='ignore', invalid='ignore')
def examine(
  apply: Callable[[PyTree, Array], Array],
  params: PyTree,
  network: Layered,
  codes: np.ndarray,
  allowed: np.ndarray,
  label: Any,
  max_patterns: int,
) -> Examined:
  """Bounds a node, tries its worst corner where needed, and splits it.

  Args:
    apply: `(params, z) -> logits`.
    params: of the classifier.
    network: the same classifier as `layered` reads it.
    codes: `[k, C]`.
    allowed: `[H, W, k]`, bool, some code for every pixel.
    label: the right class.
    max_patterns: rows of a table, and images to enumerate, at most.

  Returns:
    `nodes.Examined`; a margin of infinity where the bound is positive, as there
    is nothing to try. Minus infinity is the bound where nothing is known.
  """
  found, losses = _tabulated(network, codes, allowed, max_patterns)
  low, high = tables.ranges(network.sums, found)
  bound = _bound(network.head)(low - losses.whole, high + losses.whole, label)
  coefs, const = (np.asarray(a, np.float64) for a in bound[1:3])
  const = const + coefs @ network.sums.bias - np.abs(coefs) @ losses.own
  summed = tables.terms(network.sums, found, coefs, losses.entries)
  # Minima apart from each other are below the least sum, and often enough.
  apart = _known(
    const + sum(values.reshape(-1, len(const)).min(0) for _, values in summed)
  )
  apart[int(label)] = np.inf
  worst, choice = int(apart.argmin()), {}
  for m in np.argsort(apart):
    if apart[m] > 0:
      break
    least = least_sum(_of(summed, m), _MAX_ENTRIES)
    apart[m], worst, choice = _known(const[m] + least.bound), m, least.choice
    if not apart[m] > 0:
      break  # a node to split, whatever the other classes are
  if not apart.min() > 0 and tables.num_images(allowed) <= max_patterns:
    least_of_all, choice = _enumerated(network, found, losses.whole, label)
    apart = np.maximum(apart, least_of_all)
  ordered = np.argsort(~allowed, axis=-1, kind='stable')
  chosen = ordered[..., 0].copy()
  for pixel, number in choice.items():
    row, column = divmod(pixel, chosen.shape[1])
    chosen[row, column] = ordered[row, column, number]
  least_margin = jnp.inf
  if not apart.min() > 0:
    z = np.asarray(codes)[chosen]
    least_margin = _margin(apply)(params, z, label)
  halves = _split(allowed, ordered, _of(summed, worst))
  tried = Tried(jnp.asarray(least_margin), jnp.asarray(chosen, jnp.int32))
  return Examined(jnp.asarray(apart, jnp.float32), tried, jnp.asarray(halves))


def _known(bounds: Any) -> Any:
  """Lower bounds; NaN, of numbers beyond float32, is none."""
  return np.fmax(bounds, -np.inf)


def _tabulated(
  network: Layered, codes: np.ndarray, allowed: np.ndarray, max_patterns: int
) -> tuple[list[tables.Table], _Losses]:
  """Tables of the entries in front of the sums, and what is lost so far."""
  lost = np.zeros(allowed[..., 0].size * codes.shape[1], np.float32)
  found = tables.tabulated(network, codes, allowed, max_patterns)
  *layers, sums = network.steps
  for step, groups, of_groups in zip(layers, network.groups, found):
    lost = np.asarray(_lost(step)(*tables.ends(groups, of_groups), lost))
  groups, last = network.groups[-1], found[-1]
  low, high = tables.ends(groups, last)
  whole = np.asarray(_lost(sums)(low, high, lost))
  own = np.asarray(_lost(sums)(low - lost, high + lost, np.zeros_like(lost)))
  return last, _Losses([lost[entries] for entries in groups], own, whole)


def _enumerated(
  network: Layered, found: list[tables.Table], lost: np.ndarray, label: Any
) -> tuple[float, dict[int, int]]:
  """The least margin of all images, from below, and the codes it comes from."""
  total = tables.summed(network.sums, found)
  sums = total.low.reshape(-1, total.low.shape[-1])
  size = 1 << (len(sums) - 1).bit_length()  # few shapes, few compilations
  rows = np.minimum(np.arange(size), len(sums) - 1)
  low, high = sums[rows] - lost, sums[rows] + lost
  values = np.asarray(_least(network.head)(low, high, label))
  least = int(values.argmin())
  numbers = np.unravel_index(rows[least], total.low.shape[:-1])
  choice = dict(zip(total.pixels, map(int, numbers), strict=True))
  return float(_known(values[least])), choice


def _of(summed, m: int) -> list[Term]:
  return [(pixels, values[..., m]) for pixels, values in summed]


def _split(
  allowed: np.ndarray, ordered: np.ndarray, summed: list[Term]
) -> np.ndarray:
  """At the pixel that moves the sum most: its lower codes, and the others."""
  counts = allowed.reshape(-1, allowed.shape[-1]).sum(-1)
  moved = {int(i): np.zeros(counts[i]) for i in np.flatnonzero(counts > 1)}
  for pixels, values in summed:
    for axis, pixel in enumerate(pixels):
      rest = tuple(i for i in range(values.ndim) if i != axis)
      moved[pixel] = moved[pixel] + values.mean(rest)
  halves = np.stack([allowed, allowed])
  if moved:
    pixel = max(moved, key=lambda pixel: float(np.ptp(moved[pixel])))
    row, column = divmod(pixel, allowed.shape[1])
    order = ordered[row, column, np.argsort(moved[pixel])]
    first = order[: (len(order) + 1) // 2]
    halves[0, row, column], halves[0, row, column, first] = False, True
    halves[1, row, column, first] = False
  return halves

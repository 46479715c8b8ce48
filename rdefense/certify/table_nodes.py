"""What branch and bound asks of one node, answered by tables.

The counterpart of `nodes.examine` for networks that `layers.layered` can read,
on the host: tables are of as many shapes as there are images. The margins are
bounded over all images of the node,

  l_y - l_m >= const_m + sum_p g_mp(pixels near p),

the least of that sum is found, or bounded, by elimination, and the pixels'
codes that it comes from are the corner to try. What is returned lies below the
margin by more than the order of a network's sums was seen to change it.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import numpy as np

from rdefense.certify import tables
from rdefense.certify.elimination import Term, least_sum
from rdefense.certify.layers import Layered
from rdefense.certify.linear import linear
from rdefense.certify.nodes import ROUNDING, Examined, Tried
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
def _margin(apply: Callable[[PyTree, Array], Array]):
  def fn(params, z, label):
    with jax.default_matmul_precision('highest'):
      return margin(apply(params, z), label)

  return jax.jit(fn)


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
    max_patterns: rows of a table, at most.

  Returns:
    `nodes.Examined`, of NumPy arrays; a margin of infinity where the bound is
    positive, as there is nothing to try.
  """
  found = tables.tabulated(network, codes, allowed, max_patterns)
  low, high = tables.ranges(network.sums, found)
  bound = _bound(network.head)(low - ROUNDING, high + ROUNDING, label)
  coefs, const = np.asarray(bound.coefs), np.asarray(bound.const)
  const = const + coefs @ network.sums.bias - ROUNDING
  summed = tables.terms(network.sums, found, coefs)
  lower, worst, choice = np.inf, 0, {}
  for m in range(len(const)):
    if m == int(label):
      continue
    # Minima apart from each other first: often they are enough.
    least = const[m] + sum(values[..., m].min() for _, values in summed)
    now: dict[int, int] = {}
    if least <= 0:
      eliminated = least_sum(_of(summed, m), _MAX_ENTRIES)
      least, now = const[m] + eliminated.bound, eliminated.choice
    if least < lower:
      lower, worst, choice = least, m, now
  ordered = np.argsort(~allowed, axis=-1, kind='stable')
  chosen = ordered[..., 0].copy()
  for pixel, number in choice.items():
    place = np.unravel_index(pixel, chosen.shape)
    chosen[place] = ordered[(*place, number)]
  least_margin = np.float32(np.inf)
  if lower <= 0:
    z = np.asarray(codes)[chosen]
    least_margin = np.float32(_margin(apply)(params, z, label))
  halves = _split(allowed, ordered, _of(summed, worst))
  tried = Tried(least_margin, chosen.astype(np.int32))
  return Examined(np.float32(lower), tried, halves)


def _of(summed, m: int) -> list[Term]:
  return [(pixels, values[..., m]) for pixels, values in summed]


def _split(
  allowed: np.ndarray, ordered: np.ndarray, summed: list[Term]
) -> np.ndarray:
  """At the pixel that moves the sum most: its lower codes, and the others."""
  moved: dict[int, np.ndarray] = {}
  for pixels, values in summed:
    for axis, pixel in enumerate(pixels):
      rest = tuple(i for i in range(values.ndim) if i != axis)
      moved[pixel] = moved.get(pixel, 0.0) + values.mean(rest)
  halves = np.stack([allowed, allowed])
  if not moved:
    return halves
  pixel = max(moved, key=lambda pixel: np.ptp(moved[pixel]))
  place = np.unravel_index(pixel, allowed.shape[:-1])
  order = ordered[(*place, np.argsort(moved[pixel]))]
  first = order[: (len(order) + 1) // 2]
  halves[(0, *place)], halves[(1, *place)] = False, allowed[place]
  halves[(0, *place, first)], halves[(1, *place, first)] = True, False
  return halves

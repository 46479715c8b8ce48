"""What branch and bound asks of one node: a set of codes for every pixel.

A node stands for all images whose every pixel has one of the codes the node
allows it. Pure functions of one node; `decide` runs them in batches.

>>> import numpy as np
>>> codes, allowed = jnp.float32([[0.0], [1.0]]), jnp.ones((1, 2, 2), bool)
>>> apply = lambda params, z: jnp.stack([params - z.sum(), 0.0])
>>> looked = examine(apply, 2.5, codes, allowed, 0, -jnp.inf * jnp.ones(2))
>>> bool(looked.lower.min() > 0)  # 2.5 - z_1 - z_2 > 0 for every z
True
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense.certify.linear import linear
from rdefense.certify.reachable import box
from rdefense.certify.rounding import evaluated
from rdefense.losses import margin, margins
from rdefense.types import Array, Int, PyTree

__all__ = [
  'Enumerated',
  'Examined',
  'Tried',
  'enumerated',
  'examine',
  'flipped',
  'least_margin',
]

_LINES = 2  # margins of a node that get linear bounds; more hardly ever helped


class Tried(NamedTuple):
  """The least margin among some images of a node, and whose it is."""

  margin: Array  # of the classifier, shape=(), float32
  codes: Array  # [H, W], int32: which code each pixel has


class Enumerated(NamedTuple):
  """All images of a node."""

  lower: Array  # of their margins, shape=(), float32; never NaN
  tried: Tried


class Examined(NamedTuple):
  """One node looked at."""

  # [M], float32: of the margin to each class; of its own, inf; never NaN.
  lower: Array
  tried: Tried  # the corner that the bound fears most
  halves: Array  # [2, H, W, k], bool: the node split at one pixel


Apply = Callable[[PyTree, Array], Array]


def _margin(apply: Apply, params: PyTree, z: Array, label: Int) -> Array:
  with jax.default_matmul_precision('highest'):
    return margin(apply(params, z), jnp.asarray(label))


def least_margin(differences: Array, label: Int) -> Array:
  """The least of `[M]` margins to each class, its own apart."""
  own = jnp.arange(len(differences)) == label
  return jnp.where(own, jnp.inf, differences).min()


def examine(
  apply: Apply,
  params: PyTree,
  codes: Array,
  allowed: Array,
  label: Int,
  known: Array,
) -> Examined:
  """Bounds a node, tries its worst corner, and splits it.

  The margins l_y - l_m are bounded from below by intervals, and the worst of
  them by linear functions of the image (`linear`). The image that minimises
  the worst of these is the corner to try; the pixel whose codes move it most
  is the one to split, its codes into those that lower it and those that do not.

  Args:
    apply: `(params, z) -> logits`.
    params: of the classifier.
    codes: `[k, C]`.
    allowed: `[H, W, k]`, bool, some code for every pixel.
    label: the right class.
    known: `[M]`, what `lower` was of a node that this one is a half of, or
      minus infinity.

  Returns:
    `Examined`. Where one image is all the node has, its halves are equal.
  """

  def differences(z: Array) -> Array:
    return margins(apply(params, z), jnp.asarray(label))

  known = jnp.asarray(known).at[label].set(jnp.inf)
  bound = linear(differences, *box(allowed, codes), known, _LINES)
  worst = bound.coefs[bound.lower[bound.outputs].argmin()]
  value = jnp.matmul(worst, codes.T, precision='highest')  # [H, W, k]
  chosen = jnp.where(allowed, value, jnp.inf).argmin(-1)
  tried = Tried(_margin(apply, params, codes[chosen], label), chosen)
  lower = jnp.fmax(bound.lower, -jnp.inf)  # what is beyond float32 is no bound
  return Examined(lower, tried, _split(allowed, value))


def _split(allowed: Array, value: Array) -> Array:
  count = allowed.sum(-1)
  least = jnp.where(allowed, value, jnp.inf).min(-1)
  most = jnp.where(allowed, value, -jnp.inf).max(-1)
  spread = jnp.where(count > 1, most - least, -1.0)
  place = jnp.unravel_index(spread.argmax(), spread.shape)
  order = jnp.where(allowed[place], value[place], jnp.inf)
  rank = jnp.argsort(jnp.argsort(order))
  first = allowed[place] & (rank < (count[place] + 1) // 2)
  second = jnp.where(count[place] > 1, allowed[place] & ~first, first)
  halves = jnp.stack([allowed, allowed])
  return halves.at[:, *place].set(jnp.stack([first, second]))


def enumerated(
  apply: Apply,
  params: PyTree,
  codes: Array,
  allowed: Array,
  label: Int,
  size: int,
) -> Enumerated:
  """The least margin of all images of a node that has `size` or fewer.

  Below it lies what any evaluation in float32 gives of any of them.

  Args:
    apply, params, codes, allowed, label: as for `examine`.
    size: a power of two, as many images are evaluated.
  """

  def differences(z: Array) -> Array:
    return margins(apply(params, z), jnp.asarray(label))

  codes, allowed = jnp.asarray(codes), jnp.asarray(allowed)
  count = allowed.sum(-1).reshape(-1)
  width = min(size.bit_length() - 1, count.size)  # pixels not fixed, at most
  places = jnp.argsort(-count)[:width]
  radices = count[places]
  steps = jnp.concatenate([jnp.ones(1, int), jnp.cumprod(radices)[:-1]])
  # The codes of each pixel, allowed ones first.
  ordered = jnp.argsort(~allowed, axis=-1).reshape(count.size, -1)
  shape = allowed.shape[:-1]

  def one(number: Array) -> Array:
    digits = number // steps % radices
    chosen = ordered[:, 0].at[places].set(ordered[places, digits])
    return chosen.reshape(shape)

  chosen = jax.vmap(one)(jnp.arange(size))
  values, lost = evaluated(differences, codes[chosen])
  least = jax.vmap(least_margin, (0, None))
  lower, margin = least(values - lost[None], label).min(), least(values, label)
  tried = Tried(margin.min(), chosen[margin.argmin()])
  return Enumerated(jnp.fmax(lower, -jnp.inf), tried)


def flipped(
  apply: Apply,
  params: PyTree,
  codes: Array,
  allowed: Array,
  label: Int,
  start: Array,
) -> Tried:
  """An attack in code space: one step down the gradient, on allowed codes.

  Every pixel would go to the code that the gradient of the margin likes best;
  the 1, 4, 16, ... pixels that gain most do, and the best of these is kept.

  Args:
    apply, params, codes, allowed, label: as for `examine`.
    start: `[H, W]`, int32: the code each pixel has before.
  """
  codes, start = jnp.asarray(codes), jnp.asarray(start)
  slope = jax.grad(lambda z: _margin(apply, params, z, label))(codes[start])
  value = jnp.matmul(slope, codes.T, precision='highest')
  value = jnp.where(allowed, value, jnp.inf)
  best = value.argmin(-1)
  before = jnp.take_along_axis(value, start[..., None], -1)[..., 0]
  gain = before - value.min(-1)
  rank = jnp.argsort(jnp.argsort(-gain.reshape(-1))).reshape(gain.shape)
  sizes = jnp.array([4**i for i in range(8) if 4 ** (i - 1) < gain.size])

  def one(count: Array) -> Tried:
    chosen = jnp.where((rank < count) & (gain > 0), best, start)
    return Tried(_margin(apply, params, codes[chosen], label), chosen)

  tried = jax.vmap(one)(sizes)
  least = tried.margin.argmin()
  return Tried(tried.margin[least], tried.codes[least])

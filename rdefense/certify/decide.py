"""Certified, refuted or undecided: branch and bound over reachable codes.

All images of a batch share one queue of nodes, so that the device always has a
full batch of them to look at (`nodes.examine`). A node is done with when its
bound is positive, or when it has few images and all of them were tried; an
image is certified when none of its nodes is left, refuted as soon as an attack
finds codes that the classifier gets wrong and a point of the ball that T sends
there, both checked on the pipeline itself, and undecided when its budget is
spent. A margin that rounding might change does not count as right: what is
certified is so for the pipeline in float32, in whatever order it adds up, and
for logits of any size.

References:
  Paper A, section 4, enumerates all images of the root node; PROTOCOL A12.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.certify import table_nodes
from rdefense.certify.layers import Layered
from rdefense.certify.reachable import reachable
from rdefense.certify.search import (
  CERTIFIED,
  REFUTED,
  STATUS,
  UNDECIDED,
  Compiled,
  Decisions,
  Search,
  compiled_for,
)
from rdefense.types import Array, PyTree

__all__ = [
  'CERTIFIED', 'REFUTED', 'STATUS', 'UNDECIDED', 'Decisions', 'check_budget',
  'decide',
]  # fmt: skip


_FIRST_PATTERNS = 1024  # rows of the tables of a root


def check_budget(max_nodes: int, batch_size: int, leaf_size: int) -> None:
  """Raises `ValueError` on sizes below 1, a leaf's that is no power of 2."""
  checks.check_whole('max_nodes', max_nodes, 1)
  checks.check_whole('batch_size', batch_size, 1)
  checks.check_whole('leaf_size', leaf_size)
  if leaf_size < 1 or leaf_size & (leaf_size - 1):
    raise ValueError(
      f'leaf_size={leaf_size} must be a power of two: 1, 2, 4, ...'
    )


def _check_float32() -> None:
  if jnp.result_type(float) != np.float32:
    raise ValueError(
      'certificates are of float32, and jax_enable_x64 mixes float64 into it: '
      'call this within `with jax.enable_x64(False)`.'
    )


def _check_finite(params: PyTree) -> None:
  leaves = jax.tree.leaves(params)
  bad = sum(not np.isfinite(np.asarray(a)).all() for a in leaves)
  if bad:
    raise ValueError(
      f'params hold NaN or infinite numbers in {bad} of {len(leaves)} arrays, '
      'of which nothing can be proved: did training diverge?'
    )


def _checked(allowed: np.ndarray, expected: tuple[int, ...]) -> np.ndarray:
  """Sets of codes; `ValueError` on what is none of these images."""
  allowed = np.asarray(allowed)
  if allowed.shape != expected:
    raise ValueError(
      f'allowed has shape {allowed.shape}, but these images and codes need '
      f'{expected}: is it of another codebook?'
    )
  if allowed.dtype != bool:
    raise ValueError(
      f'allowed has dtype {allowed.dtype}; expected bool, whether a pixel can '
      'be given a code: are these numbers of codes?'
    )
  without = int((~allowed.any(-1)).sum())
  if without:
    raise ValueError(
      f'allowed leaves {without} pixels without any code, so there is no image '
      'to decide: is it the set as printed, or of bytes where a ball has none?'
    )
  return allowed


_kept = functools.lru_cache(maxsize=16)(compiled_for)


@functools.cache
def _reachable(norm: str):
  one = functools.partial(reachable, norm=norm)
  return jax.jit(jax.vmap(one, (0, None, None)))


def decide(
  apply: Callable[[PyTree, Array], Array],
  params: PyTree,
  codes: np.ndarray,
  images: np.ndarray,
  labels: np.ndarray,
  eps: float,
  norm: str = 'linf',
  allowed: np.ndarray | None = None,
  max_nodes: int = 500,
  batch_size: int = 64,
  leaf_size: int = 16,
  network: Layered | None = None,
  max_patterns: int = 1024,
  max_ambiguous: int | None = None,
  compiled: Callable[..., Compiled] = _kept,
) -> Decisions:
  """Decides a batch of images behind `nearest_code(codes)`.

  Args:
    apply: `(params, z) -> logits`, made of layers that `certify.linear` knows.
      Pass the same function again: it is compiled once.
    params: of the classifier.
    codes: `[k, C]`.
    images: `[N, H, W, C]` in [0, 1].
    labels: `[N]`.
    eps: radius of the l_inf ball in [0, 1] pixel units.
    norm: of T's distances over channels.
    allowed: `[N, H, W, k]`, bool, the codes each pixel can reach in the ball;
      None means `certify.reachable`.
    max_nodes: budget of each image, leaves included.
    batch_size: nodes looked at side by side.
    leaf_size: a node of so many images or fewer is enumerated; a power of 2.
      Large where bounds are loose.
    network: the same classifier as `layers.layered` reads it, with which
      nodes are bounded by `table_nodes` instead of by `certify.linear`.
    max_patterns: rows of a table, and images enumerated by tables, at most; m
      pixels of two codes are decided, up to rounding, by max_patterns
      (max_nodes + 1) / 2 >= 2^m. With more than 1,024 a root is looked at with
      1,024 first, which is enough for most images, and one node more is needed.
    max_ambiguous: only the root of images with more ambiguous pixels is looked
      at; None for no such threshold.
    compiled: `search.compiled_for` and its cache, of the last 16 networks; one
      of your own lets go of them when you do.

  Returns:
    `Decisions`.

  Raises:
    ValueError: on arguments out of range, images, labels or codes that are
      none, a budget or sizes below 1, a leaf size that is no power of two,
      jax_enable_x64, params that are not finite, a clean image whose logits
      are NaN, a set of codes of another shape than the images, not bool, or
      with a pixel that has none; by name on a layer without a bound.
  """
  _check_float32()
  checks.check_images(images)
  checks.check_length('eps', eps)
  check_budget(max_nodes, batch_size, leaf_size)
  checks.check_whole('max_patterns', max_patterns, 1)
  checks.check_codes(codes)
  checks.check_channels(images, codes)
  _check_finite(params)
  images, labels = np.asarray(images, np.float32), np.asarray(labels)
  (num_classes,) = jax.eval_shape(apply, params, images[0]).shape
  checks.check_labels(labels, len(images), num_classes)
  if allowed is None:
    allowed = np.asarray(_reachable(norm)(images, codes, eps))
  expected = (*images.shape[:-1], len(codes))
  allowed = _checked(allowed, expected)
  functions = compiled(apply, norm, leaf_size)
  book = jnp.asarray(codes, jnp.float32)
  if network is None:
    # A layer without a bound is an error before any work is done.
    rows = (batch_size, *expected[1:])
    functions.examine.eval_shape(
      params,
      book,
      jax.ShapeDtypeStruct(rows, bool),
      jax.ShapeDtypeStruct(rows[:1], labels.dtype),
      jax.ShapeDtypeStruct((batch_size, num_classes), jnp.float32),
    )
    by_tables = None
  else:
    by_tables = functools.partial(
      table_nodes.examine,
      apply,
      params,
      network,
      np.asarray(book),
    )
  ambiguous = (allowed.sum(-1) > 1).sum((1, 2))
  most = np.inf if max_ambiguous is None else max_ambiguous
  looks: tuple[int, ...] = (max_patterns,)
  if network is not None and max_patterns > _FIRST_PATTERNS:
    looks = _FIRST_PATTERNS, max_patterns
  few = min(len(looks), max_nodes)
  budget = np.where(ambiguous > most, few, max_nodes)
  return Search(
    functions,
    params,
    book,
    images,
    labels,
    num_classes,
    eps,
    allowed,
    budget,
    batch_size,
    leaf_size,
    by_tables,
    looks,
  ).run()

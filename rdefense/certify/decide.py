"""Certified, refuted or undecided: branch and bound over reachable codes.

All images of a batch share one queue of nodes, so that the device always has a
full batch of them to look at (`nodes.examine`). A node is done with when its
bound is positive, or when it has few images and all of them were tried; an
image is certified when none of its nodes is left, refuted as soon as an attack
finds codes that the classifier gets wrong and a point of the ball that T sends
there, both checked on the pipeline itself, and undecided when its budget is
spent. A margin that rounding might change does not count as right.

References:
  Paper A, section 4, enumerates all images of the root node; PROTOCOL A12.
"""

from collections.abc import Callable
import functools
import heapq
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.certify import nodes, table_nodes
from rdefense.certify.layers import Layered
from rdefense.certify.reachable import preimage, reachable
from rdefense.defenses.discretize import nearest_code
from rdefense.types import Array, PyTree

__all__ = ['CERTIFIED', 'REFUTED', 'STATUS', 'UNDECIDED', 'Decisions', 'decide']

STATUS = ('undecided', 'certified', 'refuted')
UNDECIDED, CERTIFIED, REFUTED = range(len(STATUS))

_FLIPS = 8  # steps of the attack in code space


class Decisions(NamedTuple):
  """What was found of a batch of images, on the host."""

  status: np.ndarray  # [N], int8: an index into `STATUS`
  witness: np.ndarray  # [N, H, W, C], float32: x' in the ball, x where none
  lower: np.ndarray  # [N], float32: bound of the margin, of the whole image
  nodes: np.ndarray  # [N], int32: looked at
  ambiguous: np.ndarray  # [N], int: pixels that may have several codes


class _Compiled(NamedTuple):
  """Functions of batches of nodes."""

  examine: Any
  enumerated: Callable
  flipped: Callable
  moved: Callable
  predict: Callable


@functools.cache
def _compile(apply, norm: str, leaf_size: int) -> _Compiled:
  def over(fn):
    return jax.jit(jax.vmap(functools.partial(fn, apply), (None, None, 0, 0)))

  def predict(params, codes, images):
    discretize = nearest_code(codes, norm=norm).apply

    def one(x):
      z = discretize(jax.random.key(0), x)
      with jax.default_matmul_precision('highest'):
        return z, apply(params, z).argmax()

    return jax.vmap(one)(images)

  def moved(codes, images, chosen, eps):
    one = functools.partial(preimage, norm=norm)
    return jax.vmap(one, (0, None, 0, None))(images, codes, chosen, eps)[0]

  leaves = functools.partial(nodes.enumerated, size=leaf_size)
  return _Compiled(
    over(nodes.examine),
    over(leaves),
    jax.jit(
      jax.vmap(functools.partial(nodes.flipped, apply), (None, None, 0, 0, 0))
    ),
    jax.jit(moved),
    jax.jit(predict),
  )


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
) -> Decisions:
  """Decides a batch of images behind `nearest_code(codes)`.

  Args:
    apply: `(params, z) -> logits`, made of layers that `certify.linear` knows.
      What is compiled for it is kept: pass the same function again.
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
    network: the same classifier as `certify.layered` reads it, with which
      nodes are bounded by `table_nodes` instead of by `certify.linear`.
    max_patterns: rows of a table, and images enumerated by tables, at most; m
      pixels of two codes are decided, up to rounding, by max_patterns
      (max_nodes + 1) / 2 >= 2^m.
    max_ambiguous: only the root of images with more ambiguous pixels is looked
      at; None for no such threshold.

  Returns:
    `Decisions`.

  Raises:
    ValueError: on arguments out of range, images, labels or codes that are
      none, a budget or sizes below 1, a leaf size that is no power of two, a
      set of codes of another shape than the images; by name on a layer without
      a bound.
  """
  checks.check_images(images)
  checks.check_at_least('eps', eps, 0, ': a radius in [0, 1] pixel units')
  checks.check_at_least('max_nodes', max_nodes, 1)
  checks.check_at_least('batch_size', batch_size, 1)
  checks.check_at_least('max_patterns', max_patterns, 1)
  if leaf_size < 1 or leaf_size & (leaf_size - 1):
    raise ValueError(
      f'leaf_size={leaf_size} must be a power of two: 1, 2, 4, ...'
    )
  checks.check_codes(codes)
  checks.check_channels(images, codes)
  images, labels = np.asarray(images, np.float32), np.asarray(labels)
  (num_classes,) = jax.eval_shape(apply, params, images[0]).shape
  checks.check_labels(labels, len(images), num_classes)
  if allowed is None:
    allowed = np.asarray(_reachable(norm)(images, codes, eps))
  expected = (*images.shape[:-1], len(codes))
  if allowed.shape != expected:
    raise ValueError(
      f'allowed has shape {allowed.shape}, but these images and codes need '
      f'{expected}: is it of another codebook?'
    )
  compiled = _compile(apply, norm, leaf_size)
  book = jnp.asarray(codes, jnp.float32)
  if network is None:
    # A layer without a bound is an error before any work is done.
    rows = (batch_size, *expected[1:])
    compiled.examine.eval_shape(
      params,
      book,
      jax.ShapeDtypeStruct(rows, bool),
      jax.ShapeDtypeStruct(rows[:1], labels.dtype),
    )
    by_tables = None
  else:
    by_tables = functools.partial(
      table_nodes.examine,
      apply,
      params,
      network,
      np.asarray(book),
      max_patterns=max_patterns,
    )
  ambiguous = (allowed.sum(-1) > 1).sum((1, 2))
  most = np.inf if max_ambiguous is None else max_ambiguous
  budget = np.where(ambiguous > most, 1, max_nodes)
  return _Search(
    compiled,
    params,
    book,
    images,
    labels,
    eps,
    allowed,
    budget,
    batch_size,
    leaf_size,
    by_tables,
  ).run()


class _Search:
  """The queue, and what is known of each image."""

  def __init__(
    self, compiled, params, codes, images, labels, eps, allowed, budget,
    batch_size, leaf_size, by_tables,
  ):  # fmt: skip
    self.compiled, self.params, self.codes = compiled, params, codes
    self.images, self.labels, self.eps = images, labels, eps
    self.allowed, self.budget = allowed, budget
    self.batch_size, self.leaf_size = batch_size, leaf_size
    self.by_tables = by_tables
    count = len(images)
    self.status = np.full(count, UNDECIDED, np.int8)
    self.witness = images.copy()
    self.lower = np.full(count, -np.inf, np.float32)
    self.spent = np.zeros(count, np.int32)
    self.open = np.ones(count, int)  # nodes waiting, the root at first
    self.doubtful = np.zeros(count, bool)
    self.queue: list[tuple] = []
    self.number = 0

  def run(self) -> Decisions:
    self._attack()
    for i in np.flatnonzero(self.status != REFUTED):
      self._push(int(i), 0.0, self.allowed[i])
    while self.queue:
      leaves, inner = self._next()
      if inner:
        self._examine(*map(np.array, zip(*inner, strict=True)))
      if leaves:
        self._enumerate(*map(np.array, zip(*leaves, strict=True)))
    finished = (self.open == 0) & ~self.doubtful & (self.status == UNDECIDED)
    self.status[finished] = CERTIFIED
    ambiguous = (self.allowed.sum(-1) > 1).sum((1, 2))
    return Decisions(
      self.status, self.witness, self.lower, self.spent, ambiguous
    )

  def _push(self, image: int, bound: float, node: np.ndarray) -> None:
    # Cheap images first, then the most feared nodes; the number breaks ties.
    self.number += 1
    entry = (self.spent[image], bound, self.number, image, np.packbits(node))
    heapq.heappush(self.queue, entry)

  def _next(self):
    """Up to a batch of nodes of images that are still open: leaves, others."""
    leaves: list[tuple] = []
    inner: list[tuple] = []
    shape = self.allowed.shape[1:]
    while self.queue and max(len(leaves), len(inner)) < self.batch_size:
      *_, image, packed = heapq.heappop(self.queue)
      spent = self.spent[image] >= self.budget[image]
      if spent or self.status[image] == REFUTED:
        continue
      bits = np.unpackbits(packed, count=np.prod(shape)).astype(bool)
      node = bits.reshape(shape)
      small = np.log2(node.sum(-1)).sum() <= np.log2(self.leaf_size) + 1e-9
      self.spent[image] += 1
      (leaves if small else inner).append((image, node))
    return leaves, inner

  def _padded(self, *arrays):
    """Rows repeated up to a batch size that was compiled before."""
    size = next(
      s
      for s in (self.batch_size // 8, self.batch_size // 2, self.batch_size)
      if s >= len(arrays[0])
    )
    rows = np.minimum(np.arange(size), len(arrays[0]) - 1)
    return [a[rows] for a in arrays]

  def _call(self, fn, image, node, *more):
    padded = self._padded(node, self.labels[image], *more)
    out = jax.device_get(fn(self.params, self.codes, *padded))
    return jax.tree.map(lambda a: a[: len(image)], out)

  def _attack(self) -> None:
    codes = np.asarray(self.codes)
    z, _ = self.compiled.predict(self.params, self.codes, self.images)
    same = (np.asarray(z)[..., None, :] == codes).all(-1)
    chosen = same.argmax(-1).astype(np.int32)
    for begin in range(0, len(self.images), self.batch_size):
      image = np.arange(begin, min(begin + self.batch_size, len(self.images)))
      now = chosen[image]
      for _ in range(_FLIPS):
        tried = self._call(
          self.compiled.flipped, image, self.allowed[image], now
        )
        self._try(image, tried)
        if (tried.codes == now).all():
          break
        now = tried.codes

  def _try(self, image: np.ndarray, tried: nodes.Tried) -> None:
    """Refutes what the classifier gets wrong at a point of the ball."""
    wrong = np.flatnonzero(
      (tried.margin <= 0) & (self.status[image] == UNDECIDED)
    )
    if not wrong.size:
      return
    owners = image[wrong]
    padded = self._padded(self.images[owners], tried.codes[wrong])
    moved = self.compiled.moved(self.codes, *padded, np.float32(self.eps))
    _, predicted = self.compiled.predict(self.params, self.codes, moved)
    fooled = np.flatnonzero(
      np.asarray(predicted)[: len(owners)] != self.labels[owners]
    )
    self.status[owners[fooled]] = REFUTED
    self.witness[owners[fooled]] = np.asarray(moved)[fooled]

  def _examine(self, image: np.ndarray, node: np.ndarray) -> None:
    if self.by_tables is None:
      looked = self._call(self.compiled.examine, image, node)
    else:
      each = map(self.by_tables, node, self.labels[image])
      looked = jax.tree.map(lambda *parts: np.stack(parts), *each)
    self._try(image, looked.tried)
    for i, owner in enumerate(image):
      lower = float(looked.lower[i])
      if self.lower[owner] == -np.inf:
        self.lower[owner] = lower
      self.open[owner] -= 1
      if lower <= 0:
        for half in looked.halves[i]:
          self.open[owner] += 1
          self._push(owner, lower, half)

  def _enumerate(self, image: np.ndarray, node: np.ndarray) -> None:
    tried = self._call(self.compiled.enumerated, image, node)
    self._try(image, tried)
    for owner, least in zip(image, tried.margin, strict=True):
      if self.lower[owner] == -np.inf:
        self.lower[owner] = least
      self.open[owner] -= 1
      self.doubtful[owner] |= least <= nodes.ROUNDING

"""The search of `decide`: a queue of nodes, and what is known of each image.

All images of a batch share one queue, so that the device always has a full
batch of nodes to look at (`nodes.examine`, `nodes.enumerated`, or
`table_nodes.examine` on the host). An attack in code space comes first.
"""

from collections.abc import Callable
import functools
import heapq
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.certify import nodes
from rdefense.certify.preimage import preimage
from rdefense.defenses.discretize import nearest_code

__all__ = [
  'CERTIFIED',
  'REFUTED',
  'STATUS',
  'UNDECIDED',
  'Compiled',
  'Decisions',
  'Search',
  'compiled_for',
]

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


class Compiled(NamedTuple):
  """Functions of batches of nodes."""

  examine: Any
  enumerated: Callable
  flipped: Callable
  moved: Callable
  predict: Callable


def compiled_for(apply, norm: str, leaf_size: int) -> Compiled:
  """For a classifier, which it holds, T's norm, and images in a leaf."""

  def over(fn, num_mapped):
    axes = (None, None, *[0] * num_mapped)
    return jax.jit(jax.vmap(functools.partial(fn, apply), axes))

  def predict(params, codes, images):
    discretize = nearest_code(codes, norm=norm).apply

    def one(x):
      z = discretize(jax.random.key(0), x)
      with jax.default_matmul_precision('highest'):
        logits = apply(params, z)
      return z, logits.argmax(), jnp.isnan(logits).any()

    return jax.vmap(one)(images)

  def moved(codes, images, chosen, eps):
    one = functools.partial(preimage, norm=norm)
    return jax.vmap(one, (0, None, 0, None))(images, codes, chosen, eps)[0]

  leaves = functools.partial(nodes.enumerated, size=leaf_size)
  return Compiled(
    over(nodes.examine, 3),
    over(leaves, 2),
    over(nodes.flipped, 3),
    jax.jit(moved),
    jax.jit(predict),
  )


class Search:
  """The queue, and what is known of each image."""

  def __init__(
    self, compiled, params, codes, images, labels, num_classes, eps, allowed,
    budget, batch_size, leaf_size, by_tables, looks,
  ):  # fmt: skip
    self.compiled, self.params, self.codes = compiled, params, codes
    self.images, self.labels, self.eps = images, labels, eps
    self.allowed, self.budget = allowed, budget
    self.batch_size, self.leaf_size = batch_size, leaf_size
    self.by_tables = by_tables
    self.nothing = np.full(num_classes, -np.inf, np.float32)  # known of a root
    self.looks = looks  # rows of the tables of a root, each time it is seen
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
      self._push(int(i), self.allowed[i], self.nothing)
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

  def _push(self, image: int, node: np.ndarray, known: np.ndarray) -> None:
    # Cheap images first, then the most feared nodes; the number breaks ties.
    self.number += 1
    order = self.spent[image], known.min(), self.number
    heapq.heappush(self.queue, (*order, image, np.packbits(node), known))

  def _next(self):
    """Up to a batch of nodes of images that are still open: leaves, others."""
    leaves: list[tuple] = []
    inner: list[tuple] = []
    shape = self.allowed.shape[1:]
    while self.queue and max(len(leaves), len(inner)) < self.batch_size:
      *_, image, packed, known = heapq.heappop(self.queue)
      spent = self.spent[image] >= self.budget[image]
      if spent or self.status[image] == REFUTED:
        continue
      bits = np.unpackbits(packed, count=np.prod(shape)).astype(bool)
      node = bits.reshape(shape)
      small = np.log2(node.sum(-1)).sum() <= np.log2(self.leaf_size) + 1e-9
      self.spent[image] += 1
      if small:
        leaves.append((image, node))
      else:
        inner.append((image, node, known))
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
    z, _, lost = self.compiled.predict(self.params, self.codes, self.images)
    checks.check_classified(lost, np.arange(len(self.images)))
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
    # A margin that is NaN is of no class: neither right nor wrong.
    wrong = np.flatnonzero(
      (tried.margin <= 0) & (self.status[image] == UNDECIDED)
    )
    if not wrong.size:
      return
    owners = image[wrong]
    padded = self._padded(self.images[owners], tried.codes[wrong])
    moved = self.compiled.moved(self.codes, *padded, np.float32(self.eps))
    _, *found = self.compiled.predict(self.params, self.codes, moved)
    predicted, lost = (np.asarray(a)[: len(owners)] for a in found)
    fooled = np.flatnonzero((predicted != self.labels[owners]) & ~lost)
    self.status[owners[fooled]] = REFUTED
    self.witness[owners[fooled]] = np.asarray(moved)[fooled]

  def _examine(
    self, image: np.ndarray, node: np.ndarray, known: np.ndarray
  ) -> None:
    # A root, its image's only node, is seen cheaply, then as well as may be.
    again = self.spent[image] < len(self.looks)
    whole = self.spent[image] <= len(self.looks)
    if self.by_tables is None:
      looked = self._call(self.compiled.examine, image, node, known)
    else:
      rows = np.where(again, self.looks[0], self.looks[-1]).tolist()
      each = map(self.by_tables, node, self.labels[image], rows)
      looked = jax.tree.map(lambda *parts: np.stack(parts), *each)
    self._try(image, looked.tried)
    for i, owner in enumerate(image):
      lower = looked.lower[i].min()
      if whole[i]:
        self.lower[owner] = max(lower, self.lower[owner])
      self.open[owner] -= 1
      if not lower > 0:
        for left in node[i : i + 1] if again[i] else looked.halves[i]:
          self.open[owner] += 1
          self._push(owner, left, looked.lower[i])

  def _enumerate(self, image: np.ndarray, node: np.ndarray) -> None:
    found = self._call(self.compiled.enumerated, image, node)
    self._try(image, found.tried)
    for owner, lower in zip(image, found.lower, strict=True):
      if self.lower[owner] == -np.inf:
        self.lower[owner] = lower
      self.open[owner] -= 1
      self.doubtful[owner] |= not lower > 0

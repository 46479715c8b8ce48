"""Deciding a whole dataset: one row an example, certified, refuted or neither.

The counterpart of `rdefense.evaluation`: there an attack bounds the accuracy
from above, here a proof bounds it from below, and a witness from above as well.
Rows go to disk shard by shard, so a killed run resumes where it stood.
"""

from collections.abc import Mapping
import time

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks, counting
from rdefense.certify.decide import CERTIFIED, STATUS, UNDECIDED, decide
from rdefense.certify.layers import Layered, layered
from rdefense.counting import Tally
from rdefense.data.batches import Batch
from rdefense.data.sources import Arrays, to_unit
from rdefense.defenses.discretize import nearest_code
from rdefense.deployed import Target
from rdefense.shards import worked_off

__all__ = [
  'BOUNDS',
  'certify',
  'checked_codes',
  'contradictions',
  'decided_up_to',
  'read_layers',
  'tallies',
]

BOUNDS = ('linear', 'tables')
_LOOKED_AT = 8  # images, to see what a defense does to them


def certify(
  target: Target,
  arrays: Arrays,
  eps: float,
  directory,
  norm: str = 'linf',
  num_examples: int | None = None,
  shard_size: int = 100,
  max_nodes: int = 500,
  batch_size: int = 64,
  leaf_size: int = 16,
  bounds: str = 'linear',
  max_patterns: int = 1024,
  max_ambiguous: int | None = None,
  title: str = '',
) -> Mapping[str, np.ndarray]:
  """Decides every example of a dataset at one l_inf radius.

  Args:
    target: the pipeline, `nearest_code` of its codes before its network.
    arrays: the dataset, in order.
    eps: radius in [0, 1] pixel units.
    directory: where the shards lie; present ones are not computed again.
    norm: of T's distances over channels.
    num_examples: the first so many; None means all.
    shard_size: examples a shard.
    max_nodes, batch_size, leaf_size: as for `certify.decide`.
    bounds: `linear`, from the pixels on, which suit a network trained for
      bounds; or `tables`, for any other whose convolutions do not branch.
    max_patterns, max_ambiguous: as for `certify.decide`.
    title: shown by the progress bar with the counts so far.

  Returns:
    Columns sorted by example: `index`, `label`, and under `certificate/`
    `status` (an index into `STATUS`), `lower` (bound of the margin of the
    whole image), `nodes`, `ambiguous` (pixels that reach several codes),
    `seconds`.

  Raises:
    ValueError: on a target that `checked_codes` refuses, labels out of range,
      a damaged shard, unknown bounds, and as `layers.layered` and
      `certify.decide`.
  """
  codes = checked_codes(target, arrays, norm)
  checks.check_choice('bounds', bounds, BOUNDS)
  network = read_layers(target, arrays) if bounds == 'tables' else None

  def compute(batch: Batch):
    begin, rows = time.perf_counter(), batch.mask
    images, labels = batch.image[rows], batch.label[rows]
    found = decide(
      target.apply,
      target.params,
      codes,
      images,
      labels,
      eps,
      norm,
      max_nodes=max_nodes,
      batch_size=batch_size,
      leaf_size=leaf_size,
      network=network,
      max_patterns=max_patterns,
      max_ambiguous=max_ambiguous,
    )
    seconds = (time.perf_counter() - begin) / len(images)
    return {
      'index': batch.index[rows].astype(np.int64),
      'label': labels,
      'certificate/status': found.status,
      'certificate/lower': found.lower,
      'certificate/nodes': found.nodes,
      'certificate/ambiguous': found.ambiguous,
      'certificate/seconds': np.full(len(images), seconds, np.float32),
    }

  def count(columns) -> np.ndarray:
    return np.bincount(columns['certificate/status'], minlength=len(STATUS))

  def tell(counts: np.ndarray) -> str:
    told = zip(STATUS, counts, strict=True)
    return ', '.join(f'{name} {n}' for name, n in told)

  return worked_off(
    arrays, directory, shard_size, num_examples, compute, count, tell, title
  )


def checked_codes(target: Target, arrays: Arrays, norm: str) -> np.ndarray:
  """The codes of a target, if its defense is `nearest_code` of them.

  Args:
    target: what a certificate is to be about.
    arrays: the dataset, some of whose images are looked at.
    norm: of T's distances over channels.

  Raises:
    ValueError: on a target without codes, and on one whose defense makes
      something else of these images.
  """
  if target.codes is None:
    raise ValueError(
      'target has no codes: this certificate is about a network behind '
      'nearest_code; there is none for other defenses.'
    )
  key = jax.random.key(0)
  own = target.defend(jnp.asarray(target.codes), jnp.ones(()))
  proved = nearest_code(target.codes, norm=norm)
  for image in to_unit(arrays.images[:_LOOKED_AT]):
    if not np.array_equal(own.apply(key, image), proved.apply(key, image)):
      raise ValueError(
        f'what stands in front of the network is not nearest_code in {norm} of '
        "the target's codes, which a certificate is about: has it pooling, or "
        'another norm?'
      )
  return target.codes


def read_layers(target: Target, arrays: Arrays) -> Layered:
  """The network of a target, as bounds by tables need it.

  Raises:
    ValueError: on a network with branches, as `layers.layered`.
  """
  x = jnp.zeros(arrays.images.shape[1:])
  return layered(lambda x: target.apply(target.params, x), x)


def tallies(rows: Mapping[str, np.ndarray]) -> dict[str, Tally]:
  """Counts of each status, with exact 95% intervals."""
  status = rows['certificate/status']
  return {
    name: counting.tally(status == number) for number, name in enumerate(STATUS)
  }


def decided_up_to(rows: Mapping[str, np.ndarray]) -> int:
  """The most ambiguous pixels b such that all images of up to b are decided.

  -1 where one without any is not; the most there are where all are decided.
  """
  ambiguous = rows['certificate/ambiguous']
  left = ambiguous[rows['certificate/status'] == UNDECIDED]
  return int(left.min() - 1 if left.size else ambiguous.max())


def contradictions(
  certified: Mapping[str, np.ndarray], attacked: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Examples that are certified, and that an attack has broken: a bug if any.

  Args:
    certified: rows of `certify`.
    attacked: rows of `evaluation.evaluate` at the same radius or a smaller
      one, of the same target.

  Returns:
    Their `index`, of those that both have.
  """
  proved = certified['certificate/status'] == CERTIFIED
  broken = ~counting.correct(attacked, 'verdict')
  return np.intersect1d(certified['index'][proved], attacked['index'][broken])

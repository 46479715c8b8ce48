"""A defended classifier, an ensemble of attacks, data: one row an example.

Attacks run one after another on the examples still standing; what they submit
is judged on the deployed pipeline, at highest matmul precision, under keys no
attack has seen. Attacks may run at lower precision; what the verdicts would be
at theirs is kept beside them. A randomised defense is drawn under three streams
of keys: one that attacks optimise with, one that chooses between what they
submit, one that judges. Rows go to disk batch by batch, so a killed run resumes
where it stood and repeats at most one batch.
"""

from collections.abc import Mapping, Sequence
import functools
import time
from typing import NamedTuple
import zlib

from etils.epath import Path
import jax
import numpy as np

from rdefense import checks, counting
from rdefense.attacks.assembly import Recipe, check_ensemble, num_copies
from rdefense.attacks.driver import rows_at_once
from rdefense.data.batches import Batch
from rdefense.data.sources import Arrays
from rdefense.deployed import Target, judge
from rdefense.judging import votes
from rdefense.memory import with_chunks
from rdefense.parallel import Layout, layout, padded_size
from rdefense.precision import HIGHEST, lowest
from rdefense.shards import worked_off
from rdefense.submissions import handed, submit
from rdefense.threats import ball
from rdefense.types import Key

__all__ = [
  'Verdicts',
  'attack',
  'evaluate',
]

# Of a randomised defense, at least: by a single one that fell badly, an image
# would pass for beaten and go unattacked.
_CHOOSING_DRAWS = 20


class Verdicts(NamedTuple):
  """What one batch came to, on the host; padding rows included."""

  z: np.ndarray  # [B, H, W, C], float32: what is submitted
  draws: np.ndarray  # [B, m], int32: predictions of the deployed pipeline at z
  margin: np.ndarray  # [B], float32, likewise, mean over draws
  gradients: np.ndarray  # [B], int32: gradients taken, all recipes together
  broken_by: np.ndarray  # [B], int32: recipe that did most harm, -1 for none
  # [B, m], int32: `draws` at the precision of the attack, where that is lower.
  lower_draws: np.ndarray | None = None

  @property
  def predicted(self) -> np.ndarray:
    """`[B]`, the most voted class."""
    return votes(self.draws)[0]


def attack(
  target: Target,
  recipes: Sequence[Recipe],
  norm: str,
  eps: float,
  key: Key,
  batch: Batch,
  where: Layout | None = None,
  compact: bool = True,
  source: Target | None = None,
  submissions=None,
) -> Verdicts:
  """Runs recipes one after another on the examples that still stand.

  Args:
    target: the pipeline.
    recipes: none at all means clean accuracy.
    norm: of the ball, one of `threats.NORMS`.
    eps: its radius in [0, 1] pixel units.
    key: root key; recipe keys are folded in by name, so that they depend
      neither on the order nor on which others run. Consumed.
    batch: examples; padding rows are not attacked.
    where: devices to use; None means all of this process.
    compact: leave examples that are done out of the batch.
    source: what the attacks see and differentiate, another pipeline in a
      transfer attack; None means `target` itself, the white box.
    submissions: folder of what these recipes submit on that source at that
      radius under that key, to be handed to other targets as well; None keeps
      nothing.

  Returns:
    `Verdicts`, judged on the deployed pipeline.

  Raises:
    ValueError: on a norm or a radius that is none, on recipes that would do
      nothing, and on two of one name.
  """
  ball(norm, eps)  # raises on a norm or a radius that is none
  check_ensemble(recipes)
  source = target if source is None else source
  where = layout() if where is None else where
  choosing, judging = (
    jax.random.fold_in(key, zlib.crc32(role)) for role in (b'choose', b'judge')
  )

  def judged(by: Target, z, key, precision=HIGHEST):
    return judge(by, key, batch.index, z, batch.label, where, precision)

  def damage(z):
    num_draws = target.num_draws and max(target.num_draws, _CHOOSING_DRAWS)
    chooser = target._replace(num_draws=num_draws)
    draws, margins = judged(chooser, z, choosing)
    return (draws == batch.label[:, None]).sum(1), margins, draws

  z = batch.image.copy()
  right, margins, draws = damage(z)
  gradients = np.zeros(len(z), np.int32)
  broken_by = np.full(len(z), -1, np.int32)
  rows = rows_at_once(padded_size(where, len(z)) // where.num_devices)
  recipes = with_chunks(source, recipes, z.shape[1:], rows)
  objectives = tuple(dict.fromkeys(recipe.loss for recipe in recipes))
  # What a recipe has beaten, or what it leaves out as wrong unattacked, stays
  # so: a later recipe that keeps its last iterate must not undo it.
  every_example = all(recipe.every_example for recipe in recipes)
  beaten = (right == 0) & (not every_example)
  for number, recipe in enumerate(recipes):
    active = batch.mask & ~beaten
    submitted = functools.partial(
      submit, source, recipe, objectives, norm, eps, key, batch, where, compact
    )
    out = (
      submitted(active)
      if submissions is None
      else handed(Path(submissions) / recipe.name, batch, submitted)
    )
    gradients += active * out.evaluations * num_copies(recipe)
    now_right, now_margins, now_draws = damage(out.z)
    closer = (now_right == right) & (now_margins < margins)
    # One that keeps its last iterate is judged by it, whatever it has done.
    executed = number == 0 and recipe.keep != 'best'
    better = active & (executed | (now_right < right) | closer)
    broken_by[better & (now_right < right)] = number
    news = (out.z, now_right, now_margins, now_draws)
    for kept, new in zip((z, right, margins, draws), news, strict=True):
      kept[better] = new[better]
    beaten |= active & (right == 0)
    if not (batch.mask & ~beaten).any():
      break
  if target.num_draws:
    draws, margins = judged(target, z, judging)
  precision, lower_draws = lowest(r.precision for r in recipes), None
  if precision != HIGHEST:
    lower_draws, _ = judged(target, z, judging, precision)
  return Verdicts(z, draws, margins, gradients, broken_by, lower_draws)


def evaluate(
  target: Target,
  arrays: Arrays,
  recipes: Sequence[Recipe],
  norm: str,
  eps: float,
  key: Key,
  directory,
  batch_size: int = 500,
  num_examples: int | None = None,
  where: Layout | None = None,
  title: str = '',
  source: Target | None = None,
  submissions=None,
) -> Mapping[str, np.ndarray]:
  """Attacks a whole dataset, shard by shard, and returns its rows.

  Args:
    target: the pipeline.
    arrays: the dataset, in order.
    recipes: the ensemble; none means clean accuracy.
    norm: of the ball.
    eps: its radius in [0, 1] pixel units.
    key: root key; consumed.
    directory: where this condition's shards lie; present ones are not
      computed again, so that each pipeline, radius and ensemble needs one of
      its own.
    batch_size: examples a shard.
    num_examples: the first so many; None means all.
    where: devices to use; None means all of this process.
    title: shown by the progress bar with the robust count so far.
    source: what the attacks see, see `attack`; None means the target.
    submissions: folder of what they submit, see `attack`.

  Returns:
    Columns sorted by example: `index`, `label`, and under `verdict/`
    `predicted`, `margin`, `gradients`, `broken_by`, `seconds`, and `draws`
    `[N, m]` where the defense is randomised; of a recipe at lower precision
    also `attack/predicted`, and `attack/draws` likewise: what would have been
    predicted at that precision.

  Raises:
    ValueError: on labels out of range, a damaged shard, no examples, or none
      a batch.
  """

  checks.check_whole('batch_size', batch_size, 1)

  def compute(batch: Batch):
    begin = time.perf_counter()
    verdicts = attack(
      target,
      recipes,
      norm,
      eps,
      key,
      batch,
      where,
      source=source,
      submissions=submissions,
    )
    return _columns(target, batch, verdicts, time.perf_counter() - begin)

  def count(columns) -> np.ndarray:
    correct = counting.correct(columns, 'verdict')
    return np.array([correct.sum(), len(correct)])

  def tell(counts: np.ndarray) -> str:
    robust, seen = counts
    return f'correct {robust}/{seen} = {100 * robust / seen:.2f}%'

  return worked_off(
    arrays, directory, batch_size, num_examples, compute, count, tell, title
  )


def _columns(target, batch, verdicts, seconds: float) -> dict[str, np.ndarray]:
  rows = batch.mask
  draws = {'verdict': verdicts.draws, 'attack': verdicts.lower_draws}
  predicted = {
    f'{name}/predicted': votes(found)[0][rows]
    for name, found in draws.items()
    if found is not None
  } | {
    f'{name}/draws': found[rows]
    for name, found in draws.items()
    if found is not None and target.num_draws
  }
  return predicted | {
    'index': batch.index[rows].astype(np.int64),
    'label': batch.label[rows],
    'verdict/margin': verdicts.margin[rows],
    'verdict/gradients': verdicts.gradients[rows],
    'verdict/broken_by': verdicts.broken_by[rows],
    'verdict/seconds': np.full(rows.sum(), seconds / rows.sum(), np.float32),
  }

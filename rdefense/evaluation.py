"""A defended classifier, an ensemble of attacks, data: one row an example.

Attacks run one after another on the examples still standing; what they submit
is judged on the deployed pipeline, at highest matmul precision, under keys no
attack has seen. A randomised defense is drawn under three streams of keys: one
that attacks optimise with, one that chooses between what they submit, one that
judges. Rows go to disk batch by batch, so a killed run resumes where it stood
and repeats at most one batch.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import time
from typing import NamedTuple
import zlib

import jax
import numpy as np
from tqdm import auto as tqdm

from rdefense import checks, records
from rdefense.attacks.driver import batch_attack, rows_at_once
from rdefense.attacks.recipes import Recipe, assemble
from rdefense.attacks.wrappers import over_examples
from rdefense.data.batches import Batch, batches
from rdefense.data.sources import Arrays
from rdefense.defenses.base import Defense
from rdefense.gradients import defended, through
from rdefense.judging import votes
from rdefense.losses import margin
from rdefense.memory import bytes_needed, chunk_size, memory_budget
from rdefense.parallel import Layout, layout, padded_size
from rdefense.threats import STARTS, ball
from rdefense.types import Array, Key, PyTree

__all__ = [
  'Target',
  'Verdicts',
  'attack',
  'evaluate',
  'judge',
  'with_chunks',
]


class Target(NamedTuple):
  """The deployed pipeline under evaluation.

  `apply` and `defend` are compiled into the attack; `params` and `codes` are
  not, so that targets that differ only there share what was compiled.

  Attributes:
    apply: `(params, x) -> logits`.
    defend: `(codes, alpha) -> Defense`.
    params: of the classifier.
    codes: `[k, C]`, or None for a defense without a codebook.
    num_draws: of a randomised defense, on which an example is judged; 0 says
      that the defense is deterministic.
  """

  apply: Callable[[PyTree, Array], Array]
  defend: Callable[[Array | None, Array], Defense]
  params: PyTree
  codes: np.ndarray | None = None
  num_draws: int = 0


class Verdicts(NamedTuple):
  """What one batch came to, on the host; padding rows included."""

  z: np.ndarray  # [B, H, W, C], float32: what is submitted
  draws: np.ndarray  # [B, m], int32: predictions of the deployed pipeline at z
  margin: np.ndarray  # [B], float32, likewise, mean over draws
  gradients: np.ndarray  # [B], int32: gradients taken, all recipes together
  broken_by: np.ndarray  # [B], int32: recipe that did most harm, -1 for none

  @property
  def predicted(self) -> np.ndarray:
    """`[B]`, the most voted class."""
    return votes(self.draws)[0]


@functools.cache
def _judge(apply, defend, where: Layout):
  def fn(key, index, x, y, params, codes):
    pipeline = defended(lambda x: apply(params, x), defend(codes, 1.0))

    def one(key, x, y):
      logits = pipeline(key, x)
      return logits.argmax(), margin(logits, y)

    with jax.default_matmul_precision('highest'):
      return over_examples(one)(key, index, x, y)

  copied, split = where.copied, where.split
  return jax.jit(
    fn,
    in_shardings=(copied, split, split, split, copied, copied),
    out_shardings=split,
  )


def judge(
  target: Target,
  key: Key,
  index,
  images,
  labels,
  where: Layout | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Predictions of the deployed pipeline, draw by draw.

  Args:
    target: the pipeline.
    key: of the judgement, never shown to an attack; consumed. Draw `i` has
      `fold_in(key, i)`, then each example its own.
    index: `[B]`, global example numbers.
    images: `[B, H, W, C]` in [0, 1].
    labels: `[B]`.
    where: devices to use; None means all of this process.

  Returns:
    `(draws [B, m] int32, margin [B] float32)`: predictions under each key,
    one of them where the defense is deterministic; mean margin.
  """
  checks.check_at_least(
    'num_draws', target.num_draws, 0, ': 0 is for a deterministic defense'
  )
  where = layout() if where is None else where
  size = len(images)
  rows = np.minimum(np.arange(padded_size(where, size)), size - 1)
  data = jax.device_put(
    (
      np.asarray(index, np.int32)[rows],
      np.asarray(images, np.float32)[rows],
      np.asarray(labels, np.int32)[rows],
    ),
    where.split,
  )
  program = _judge(target.apply, target.defend, where)
  draws = [
    program(jax.random.fold_in(key, i), *data, target.params, target.codes)
    for i in range(max(1, target.num_draws))
  ]
  predicted, margins = zip(*jax.device_get(draws), strict=True)
  return (
    np.stack(predicted, 1)[:size].astype(np.int32),
    np.mean(margins, 0)[:size],
  )


@functools.cache
def _program(apply, defend, norm: str, recipe: Recipe, where, compact):
  """One compiled attack for all recipes that differ in numbers only."""

  def make_attack(operands):
    params, codes, eps, alpha, start, step_size = operands
    return assemble(
      recipe,
      lambda x: apply(params, x),
      defend(codes, alpha),
      ball(norm, eps),
      start=start,
      step_size=step_size,
    )

  return batch_attack(make_attack, where, compact)


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

  Returns:
    `Verdicts`, judged on the deployed pipeline.
  """
  checks.check_at_least('eps', eps, 0, ': a radius in [0, 1] pixel units')
  source = target if source is None else source
  where = layout() if where is None else where
  choosing, judging = (
    jax.random.fold_in(key, zlib.crc32(role)) for role in (b'choose', b'judge')
  )

  def damage(z, key):
    draws, margins = judge(target, key, batch.index, z, batch.label, where)
    return (draws == batch.label[:, None]).sum(1), margins, draws

  z = batch.image.copy()
  right, margins, draws = damage(z, choosing)
  gradients = np.zeros(len(z), np.int32)
  broken_by = np.full(len(z), -1, np.int32)
  rows = rows_at_once(padded_size(where, len(z)) // where.num_devices)
  recipes = with_chunks(source, recipes, z.shape[1:], rows)
  # What a recipe has beaten, or what it leaves out as wrong unattacked, stays
  # so: a later recipe that keeps its last iterate must not undo it.
  every_example = all(recipe.every_example for recipe in recipes)
  beaten = (right == 0) & (not every_example)
  for number, recipe in enumerate(recipes):
    active = batch.mask & ~beaten
    kind = recipe._replace(
      name='', step_size=0.0, num_steps=0, start='', alpha=0.0,
      every_example=False, num_draws=min(recipe.num_draws, 1),
    )
    program = _program(source.apply, source.defend, norm, kind, where, compact)
    operands = (
      source.params,
      source.codes,
      np.float32(eps),
      np.float32(recipe.alpha),
      np.int32(STARTS.index(recipe.start)),
      np.float32(recipe.step_size),
    )
    out = program(
      operands,
      jax.random.fold_in(key, zlib.crc32(recipe.name.encode())),
      recipe.num_steps,
      batch.index,
      batch.image,
      batch.label,
      active,
      max(1, recipe.num_draws) // recipe.chunk,
    )
    gradients += out.evaluations * recipe.chunk * recipe.num_restarts
    now_right, now_margins, now_draws = damage(out.z, choosing)
    closer = (now_right == right) & (now_margins < margins)
    better = active & ((number == 0) | (now_right < right) | closer)
    broken_by[better & (now_right < right)] = number
    news = (out.z, now_right, now_margins, now_draws)
    for kept, new in zip((z, right, margins, draws), news, strict=True):
      kept[better] = new[better]
    beaten |= active & (right == 0)
    if not (batch.mask & ~beaten).any():
      break
  if target.num_draws:
    _, margins, draws = damage(z, judging)
  return Verdicts(z, draws, margins, gradients, broken_by)


@functools.cache
def _bytes_per_draw(apply, defend, loss, backward, shape, tree, structs) -> int:
  """What the gradient of one image through one draw takes.

  Neither parameters nor the steepness of a surrogate change anything in it.
  """

  def evaluate(operands, key, x, y):
    params, codes = operands
    logits_fn = functools.partial(apply, params)
    oracle = through(logits_fn, defend(codes, 1.0), loss, backward)
    return oracle.evaluate(key, x, y, 0)

  operands = jax.tree.unflatten(tree, structs)
  x = jax.ShapeDtypeStruct(shape, np.float32)
  return bytes_needed(evaluate, operands, jax.random.key(0), x, np.int32(0))


def with_chunks(
  target: Target, recipes: Sequence[Recipe], shape: tuple[int, ...], rows: int
) -> tuple[Recipe, ...]:
  """Recipes whose `chunk` was 0 with one that fits the memory budget.

  Args:
    target: the pipeline.
    recipes: of an ensemble.
    shape: `(H, W, C)` of an image.
    rows: images side by side on one device.

  Raises:
    ValueError: on a negative number of draws, and where a chunk does not
      divide them.
  """
  leaves, tree = jax.tree.flatten((target.params, target.codes))
  structs = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves)

  def fitted(recipe: Recipe) -> Recipe:
    checks.check_at_least(
      'num_draws', recipe.num_draws, 0, ': 0 is for a deterministic defense'
    )
    num_draws = max(1, recipe.num_draws)
    if not recipe.chunk and num_draws > 1:
      needed = rows * _bytes_per_draw(
        target.apply, target.defend, recipe.loss, recipe.backward, shape, tree,
        structs,
      )
      chunk = chunk_size(num_draws, needed, memory_budget())
    else:
      chunk = max(1, recipe.chunk)
    if num_draws % chunk:
      raise ValueError(
        f'chunk={chunk} of {recipe.name} does not divide its {num_draws} '
        'draws: take a divisor, or 0 to have one chosen.'
      )
    return recipe._replace(chunk=chunk)

  return tuple(map(fitted, recipes))


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
      computed again.
    batch_size: examples a shard.
    num_examples: the first so many; None means all.
    where: devices to use; None means all of this process.
    title: shown by the progress bar with the robust count so far.
    source: what the attacks see, see `attack`; None means the target.

  Returns:
    Columns sorted by example: `index`, `label`, and under `verdict/`
    `predicted`, `margin`, `gradients`, `broken_by`, `seconds`, and `draws`
    `[N, m]` where the defense is randomised.

  Raises:
    ValueError: on labels out of range or a damaged shard.
  """
  total = len(arrays.images)
  total = total if num_examples is None else min(num_examples, total)
  checks.check_labels(arrays.labels, len(arrays.images), arrays.num_classes)
  finished = records.completed(directory)
  robust, seen = 0, 0
  with tqdm.tqdm(total=total, desc=title, unit='img') as bar:
    for number, batch in enumerate(
      batches(arrays, batch_size, np.arange(total))
    ):
      if number not in finished:
        columns = _shard(
          target, recipes, norm, eps, key, batch, where, source
        )
        records.write_shard(directory, number, columns)
      else:
        columns = records.read_shard(records.shard_path(directory, number))
      correct = records.correct(columns, 'verdict')
      robust, seen = robust + int(correct.sum()), seen + len(correct)
      share = 100 * robust / seen
      bar.set_postfix_str(f'correct {robust}/{seen} = {share:.2f}%')
      bar.update(len(correct))
  return records.read(directory)


def _shard(target, recipes, norm, eps, key, batch, where, source):
  begin = time.perf_counter()
  verdicts = attack(
    target, recipes, norm, eps, key, batch, where, source=source
  )
  seconds = time.perf_counter() - begin
  rows = batch.mask
  draws = {'verdict/draws': verdicts.draws[rows]} if target.num_draws else {}
  return draws | {
    'index': batch.index[rows].astype(np.int64),
    'label': batch.label[rows],
    'verdict/predicted': verdicts.predicted[rows],
    'verdict/margin': verdicts.margin[rows],
    'verdict/gradients': verdicts.gradients[rows],
    'verdict/broken_by': verdicts.broken_by[rows],
    'verdict/seconds': np.full(
      rows.sum(), seconds / rows.sum(), np.float32
    ),
  }

"""Programs of an evaluation and of training, compiled and counted, never run.

`on_devices` compiles them for several devices and holds the work of one of
them, and what they send each other, beside those of one device alone;
`of_network` counts one network's work an image, loops included.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.stages import Traced
import numpy as np

from experiments.measuring import costs, loops
from experiments.measuring.costs import Collectives, Work
from experiments.scale.cases import Subject
from rdefense import deployed, training
from rdefense.attacks import Attack, assemble, pieces
from rdefense.gradients import through
from rdefense.parallel import Layout, layout
from rdefense.precision import at
from rdefense.threats import ball

__all__ = [
  'COUNTS',
  'Shapes',
  'attack_step',
  'make_attack',
  'of_network',
  'on_devices',
  'shapes',
  'update',
]

COUNTS = (1, 2, 4, 8)  # of devices
_ROWS = 16  # images a device
_EPS = 0.1  # of the ball; any radius costs the same


class Shapes(NamedTuple):
  """Arguments that are compiled for and never made."""

  params: Any
  codes: Any
  key: Any
  index: Any
  x: Any
  y: Any


def shapes(subject: Subject, rows: int) -> Shapes:
  """Of all that a program about a subject takes, with so many images."""

  def of(shape, dtype=np.float32):
    return jax.ShapeDtypeStruct(shape, dtype)

  key = jax.eval_shape(jax.random.key, 0)
  params = jax.eval_shape(subject.classifier.init, key, of(subject.shape))
  codes = None if subject.codes is None else of(subject.codes)
  return Shapes(
    params,
    codes,
    key,
    of((rows,), np.int32),
    of((rows, *subject.shape)),
    of((rows,), np.int32),
  )


def make_attack(subject: Subject) -> Callable[[Any], Attack]:
  """The subject's attack as a function of `(params, codes)`."""

  def make(operands) -> Attack:
    params, codes = operands
    return assemble(
      subject.recipe,
      lambda x: subject.classifier.apply(params, x),
      subject.defend(codes, subject.recipe.alpha),
      ball('linf', _EPS),
    )

  return make


def attack_step(
  subject: Subject, rows: int, where: Layout
) -> tuple[Traced, Traced]:
  """A move of an attack, and one part of the evaluation after it."""
  s = shapes(subject, rows)
  operands = s.params, s.codes
  made = pieces.compiled(make_attack(subject), where)
  state = jax.eval_shape(made.start, operands, s.key, s.index, s.x, s.y)
  number = jax.ShapeDtypeStruct((), np.int32)
  stale = jax.ShapeDtypeStruct((rows,), bool)
  return (
    made.move.trace(operands, s.key, s.index, s.x, number, state),
    made.evaluate.trace(
      operands, s.key, s.index, s.x, s.y, stale, number, number, state
    ),
  )


def _attack_scan(subject: Subject, rows: int, where: Layout) -> Traced:
  """Two steps as one program, as accelerators run them."""
  s = shapes(subject, rows)
  scan = pieces.compiled(make_attack(subject), where).scan
  return scan.trace(2, 1, (s.params, s.codes), s.key, s.index, s.x, s.y)


def _compaction(subject: Subject, rows: int, where: Layout) -> Traced:
  """What leaves half of the rows out of a batch."""
  s = shapes(subject, rows)
  start = pieces.compiled(make_attack(subject), where).start
  data = s.index, s.x, s.y
  state = jax.eval_shape(start, (s.params, s.codes), s.key, *data)
  kept = jax.ShapeDtypeStruct((rows // 2,), np.int32)
  take, _ = pieces.moves(where)
  return take.trace((data, state), kept)


def _judge(subject: Subject, rows: int, where: Layout) -> Traced:
  s = shapes(subject, rows)
  judge = deployed.judging(subject.classifier.apply, subject.defend, where)
  return judge.trace(s.key, s.index, s.x, s.y, s.params, s.codes)


def update(subject: Subject, rows: int, where: Layout) -> Traced:
  """One step of training; the codes are constants there, whatever they are."""
  s = shapes(subject, rows)
  rng = np.random.default_rng(0)
  codes = None if subject.codes is None else rng.random(subject.codes)
  defense, tx = subject.defend(codes, 1.0), subject.tx
  x = jax.ShapeDtypeStruct(subject.shape, np.float32)
  state = jax.eval_shape(
    lambda key, x: training.initial(
      subject.classifier, tx, key, defense.apply(key, x)
    ),
    s.key,
    x,
  )
  step: Any = training.updater(subject.classifier, tx, defense, where=where)
  return step.trace(state, s.key, s.index, s.x, s.y)


def _gradient(subject: Subject, rows: int) -> Traced:
  """Value and gradient of the recipe's loss, one draw on each image."""
  recipe, s = subject.recipe, shapes(subject, rows)

  def gradients(params, codes, key, x, y):
    logits_fn = at(
      recipe.precision, lambda x: subject.classifier.apply(params, x)
    )
    oracle = through(
      logits_fn,
      subject.defend(codes, recipe.alpha),
      recipe.loss,
      recipe.backward,
      deployed_margin=recipe.keep == 'best',
    )

    def one(key, x, y):
      found = oracle.evaluate(key, x, y, 0)
      return found, oracle.gradient(jax.random.clone(key), x, found)

    return jax.vmap(one)(jax.random.split(key, len(y)), x, y)

  return jax.jit(gradients).trace(s.params, s.codes, s.key, s.x, s.y)


def on_devices(
  subject: Subject, counts: Sequence[int] = COUNTS, rows: int = _ROWS
) -> dict[str, dict[int, tuple[Work, Collectives]]]:
  """Work of one device, and what devices send each other.

  Args:
    subject: deterministic, and with an optimiser.
    counts: of devices.
    rows: images a device.

  Returns:
    program -> number of devices -> work and collectives, of `attack_step` (a
    move and its evaluation), `attack_scan` (start and steps, where they are
    one program: the body of its loop counts once), `judge`, `training_update`
    and `compaction`: what leaves rows out of a batch, on CPUs alone.
  """
  found: dict[str, dict[int, tuple[Work, Collectives]]] = {}
  for count in counts:
    where = layout(jax.devices()[:count])
    about = subject, rows * count, where
    programs: dict[str, tuple[Traced, ...]] = {
      'attack_step': attack_step(*about),
      'attack_scan': (_attack_scan(*about),),
      'judge': (_judge(*about),),
      'training_update': (update(*about),),
      'compaction': (_compaction(*about),),
    }
    for name, parts in programs.items():
      compiled = [traced.lower().compile() for traced in parts]
      works = costs.summed(costs.work(each) for each in compiled)
      text = '\n'.join(each.as_text() for each in compiled)
      found.setdefault(name, {})[count] = works, costs.collectives(text)
  return found


def of_network(
  subject: Subject, rows: int, batch_size: int = 0
) -> dict[str, Work]:
  """Work an image of one network, as a CPU's compiler arranges it.

  Args:
    subject: the network, and what stands in front of it.
    rows: images side by side.
    batch_size: of training; 0 leaves that out.

  Returns:
    `gradient` (one draw), `forward` (likewise) and, where asked for, `update`.
  """
  where = layout(jax.devices()[:1])

  def an_image(traced: Traced, count: int) -> Work:
    return costs.scaled(loops.work(traced), 1 / count)

  found = {
    'gradient': an_image(_gradient(subject, rows), rows),
    'forward': an_image(_judge(subject, rows, where), rows),
  }
  if batch_size:
    traced = update(subject, batch_size, where)
    found['update'] = an_image(traced, batch_size)
  return found

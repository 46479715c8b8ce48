"""What attacks make of a device: shares of its measured ceilings, in one run.

  python -m experiments.utilization --publish
  python -m experiments.utilization --workloads=mobilenet_v2 --batch=64
  python -m experiments.utilization --quick

Whole attacks on the papers' networks, with random weights and images (what is
in them costs nothing), take turns with a large matrix product at each precision
and with passes over large arrays, all on one device. Run it where nothing else
runs. A step that does f operations and moves b bytes, on a device of which
those two reach F operations and B bytes a second, is held against

  of_roofline = max(f / F, b / B) / seconds of a step,

the larger of of_matmul and of_bandwidth. f and b are those of
`experiments.measuring.loops` on a CPU, whatever the device, as XLA does not
count what libraries compute for a GPU. So b is what a CPU's compiler moves: a
share of the bandwidth above 1 says that caches, or another compiler, keep more
on chip. An accelerator's batches fill it; where they do not fit its memory,
lower them by `--batch`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.measuring import (
  costs,
  loops,
  timing,
)
from experiments.measuring.costs import Work
from experiments.measuring.timing import Figure, take_turns
from experiments.measuring.utilization_cases import Workload, chosen, workloads
from experiments.running import program
from experiments.scale.programs import attack_step, make_attack
from rdefense import deployed, memory
from rdefense.attacks import Recipe, batch_attack
from rdefense.attacks.driver import rows_at_once
from rdefense.parallel import layout
from rdefense.precision import HIGHEST

__all__ = ['Size', 'measure', 'step_work']

_BATCH = flags.DEFINE_integer('batch', None, 'Images side by side, in each.')
_WORKLOADS = flags.DEFINE_list('workloads', [], 'Only these; all by default.')

_MEASURED = (HIGHEST, 'default')  # judged at the first, attacked at either


class Size(NamedTuple):
  """How much is measured: of the ceilings, and how many turns.

  Attributes:
    matmul: side of the matrices.
    floats: of each of the three arrays that a pass reads or writes.
    calls: products, or passes, one after another in a turn.
    repeats: turns.
  """

  matmul: int
  floats: int
  calls: int
  repeats: int


ON_CPU, ON_ACCELERATOR = Size(2048, 2**25, 4, 3), Size(8192, 2**28, 8, 5)
QUICK = Size(256, 2**16, 1, 1)


def step_work(workload: Workload) -> Work:
  """Of one step on the whole batch, all its draws, as compiled for a CPU.

  Args:
    workload: its recipe has a chunk.

  Raises:
    ValueError: where JAX has been kept from using the CPU.
  """
  try:
    cpu = jax.local_devices(backend='cpu')[:1]
  except RuntimeError as error:
    raise ValueError(
      'operations are counted on the CPU, and JAX has none: add it, as in '
      'JAX_PLATFORMS=cuda,cpu.'
    ) from error
  with jax.default_device(cpu[0]):
    move, part = (
      loops.work(traced)
      for traced in attack_step(workload.subject, workload.batch, layout(cpu))
    )
  num_parts = _num_parts(workload.subject.recipe)
  return costs.summed([move, costs.scaled(part, num_parts)])


def _attacks(workload: Workload) -> tuple[Workload, dict[str, Callable]]:
  """The workload as it runs here, and its attack at each precision."""
  subject, size = workload.subject, workload.batch
  where = layout(jax.local_devices()[:1])
  rng = np.random.default_rng(0)
  x = rng.random((size, *subject.shape), np.float32)
  y = np.arange(size, dtype=np.int32) % subject.classifier.num_classes
  codes = None if subject.codes is None else rng.random(subject.codes)
  params = jax.jit(subject.classifier.init)(jax.random.key(0), x[0])
  target = deployed.Target(
    subject.classifier.apply, subject.defend, params, codes
  )
  # With `next`, so many steps are as many gradients.
  recipe = subject.recipe._replace(keep='next', num_restarts=1)
  (recipe,) = memory.with_chunks(
    target, [recipe], subject.shape, rows_at_once(size)
  )
  subject = subject._replace(recipe=recipe)
  operands = jax.device_put((params, codes), where.copied)
  batch = np.arange(size), x, y, np.ones(size, bool)

  def attack(precision: str) -> Callable[[], np.ndarray]:
    precise = recipe._replace(precision=precision)
    run = batch_attack(
      make_attack(subject._replace(recipe=precise)), where, compact=False
    )
    key, steps = jax.random.key(1), workload.num_steps - 1
    return lambda: run(operands, key, steps, *batch, _num_parts(recipe)).z

  attacks = {precision: attack(precision) for precision in _MEASURED}
  return workload._replace(subject=subject), attacks


def _num_parts(recipe: Recipe) -> int:
  return max(1, recipe.num_draws) // recipe.chunk


def _ceilings(size: Size) -> dict[str, Callable[[], Any]]:
  """Products at each precision, and passes over memory."""
  key = jax.random.key(2)
  # Scaled, so that a product is no larger than its factor.
  matrix = jax.random.normal(key, (size.matmul,) * 2) / size.matmul**0.5
  held = [jnp.zeros(size.floats)]
  other = jnp.ones(size.floats)
  # Donated: memory that is new to a process is slower the first time.
  triad = jax.jit(lambda a, b: 0.5 * a + b, donate_argnums=0)

  def products(precision: str) -> Callable[[], jax.Array]:
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))

    def run():
      out = matrix
      for _ in range(size.calls):
        out = product(out, matrix)
      return out

    return run

  def passes():
    for _ in range(size.calls):
      held[0] = triad(held[0], other)
    return held[0]

  found: dict[str, Callable] = {p: products(p) for p in _MEASURED}
  return found | {'passes': passes}


def measure(every: Sequence[Workload], size: Size) -> dict[str, Figure]:
  """All figures, by what follows `benchmark/` in their keys.

  Args:
    every: what is attacked.
    size: of the ceilings; how many turns.
  """
  start = f'utilization/{jax.default_backend()}'
  ready = [_attacks(workload) for workload in every]
  works = [step_work(workload) for workload, _ in ready]
  runs = _ceilings(size)
  for workload, attacks in ready:
    runs |= {f'{workload.name}/{p}': run for p, run in attacks.items()}
  seconds = take_turns(runs, size.repeats)
  moved, done = 3 * 4 * size.floats, 2 * size.matmul**3
  bandwidth = size.calls * moved / seconds['passes']
  peaks = {p: size.calls * done / seconds[p] for p in _MEASURED}
  figures = {
    f'{start}/ceiling/bandwidth': Figure(bandwidth / 1e9, unit='GB/s')
  } | {
    f'{start}/ceiling/matmul_{p}': Figure(peak / 1e9, unit='GFLOP/s')
    for p, peak in peaks.items()
  }
  for (workload, _), work in zip(ready, works):
    for precision, peak in peaks.items():
      name = f'{workload.name}/{precision}'
      step = seconds[name] / workload.num_steps
      found = _figures(workload, work, step, peak, bandwidth)
      figures |= {f'{start}/{name}/{what}': f for what, f in found}
  return figures


def _figures(
  workload: Workload, work: Work, step, peak, bandwidth
) -> Iterator[tuple[str, Figure]]:
  """Figures of one workload; seconds of a step and ceilings by turn."""
  count = workload.batch
  rate, draws = count / step, workload.subject.recipe.num_draws
  unit = 'image-steps/s'
  yield 'image_steps_per_second', Figure(rate, '', unit, count)
  if draws:
    unit = 'image-step-draws/s'
    yield 'image_step_draws_per_second', Figure(rate * draws, '', unit, count)
  yield 'gflops', Figure(work.flops / step / 1e9, '', 'GFLOP/s', count)
  of_matmul = work.flops / step / peak
  of_bandwidth = work.bytes / step / bandwidth
  yield 'of_matmul', Figure(of_matmul, examples=count)
  yield 'of_bandwidth', Figure(of_bandwidth, examples=count)
  of_roofline = np.maximum(of_matmul, of_bandwidth)
  yield 'of_roofline', Figure(of_roofline, workload.target, examples=count)


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  del argv

  def measured(quick: bool) -> dict[str, Figure]:
    backend = jax.default_backend()
    every = workloads(backend, quick)
    size = ON_CPU if backend == 'cpu' else ON_ACCELERATOR
    some = chosen(every, _WORKLOADS.value, _BATCH.value)
    return measure(some, QUICK if quick else size)

  timing.run(measured, 'utilization')


if __name__ == '__main__':
  program.run(main)

"""Averaging over draws: memory of many beside few, time beside bare gradients.

  python -m experiments.averaging_benchmark
  python -m experiments.averaging_benchmark --quick

One step of paper B's attack (its start and its step, an averaged gradient
each) on RandMix before paper A's MNIST network, batch 64, chunks as
`rdefense.memory` chooses them. Memory is the peak of a fresh process for each
number of draws, so it holds the interpreter, JAX and what was compiled.
Seconds are of attacks that take turns in one process, compiled before.
"""

from collections.abc import Callable
import json
import resource
import subprocess
import sys
from typing import NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.measuring import timing
from experiments.measuring.timing import Figure, take_turns
from experiments.running import program
from rdefense import deployed, memory
from rdefense.attacks import assemble, batch_attack
from rdefense.attacks.driver import rows_at_once
from rdefense.attacks.eot import paper_b
from rdefense.defenses import rand_mix
from rdefense.losses import cross_entropy
from rdefense.models import mnist_cnn
from rdefense.threats import ball

_PEAK = flags.DEFINE_integer(
  'peak', None, 'Only prints the peak memory, in bytes, with so many draws.'
)

_EPS, _NOISE, _STEPS = 0.1, 0.15, 1


class Size(NamedTuple):
  """How much is measured; the figures compare draws with `few` of them."""

  batch: int = 64
  draws: tuple[int, ...] = (1, 16, 64, 256)
  few: int = 16
  repeats: int = 5


FULL, QUICK = Size(), Size(4, (1, 4), 1, 1)


def target() -> deployed.Target:
  """The network, untrained, behind RandMix with paper B's constants."""
  network = mnist_cnn()
  params = network.init(jax.random.key(0), jnp.zeros((28, 28, 1)))
  defense = rand_mix(_NOISE, _NOISE, 2, 100, gamma=40.0, alpha=40.0)
  return deployed.Target(
    network.apply, lambda codes, alpha: defense, params, num_draws=1
  )


def images(size: Size) -> tuple[np.ndarray, np.ndarray]:
  """Noise and labels: what is in them costs nothing."""
  x = np.random.default_rng(0).random((size.batch, 28, 28, 1), np.float32)
  return x, np.arange(size.batch, dtype=np.int32) % 10


def attack(num_draws: int, size: Size) -> Callable[[], np.ndarray]:
  """One step of the attack, averaging so many draws, on the whole batch."""
  pipeline, (x, y) = target(), images(size)
  recipes = paper_b(_EPS, _STEPS, num_draws)
  rows = rows_at_once(size.batch)
  (recipe,) = memory.with_chunks(pipeline, recipes, x.shape[1:], rows)

  def make_attack(params):
    return assemble(
      recipe,
      lambda x: pipeline.apply(params, x),
      pipeline.defend(None, jnp.float32(recipe.alpha)),
      ball('linf', _EPS),
    )

  run = batch_attack(make_attack, compact=False)
  index, every = np.arange(len(x)), np.ones(len(x), bool)
  parts = num_draws // recipe.chunk
  return lambda: (
    run(pipeline.params, jax.random.key(1), _STEPS, index, x, y, every, parts).z
  )


def bare_gradients(num_draws: int, size: Size) -> Callable[[], jax.Array]:
  """As many gradients of the network alone as the attack takes."""
  pipeline, (x, y) = target(), images(size)

  @jax.jit
  def gradient(params, x, y):
    def loss(x, y):
      return cross_entropy(pipeline.apply(params, x), y)

    return jax.vmap(jax.grad(loss))(x, y)

  arrays = jax.device_put((pipeline.params, x, y))

  def run():
    for _ in range((_STEPS + 1) * num_draws):
      last = gradient(*arrays)
    return last

  return run


def peak(num_draws: int, quick: bool) -> int:
  """Bytes of a fresh process that runs the attack."""
  command = [
    sys.executable,
    '-m',
    'experiments.averaging_benchmark',
    f'--peak={num_draws}',
    *(['--quick'] if quick else []),
  ]
  done = subprocess.run(command, check=True, capture_output=True, text=True)
  return json.loads(done.stdout)


def measure(size: Size, quick: bool) -> dict[str, Figure]:
  """All figures, by the last part of their keys."""
  most = size.draws[-1]
  bytes_of = {n: peak(n, quick) for n in size.draws}
  runs: dict[str, Callable] = {f'{n}': attack(n, size) for n in size.draws}
  runs['bare'] = bare_gradients(size.few, size)
  seconds = take_turns(runs, size.repeats)
  per_draw = {n: seconds[f'{n}'] / n for n in size.draws}
  memory, times = f'averaging/memory_{most}_over_{size.few}', 'averaging/time'
  return {
    memory: Figure(
      np.array([bytes_of[most] / bytes_of[size.few]]), 'at most 1.2'
    ),
    f'{times}_per_draw_{most}_over_{size.few}': Figure(
      per_draw[most] / per_draw[size.few], 'at most 1.1'
    ),
    f'{times}_randmix_over_bare': Figure(
      seconds[f'{size.few}'] / seconds['bare'], 'at most 1.25'
    ),
  } | {
    f'averaging/memory_mib_{n}': Figure(
      np.array([bytes_of[n] / 2**20]), '', 'MiB', size.batch
    )
    for n in size.draws
  }


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  del argv
  if _PEAK.value is not None:
    size = QUICK if timing.quick() else FULL
    attack(_PEAK.value, size)()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return
  timing.run(
    lambda quick: measure(QUICK if quick else FULL, quick),
    'averaging_benchmark',
  )


if __name__ == '__main__':
  program.run(main)

"""Speed beside the peers': ratios measured in one run.

  python -m experiments.benchmark --workdir=runs/mnist
  python -m experiments.benchmark --quick

Competitors take turns, see `experiments.measuring.timing`: a figure is the
median of the ratios within the turns. Run it on an idle machine. All have paper
A's MNIST network, the same weights and images, and do equal work: so many
gradients, a sign step after each, nothing left out of the batch. Only
`time_to_accuracy` compares whole evaluations that come to the same accuracy,
where leaving out what is fooled, and steps that fall, are the point; it also
shows ours with the peer's number of steps. `--workdir` is one of
`experiments.train` with the model `nat`. Each CPU core is a device of ours.
A step of training is measured beside the same as XLA compiles it by default.

Peers (`make compare`) that are not installed are passed over.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

from absl import flags
from etils.epath import Path
import jax
import jax.numpy as jnp
import numpy as np

from experiments.measuring import (
  costs,
  peers,
  timing,
)
from experiments.measuring.accuracy import time_to_accuracy
from experiments.measuring.timing import Figure, take_turns
from experiments.measuring.training_steps import training_steps
from experiments.running import program
from rdefense.attacks import assemble, batch_attack
from rdefense.attacks.recipes import pgd_madry
from rdefense.defenses import identity
from rdefense.losses import cross_entropy
from rdefense.models import max_pool, mnist_cnn
from rdefense.parallel import layout
from rdefense.threats import ball

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where the trained models are.', allow_override=True
)

_EPS, _STEP_SIZE = 0.1, 0.01


class Size(NamedTuple):
  """How much is measured; the second half is of `time_to_accuracy`."""

  batch: int = 100
  steps: int = 20
  repeats: int = 9
  matmul: int = 2048
  images: int = 1000
  long_steps: int = 100
  long_repeats: int = 3


FULL, QUICK = Size(), Size(20, 2, 2, 512, 40, 3, 1)


def attack(num_steps: int, keep: str, x, y) -> Callable:
  """Our PGD on the undefended network, as a function of its parameters."""
  (recipe,) = pgd_madry(num_steps, _STEP_SIZE, keep=keep)

  def make_attack(params):
    logits_fn = lambda x: mnist_cnn().apply(params, x)
    return assemble(recipe, logits_fn, identity(), ball('linf', _EPS))

  run = batch_attack(make_attack, layout(), compact=False)
  index, every = np.arange(len(x)), np.ones(len(x), bool)
  key = jax.random.key(1)
  return lambda params: run(params, key, num_steps, index, x, y, every).z


def against_hardware(params, x, y, size: Size) -> dict[str, Figure]:
  """What a step costs beside its gradient, and that beside a matmul."""

  where = layout()

  @functools.partial(
    jax.jit,
    in_shardings=(where.copied, where.split, where.split),
    out_shardings=where.split,
  )
  def gradient(params, x, y):
    def loss(x, y):
      return cross_entropy(mnist_cnn().apply(params, x), y)

    return jax.vmap(jax.grad(loss))(x, y)

  count = size.steps + 1  # T steps cost T + 1 gradients
  steps = attack(size.steps, 'best', x, y)
  matrix = jnp.full((size.matmul,) * 2, 0.5)
  weights = jax.device_put(params, where.copied)
  on_device = jax.device_put((x, y), where.split)
  matmul = jax.jit(jnp.matmul)
  seconds = take_turns(
    {
      'gradient': lambda: [gradient(weights, *on_device) for _ in range(count)],
      'steps': lambda: steps(params),
      'matmul': lambda: matmul(matrix, matrix),
    },
    size.repeats,
  )
  rate = count * size.batch * 2 * costs.mnist_cnn_flops() / seconds['gradient']
  peak = 2 * size.matmul**3 / seconds['matmul']
  return {
    'pgd_step_over_gradient': Figure(
      seconds['steps'] / seconds['gradient'], 'at most 1.05'
    ),
    'gradient_over_matmul': Figure(rate / peak, 'at least 0.6'),
    'matmul_gflops': Figure(peak / 1e9, unit='GFLOP/s'),
  }


def against_peers(params, x, y, size: Size) -> dict[str, Figure]:
  """Image-steps a second over each peer's, whole attacks of equal work."""
  logits = jax.vmap(mnist_cnn().apply, (None, 0))(params, x)
  ours = attack(size.steps - 1, 'next', x, y)  # `steps` gradients and updates
  competitors: dict[str, Callable] = {'ours': lambda: ours(params)}
  targets = {}
  if peers.installed('foolbox'):
    import foolbox

    pgd = foolbox.attacks.LinfPGD(abs_stepsize=_STEP_SIZE, steps=size.steps)
    images, labels = jnp.asarray(x), jnp.asarray(y)
    same_params = jax.tree.map(jnp.asarray, peers.flax_params(params))
    for name, pool, target in (
      (
        'foolbox_jax',
        peers.flax_pool,
        'at least 2.5 (it pools with nn.max_pool)',
      ),
      ('foolbox_jax_same_pooling', max_pool, 'none (it pools as we do)'),
    ):
      network = peers.FlaxNetwork(pool)
      fn = jax.jit(lambda x, net=network: net.apply(same_params, x))
      peers.check_equal(name, fn(images), logits)
      model = foolbox.JAXModel(fn, bounds=(0, 1))
      competitors[name] = lambda model=model: pgd(
        model, images, labels, epsilons=_EPS
      )[1]
      targets[name] = target
  if peers.installed('torch', 'torchattacks'):
    import torchattacks

    torch_images, torch_labels = peers.to_torch(x, y)
    net = peers.torch_network(params)
    peers.check_equal('torchattacks', net(torch_images).detach(), logits)
    peer = torchattacks.PGD(net, _EPS, _STEP_SIZE, size.steps)
    competitors['torchattacks'] = lambda: peer(torch_images, torch_labels)
    targets['torchattacks'] = 'at least 1.0'
  seconds = take_turns(competitors, size.repeats)
  rate = size.batch * size.steps / seconds['ours']
  backend = jax.default_backend()
  return {
    f'{backend}_image_steps_per_second': Figure(rate, unit='image-steps/s')
  } | {
    f'steps_vs_{name}': Figure(seconds[name] / seconds['ours'], target)
    for name, target in targets.items()
  }


def measure(size: Size, workdir: Path | None = None) -> dict[str, Figure]:
  """All figures, by the last part of their keys."""
  x = np.random.default_rng(0).random((size.batch, 28, 28, 1), np.float32)
  y = np.arange(size.batch, dtype=np.int32) % 10
  params = mnist_cnn().init(jax.random.key(0), x[0])
  figures = against_hardware(params, x, y, size)
  figures |= against_peers(params, x, y, size)
  figures |= training_steps(size.repeats)
  if not workdir:
    print('No --workdir with a trained model: time_to_accuracy is left out.')
  else:
    figures |= time_to_accuracy(
      workdir,
      _EPS,
      _STEP_SIZE,
      size.images,
      size.long_steps,
      size.batch,
      size.long_repeats,
    )
  return figures


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  del argv
  workdir = _WORKDIR.value and program.folder('workdir', _WORKDIR.value)
  timing.run(
    lambda quick: measure(QUICK if quick else FULL, workdir), 'benchmark'
  )


if __name__ == '__main__':
  program.one_device_a_core()
  program.run(main)

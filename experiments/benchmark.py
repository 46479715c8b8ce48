"""Speed beside the peers': ratios measured in one run.

  python -m experiments.benchmark --workdir=runs/mnist
  python -m experiments.benchmark --quick

Competitors take turns (A B C A B C ...), so that whatever else the machine
does hits all of them; a figure is the median of the ratios within the turns,
its interval their quartiles. Run it on an idle machine. All have paper A's
MNIST network, the same weights and images, and do equal work: so many
gradients, a sign step after each, nothing left out of the batch. Only
`time_to_accuracy` compares whole evaluations that come to the same accuracy,
where leaving out what is fooled, and steps that fall, are the point; it also
shows ours with the peer's number of steps. `--workdir` is one of
`experiments.train` with the model `nat`. Each CPU core is a device of ours.

Peers (`make compare`) that are not installed are passed over.
"""

from collections.abc import Callable, Mapping
import functools
import importlib.util
from pathlib import Path
import time
from typing import Any, NamedTuple

from absl import app, flags, logging
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments import program, publish
from experiments.program import command_line
from experiments.publish import Entry
from experiments.workdir import load_params
from rdefense import build, deployed, evaluation, files, provenance
from rdefense.attacks import assemble, batch_attack
from rdefense.attacks.recipes import pgd_falling, pgd_madry
from rdefense.data import gather
from rdefense.defenses import identity
from rdefense.losses import cross_entropy
from rdefense.models import max_pool, mnist_cnn
from rdefense.parallel import layout
from rdefense.threats import ball

_QUICK = flags.DEFINE_bool('quick', False, 'A smoke run: figures mean nothing.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where the trained models are.')

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


class Figure(NamedTuple):
  """One figure of the table."""

  samples: np.ndarray  # [repeats]
  target: str = ''
  unit: str = 'times'
  examples: int | None = None

  @property
  def quartiles(self) -> list[float]:
    return [float(q) for q in np.quantile(self.samples, (0.25, 0.5, 0.75))]


def take_turns(
  competitors: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, np.ndarray]:
  """Seconds `[repeats]` of each; a first round, not counted, compiles."""
  seconds: dict[str, list[float]] = {name: [] for name in competitors}
  for turn in range(repeats + 1):
    for name, fn in competitors.items():
      begin = time.perf_counter()
      jax.block_until_ready(fn())
      if turn:
        seconds[name].append(time.perf_counter() - begin)
  return {name: np.array(values) for name, values in seconds.items()}


def network_flops(widths=(32, 64), hidden=1024, num_classes=10) -> int:
  """Multiplications and additions of `mnist_cnn` on one 28x28 image.

  Products with the zeros of SAME padding are not counted. The gradient with
  respect to the image takes as many again.
  """
  total, side, channels = 0, 28, 1
  for width in widths:
    taps = 5 * side - 6  # of all windows along one axis, inside the image
    total += taps**2 * channels * width
    side, channels = side // 2, width
  return 2 * (total + side**2 * channels * hidden + hidden * num_classes)


def layers(params) -> list[dict[str, np.ndarray]]:
  """Kernel and bias of each layer of `mnist_cnn`, first to last.

  By shape, as the names depend on the order in which Flax meets the layers.
  """

  def place(layer):
    *rest, inputs, _ = layer['kernel'].shape
    return (0, inputs) if rest else (1, -inputs)

  arrays = jax.tree.map(np.array, params['params'])
  return sorted(arrays.values(), key=place)


class FlaxNetwork(nn.Module):
  """`mnist_cnn` as a user of Flax writes it; see `flax_params`."""

  pool: Callable

  @nn.compact
  def __call__(self, x):
    x = self.pool(nn.relu(nn.Conv(32, (5, 5))(x)))
    x = self.pool(nn.relu(nn.Conv(64, (5, 5))(x)))
    x = nn.relu(nn.Dense(1024)(x.reshape(x.shape[0], -1)))
    return nn.Dense(10)(x)


def flax_params(params):
  """Our parameters under the names of `FlaxNetwork`."""
  names = 'Conv_0', 'Conv_1', 'Dense_0', 'Dense_1'
  return {'params': dict(zip(names, layers(params)))}


def flax_pool(x):
  """2x2 pooling as Flax has it (`reduce_window`); ours is `max_pool`."""
  return nn.max_pool(x, (2, 2), strides=(2, 2))


def torch_network(params):
  """`mnist_cnn` in PyTorch, NCHW, with our parameters."""
  import torch

  def convolution(layer):
    _, _, inputs, outputs = layer['kernel'].shape
    kernel = layer['kernel'].transpose(3, 2, 0, 1)  # HWIO to OIHW
    return filled(torch.nn.Conv2d(inputs, outputs, 5, padding=2), kernel, layer)

  def dense(layer):
    kernel = layer['kernel'].T
    return filled(torch.nn.Linear(*kernel.shape[::-1]), kernel, layer)

  def filled(module, kernel, layer):
    weight = torch.from_numpy(np.ascontiguousarray(kernel))
    bias = torch.from_numpy(layer['bias'])
    module.load_state_dict({'weight': weight, 'bias': bias})
    return module

  first, second, hidden, last = layers(params)
  rows = np.arange(len(hidden['kernel'])).reshape(7, 7, -1)  # HWC to CHW
  hidden['kernel'] = hidden['kernel'][rows.transpose(2, 0, 1).ravel()]
  relu, pool = torch.nn.ReLU, torch.nn.MaxPool2d
  return torch.nn.Sequential(
    *(convolution(first), relu(), pool(2)),
    *(convolution(second), relu(), pool(2)),
    *(torch.nn.Flatten(), dense(hidden), relu(), dense(last)),
  ).eval()


def to_torch(x, y):
  """Images `[B, H, W, C]` as NCHW, labels as int64."""
  import torch

  nchw = np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2))
  return torch.from_numpy(nchw), torch.from_numpy(np.asarray(y, np.int64))


def check_equal(name: str, theirs, ours) -> None:
  """Raises RuntimeError unless two networks give the same logits."""
  gap = float(np.abs(np.asarray(theirs) - np.asarray(ours)).max())
  if not gap < 1e-3:
    raise RuntimeError(f'the logits of {name} differ from ours by {gap:.2g}.')


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
  rate = count * size.batch * 2 * network_flops() / seconds['gradient']
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
  if installed('foolbox'):
    import foolbox

    pgd = foolbox.attacks.LinfPGD(abs_stepsize=_STEP_SIZE, steps=size.steps)
    images, labels = jnp.asarray(x), jnp.asarray(y)
    same_params = jax.tree.map(jnp.asarray, flax_params(params))
    for name, pool, target in (
      ('foolbox_jax', flax_pool, 'at least 2.5 (it pools with nn.max_pool)'),
      ('foolbox_jax_same_pooling', max_pool, 'none (it pools as we do)'),
    ):
      network = FlaxNetwork(pool)
      fn = jax.jit(lambda x, net=network: net.apply(same_params, x))
      check_equal(name, fn(images), logits)
      model = foolbox.JAXModel(fn, bounds=(0, 1))
      competitors[name] = lambda model=model: pgd(
        model, images, labels, epsilons=_EPS
      )[1]
      targets[name] = target
  if installed('torch', 'torchattacks'):
    import torchattacks

    torch_images, torch_labels = to_torch(x, y)
    net = torch_network(params)
    check_equal('torchattacks', net(torch_images).detach(), logits)
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


def time_to_accuracy(workdir: Path, size: Size) -> dict[str, Figure]:
  """A whole evaluation of the natural model, ours over torchattacks'."""
  if not installed('torch', 'torchattacks'):
    return {}
  import torch
  import torchattacks

  config = ml_collections.ConfigDict(files.read_json(workdir / 'config.json'))
  test = build.dataset(config.data.to_dict(), 'test')
  batch = gather(test, np.arange(min(size.images, len(test.images))))
  network = build.classifier(config.model.to_dict(), test.num_classes)
  params = load_params(
    config, workdir, 'nat', network, identity(), batch.image[0]
  )
  target = deployed.Target(
    network.apply, lambda codes, alpha: identity(), params
  )
  net, (x, y) = torch_network(params), to_torch(batch.image, batch.label)
  logits = jax.vmap(network.apply, (None, 0))(params, jnp.asarray(batch.image))
  with torch.no_grad():
    check_equal('torchattacks', net(x), logits)
  peer = torchattacks.PGD(net, _EPS, _STEP_SIZE, size.long_steps)
  correct = {}

  def ours(name, recipes):
    verdicts = evaluation.attack(
      target, recipes, 'linf', _EPS, jax.random.key(2), batch
    )
    correct[name] = verdicts.predicted == batch.label

  def theirs():
    hits = []
    for images, labels in zip(x.split(size.batch), y.split(size.batch)):
      attacked = peer(images, labels)
      with torch.no_grad():
        hits.append((net(attacked).argmax(1) == labels).numpy())
    correct['torchattacks'] = np.concatenate(hits)

  chosen = {
    'ours': pgd_falling(_EPS),
    'ours_of_as_many_steps': pgd_madry(size.long_steps, _STEP_SIZE),
  }
  seconds = take_turns(
    {n: functools.partial(ours, n, r) for n, r in chosen.items()}
    | {'torchattacks': theirs},
    size.long_repeats,
  )
  name, count = 'time_to_accuracy', len(x)
  targets = {
    'ours': ('', f'at least 5 (it takes {size.long_steps} steps, ours 20)'),
    'ours_of_as_many_steps': ('_in_as_many_steps', 'none'),
  }
  figures = {
    f'{name}_vs_torchattacks{suffix}': Figure(
      seconds['torchattacks'] / seconds[who], target, 'times', count
    )
    for who, (suffix, target) in targets.items()
  }
  for who, hits in correct.items():
    accuracy = np.array([100 * hits.mean()])
    figures[f'{name}/{who}_accuracy'] = Figure(accuracy, '', '%', count)
    figures[f'{name}/{who}_seconds'] = Figure(seconds[who], '', 's', count)
  return figures


def installed(*names: str) -> bool:
  """Whether peers are there; says of each that is not."""
  missing = [n for n in names if importlib.util.find_spec(n) is None]
  for name in missing:
    print(f'{name} is not installed, so passed over: `make compare` adds it.')
  return not missing


def measure(size: Size, workdir: str | None = None) -> dict[str, Figure]:
  """All figures, by the last part of their keys."""
  x = np.random.default_rng(0).random((size.batch, 28, 28, 1), np.float32)
  y = np.arange(size.batch, dtype=np.int32) % 10
  params = mnist_cnn().init(jax.random.key(0), x[0])
  figures = against_hardware(params, x, y, size)
  figures |= against_peers(params, x, y, size)
  if workdir is None:
    print('No --workdir with a trained model: time_to_accuracy is left out.')
  else:
    figures |= time_to_accuracy(Path(workdir), size)
  return figures


def table(figures: Mapping[str, Figure]) -> str:
  """A line a figure: median, quartiles, target."""
  width = max([42, *map(len, figures)])
  lines = [f'{"figure":{width}}{"median":>10}{"quartiles":>24}  target']
  for name, figure in figures.items():
    low, value, high = (f'{q:,.4g}' for q in figure.quartiles)
    target = figure.target or figure.unit
    between = f'{low} to {high}'
    lines.append(f'{name:{width}}{value:>10}{between:>24}  {target}')
  return '\n'.join(lines)


def entries(
  figures: Mapping[str, Figure], program: str = 'benchmark'
) -> dict[str, Entry]:
  """Figures with their surroundings, as docs/results.json holds them."""
  about = provenance.environment()
  found = {}
  for name, figure in figures.items():
    low, value, high = figure.quartiles
    found[f'benchmark/{name}'] = Entry(
      value, low, high, figure.examples, 'full', command_line(program),
      publish.commit_of(about), about['device'], about['date'], figure.unit,
      figure.target,
    )  # fmt: skip
  return found


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  run(
    argv,
    lambda quick: measure(QUICK if quick else FULL, _WORKDIR.value),
    'benchmark',
  )


def workdir() -> Path | None:
  """Where trained models are, if that was said."""
  return Path(_WORKDIR.value) if _WORKDIR.value else None


def quick() -> bool:
  """Whether a smoke run is asked for."""
  return _QUICK.value


def quick_asked(argv) -> bool:
  """Whether a smoke run is asked for, of this program or one that measures.

  Args:
    argv: what is left of the command line.

  Raises:
    app.UsageError: on arguments, and where a smoke run is to be published.
  """
  if len(argv) > 1:
    raise app.UsageError(f'expected no arguments, got {argv[1:]}.')
  if quick() and publish.ASKED.value:
    raise app.UsageError('--quick measures nothing worth a --publish.')
  return quick()


def run(argv, measured: Callable[[bool], dict[str, Figure]], program: str):
  """`main` of this program and of others that measure: `measured(quick)`."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells much at INFO
  figures = measured(quick_asked(argv))
  print(table(figures))
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, entries(figures, program))


if __name__ == '__main__':
  program.one_device_a_core()
  program.run(main)

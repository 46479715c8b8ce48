"""Certificates by tables beside plain enumeration, in one run.

  python -m experiments.certify_benchmark --workdir=runs/mnist --report=runs/c
  python -m experiments.certify_benchmark --quick

Paper A's MNIST network, adversarially trained (`adv` of a workdir of
`experiments.train`), behind two codes. Of the first test images that the
network gets right and that have enough ambiguous pixels at eps 0.2, the m most
central of these are left free and the others fixed, for m from 4 on. Both
sides decide whether any of the 2^m images is classified otherwise: tables by
`certify.decide`, enumeration by running the network on all of them, in jitted
batches of 256. Enumeration is timed on 2^12 images at most, and counted as 2^m
times that rate beyond. Both take turns. Deciding includes the attack in code
space that precedes the bounds; reading the network's layers, once for all
images, does not count and is a figure of its own.
"""

from collections.abc import Callable
import time
from typing import NamedTuple

from absl import flags
from etils.epath import Path
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.measuring import timing
from experiments.measuring.timing import Figure, take_turns
from experiments.running import program
from experiments.studies.workdir import fitted_codebook, load_params
from rdefense import build, files, pages, plots
from rdefense.certify.decide import UNDECIDED, decide
from rdefense.certify.layers import layered
from rdefense.certify.reachable import reachable
from rdefense.data import gather
from rdefense.defenses import identity
from rdefense.losses import margin
from rdefense.models import mnist_cnn
from rdefense.types import Array, PyTree

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where the trained models are.', allow_override=True
)
_REPORT = flags.DEFINE_string('report', None, 'Where a page with a plot goes.')

_EPS, _BATCH, _TIMED = 0.2, 256, 12


class Size(NamedTuple):
  """How much is measured."""

  free: tuple[int, ...] = (4, 8, 12, 16, 20, 24, 28)
  images: int = 4
  repeats: int = 3


FULL, QUICK = Size(), Size((2, 4), 1, 1)


class Problem(NamedTuple):
  """Images that the network gets right, with `free` pixels at least."""

  apply: Callable[[PyTree, Array], Array]
  params: PyTree
  codes: np.ndarray  # [2, 1]
  images: np.ndarray  # [n, 28, 28, 1]
  labels: np.ndarray  # [n]
  allowed: np.ndarray  # [n, 28, 28, 2]


def trained(workdir: Path, size: Size) -> Problem:
  """From a workdir with the model `adv` and a codebook."""
  config = ml_collections.ConfigDict(files.read_json(workdir / 'config.json'))
  test = build.dataset(config.data.to_dict(), 'test')
  book = fitted_codebook(config, workdir)
  if book is None:
    raise ValueError(f'{workdir} is of a study without a codebook.')
  network = build.classifier(config.model.to_dict(), test.num_classes)
  batch = gather(test, np.arange(min(400, len(test.images))))
  params = load_params(
    config, workdir, 'adv', network, identity(), batch.image[0]
  )
  return _chosen(
    network.apply, params, book.codes, batch.image, batch.label, size
  )


def untrained(size: Size) -> Problem:
  """Noise, and labels as a network with random weights sees it."""
  network = mnist_cnn(10, (4, 8), 32, 'he')
  images = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
  params = network.init(jax.random.key(0), jnp.asarray(images[0]))
  codes = np.array([[0.0], [1.0]], np.float32)
  return _chosen(network.apply, params, codes, images, None, size)


def _chosen(apply, params, codes, images, labels, size: Size) -> Problem:
  one = lambda x: reachable(x, codes, _EPS)
  allowed = np.asarray(jax.jit(jax.vmap(one))(images))
  z = codes[allowed.argmax(-1)]
  predicted = np.asarray(jax.jit(jax.vmap(apply, (None, 0)))(params, z))
  predicted = predicted.argmax(1)
  right = np.ones(len(images), bool) if labels is None else predicted == labels
  enough = (allowed.sum(-1) > 1).sum((1, 2)) >= max(size.free)
  rows = np.flatnonzero(right & enough)[: size.images]
  if not rows.size:
    raise ValueError(
      f'none of {len(images)} images is right and has {max(size.free)} '
      'ambiguous pixels.'
    )
  return Problem(
    apply, params, codes, images[rows], predicted[rows], allowed[rows]
  )


def left_free(allowed: np.ndarray, count: int) -> np.ndarray:
  """The `count` most central ambiguous pixels stay so, the others are fixed."""
  height, width = allowed.shape[:2]
  rows, columns = np.nonzero(allowed.sum(-1) > 1)
  far = np.maximum(abs(rows - height / 2), abs(columns - width / 2))
  fixed = np.argsort(far, kind='stable')[count:]
  allowed = allowed.copy()
  first = allowed.argmax(-1)[rows[fixed], columns[fixed]]
  allowed[rows[fixed], columns[fixed]] = False
  allowed[rows[fixed], columns[fixed], first] = True
  return allowed


def enumerate_all(problem: Problem, free: int):
  """Runs the network on all images of each node; the least margins."""

  @jax.jit
  def least(params, z, label):
    with jax.default_matmul_precision('highest'):
      logits = jax.vmap(lambda z: problem.apply(params, z))(z)
    return jax.vmap(margin, (0, None))(logits, label).min()

  bits = (np.arange(2**free)[:, None] >> np.arange(free)) & 1
  params = jax.device_put(problem.params)

  def run():
    found = []
    for label, whole in zip(problem.labels, problem.allowed, strict=True):
      allowed = left_free(whole, free)
      chosen = allowed.argmax(-1)
      rows, columns = np.nonzero(allowed.sum(-1) > 1)
      margins = []
      for begin in range(0, len(bits), _BATCH):
        part = np.resize(bits[begin : begin + _BATCH], (_BATCH, free))
        every = np.repeat(chosen[None], _BATCH, 0)
        every[:, rows, columns] = part
        margins.append(least(params, problem.codes[every], label))
      found.append(float(jnp.stack(margins).min()))
    return found

  return run


def decide_all(problem: Problem, free: int, network):
  """Decides the same nodes by tables, each in a call of its own."""
  allowed = [left_free(whole, free) for whole in problem.allowed]

  def run():
    return [
      decide(
        problem.apply, problem.params, problem.codes, x[None], label[None],
        _EPS, allowed=own[None], max_nodes=127, batch_size=1, leaf_size=1,
        network=network,
      ).status[0]
      for x, label, own in zip(
        problem.images, problem.labels, allowed, strict=True
      )
    ]  # fmt: skip

  return run


def measure(problem: Problem, size: Size) -> dict[str, Figure]:
  """All figures, by the last part of their keys."""
  begin = time.perf_counter()
  x = jnp.zeros(problem.images.shape[1:])
  network = layered(lambda x: problem.apply(problem.params, x), x)
  reading = time.perf_counter() - begin
  timed = min(_TIMED, max(size.free))
  decided = {m: decide_all(problem, m, network) for m in size.free}
  competitors = {f'{m}': run for m, run in decided.items()}
  competitors['plain'] = enumerate_all(problem, timed)
  seconds = take_turns(competitors, size.repeats)
  count = len(problem.images)
  per_image = seconds['plain'] / count / 2**timed
  figures = {
    'certify/seconds_to_read_layers': Figure(np.array([reading]), '', 's'),
    'certify/enumerated_images_per_second': Figure(
      1 / per_image, '', '1/s', count
    ),
  }
  for m, run in decided.items():
    taken = seconds[f'{m}'] / count
    open_ = sum(status == UNDECIDED for status in run())
    figures |= {
      f'certify/seconds_{m}_pixels': Figure(taken, '', 's', count),
      f'certify/enumeration_over_tables_{m}_pixels': Figure(
        per_image * 2**m / taken, '', 'times', count
      ),
      f'certify/undecided_{m}_pixels': Figure(
        np.array([float(open_)]), '', 'images', count
      ),
    }
  return figures


def write_report(directory: Path, figures: dict[str, Figure], size: Size):
  """A page with the figures, and how cost grows with the free pixels."""
  rate = figures['certify/enumerated_images_per_second'].quartiles[1]
  median = lambda m: figures[f'certify/seconds_{m}_pixels'].quartiles[1]
  curves = {
    'tables': [(m, median(m)) for m in size.free],
    'enumeration': [(m, 2**m / rate) for m in size.free],
  }
  title = 'Seconds to decide an image, by its ambiguous pixels'
  png = plots.encode_png(
    plots.costs(curves, title, 'ambiguous pixels', 'seconds an image')
  )
  rows = [
    (f'`{name}`', f'{figure.quartiles[1]:.4g} {figure.unit}')
    for name, figure in figures.items()
  ]
  blocks = [
    ('heading', 1, 'Certificates by tables, and by enumeration'),
    ('paragraph', ' '.join((__doc__ or '').split('\n\n')[2].split())),
    ('figure', 'certify_costs', png, title),
    ('table', ('figure', 'median'), rows),
  ]
  return pages.write_document(
    directory, 'certify_benchmark', title, blocks, {'certify_costs': png}
  )


def main(argv):
  """Measures, prints the table, writes a page, publishes where asked to."""
  del argv

  def measured(quick: bool) -> dict[str, Figure]:
    size = QUICK if quick else FULL
    workdir = _WORKDIR.value and program.folder('workdir', _WORKDIR.value)
    if not (workdir or quick):
      raise ValueError('--workdir is missing: it holds the model `adv`.')
    problem = trained(workdir, size) if workdir else untrained(size)
    figures = measure(problem, size)
    if _REPORT.value:
      folder = program.folder('report', _REPORT.value)
      print(write_report(folder, figures, size))
    return figures

  timing.run(measured, 'certify_benchmark')


if __name__ == '__main__':
  program.run(main)

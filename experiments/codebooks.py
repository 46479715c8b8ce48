"""Codebooks of real datasets, held against what is known of them.

  python -m experiments.codebooks [--publish] [--colours=cifar10_colours.npz]

Algorithm 1 and k-medoids on all training images of MNIST and Fashion-MNIST
and, at 300 codes, on all distinct colours of CIFAR-10. Datasets are found as
`rdefense.data.load` finds them; what is not there is passed over. CIFAR-10
comes as a histogram, an `.npz` with `step` (differences of the distinct
colours, packed as 2**16 r + 2**8 g + b) and `count`: by default
`../cifar10_train_colours.npz` from TFDS_DATA_DIR. Some minutes on two cores.
"""

from collections.abc import Iterator
import io
import time
from typing import NamedTuple

from absl import flags
from etils.epath import Path
import jax
import numpy as np
from scipy.spatial import cKDTree

from experiments import publish
from experiments.publish import Entry
from experiments.running import program
from rdefense import data, provenance
from rdefense.data.sources import data_directory
from rdefense.defenses import costs, density, means, medoids
from rdefense.defenses.codebooks import Codebook
from rdefense.defenses.colors import (
  Colors,
  colors_from_histogram,
  colors_from_images,
  pixel_units,
)

_COLOURS = flags.DEFINE_string('colours', None, 'Histogram of CIFAR-10.')
_RESULTS = flags.DEFINE_string('results', 'docs/results.json', 'To publish in.')

_SEED = 0
# Pixels of each level in the 60,000 images, PROTOCOL.md A3.
_MNIST_COUNTS = {
  0: 38_045_844,
  253: 1_513_207,
  254: 801_557,
  252: 653_888,
  255: 314_282,
  251: 117_808,
}
_CIFAR_COUNTS = (368_073, 59_081, 7_073, 6_624, 5_148, 4_800)


class Figure(NamedTuple):
  """One key of docs/results.json without its surroundings."""

  value: float
  target: str
  unit: str = ''


def grey_levels(book: Codebook) -> np.ndarray:
  """Codes `[k, C]` as whole 8-bit levels."""
  return np.rint(255 * book.codes).astype(int)


def histogram(path: Path) -> Colors:
  """Reads packed colours; the module's docstring has the format."""
  with np.load(io.BytesIO(path.read_bytes())) as file:
    packed = np.cumsum(file['step'].astype(np.int64))
    counts = file['count'].astype(np.int64)
  values = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
  return colors_from_histogram(values.astype(np.uint8), counts)


def codes_by_radius(
  colors: Colors, radius: float, targets: tuple[int | None, ...]
) -> dict[str, Figure]:
  """Algorithm 1 on grey images: codes 1, 2, ... against known ones.

  Args:
    colors: of one channel.
    radius: of Algorithm 1, in [0, 1].
    targets: the first codes as levels; None where none is to be found, which
      -1 stands for.
  """
  book = density.density(colors, len(targets), radius)
  levels = grey_levels(book)[:, 0].tolist()
  levels += [-1] * (len(targets) - len(levels))
  return {
    f'density/r{radius:g}/code{i}': Figure(
      level, 'none, as -1' if target is None else str(target), 'of 255'
    )
    for i, (level, target) in enumerate(zip(levels, targets), 1)
  }


def level_counts(colors: Colors, targets: dict[int, int]) -> dict[str, Figure]:
  """How many pixels have each of some levels, for images of one channel."""
  counted = dict(zip(colors.values[:, 0].tolist(), colors.counts.tolist()))
  return {
    f'pixels/{level}': Figure(counted.get(level, 0), f'{target:,}', 'pixels')
    for level, target in targets.items()
  }


def two_medoids(colors: Colors, target: int) -> dict[str, Figure]:
  """k-medoids in l1 with two codes, against the exact optimum."""
  book = medoids.medoids(jax.random.key(_SEED), colors, 2)
  exact = medoids.medoids_exact_1d(colors, 2)
  totals = [b.provenance['cost']['total'] for b in (book, exact)]
  return {
    'medoids/k2/code2': Figure(
      int(grey_levels(book)[1, 0]), str(target), 'of 255'
    ),
    'medoids/k2/cost_over_optimum': Figure(totals[0] / totals[1], '1', 'times'),
  }


def snapped(colors: Colors, codes: np.ndarray) -> np.ndarray:
  """The pixel nearest in l2 to each code, each pixel once: `[<= k, C]`."""
  levels = 255 * np.asarray(codes, np.float64)
  near = cKDTree(colors.values).query(levels)[1]
  return pixel_units(np.unique(colors.values[near], axis=0))


def many_codes(colors: Colors, num_codes: int) -> dict[str, Figure]:
  """Time and cost of many codes, against scikit-learn's k-means."""
  found: dict[str, Figure] = {}
  begin = time.perf_counter()
  density.density(colors, num_codes, 16 / 255)
  found['density/seconds'] = Figure(
    time.perf_counter() - begin, 'at most 10', 's'
  )
  begin = time.perf_counter()
  book = medoids.medoids(jax.random.key(_SEED), colors, num_codes)
  found['medoids/seconds'] = Figure(
    time.perf_counter() - begin, 'at most 300 on two cores', 's'
  )
  ours = book.provenance['cost']['mean']
  rival = means.means(jax.random.key(_SEED), colors, num_codes)
  theirs = costs.cost(colors, snapped(colors, rival.codes)).mean
  found['medoids/mean_cost'] = Figure(
    ours, f"{theirs:.6g}, k-means' codes snapped to pixels", 'l1 in [0, 1]'
  )
  found['medoids/cost_over_means'] = Figure(ours / theirs, 'at most 1', 'times')
  return {f'k{num_codes}/{name}': figure for name, figure in found.items()}


def mnist(colors: Colors) -> Iterator[dict[str, Figure]]:
  """What paper A's codes on MNIST rest on."""
  yield level_counts(colors, _MNIST_COUNTS)
  yield codes_by_radius(colors, 0.3, (0, 253, 128))
  for radius in (0.5, 0.6):
    yield codes_by_radius(colors, radius, (0, 253, None))
  yield two_medoids(colors, 252)


def fashion_mnist(colors: Colors) -> Iterator[dict[str, Figure]]:
  """The same on Fashion-MNIST."""
  yield codes_by_radius(colors, 0.2, (0, 255))
  yield two_medoids(colors, 192)


def cifar10(colors: Colors) -> Iterator[dict[str, Figure]]:
  """The first codes of Algorithm 1, and 300 codes of both kinds."""
  book = density.density(colors, len(_CIFAR_COUNTS), 16 / 255)
  yield {
    f'density/r16/count{i}': Figure(count, f'{target:,}', 'pixels')
    for i, (count, target) in enumerate(
      zip(book.counts.tolist(), _CIFAR_COUNTS), 1
    )
  }
  yield many_codes(colors, 300)


def measure(colours: Path) -> dict[str, Figure]:
  """All figures of the datasets that are there; a message on the others."""
  found: dict[str, Figure] = {}
  for name, parts in (('mnist', mnist), ('fashion_mnist', fashion_mnist)):
    try:
      images = data.load(name, 'train').images
    except ValueError as error:
      print(f'{name} is passed over: {error}.')
      continue
    for part in parts(colors_from_images(images)):
      found |= {f'{name}/{key}': figure for key, figure in part.items()}
  if not colours.is_file():
    print(f'cifar10 is passed over: no {colours}; name it by --colours.')
    return found
  for part in cifar10(histogram(colours)):
    found |= {f'cifar10/{key}': figure for key, figure in part.items()}
  return found


def entries(figures: dict[str, Figure]) -> dict[str, Entry]:
  """Figures with their surroundings, as docs/results.json holds them."""
  about = provenance.environment()
  return {
    f'codebooks/{key}': Entry(
      figure.value, None, None, None, 'full', program.command_line('codebooks'),
      publish.commit_of(about), about['device'], about['date'], figure.unit,
      figure.target,
    )
    for key, figure in figures.items()
  }  # fmt: skip


def main(argv):
  """Measures, prints, and publishes where asked to."""
  del argv
  beside = data_directory().parent / 'cifar10_train_colours.npz'
  figures = measure(Path(_COLOURS.value or beside))
  for key, figure in figures.items():
    value = f'{figure.value:,.6g} {figure.unit}'
    print(f'{key:44}{value:>28}  target {figure.target}')
  if publish.ASKED.value:
    publish.publish(_RESULTS.value, entries(figures))


if __name__ == '__main__':
  program.run(main)

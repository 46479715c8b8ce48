"""Paper A's guarantee, tried on its own idealised images and on real ones.

  python -m experiments.idealized [--quick] [--publish]

Lemma 1: how often Algorithm 1 finds all codes to within nu, over repeated draws
of training images whose pixels are independent, equal in blocks, or equal all
over the image. Proposition 1: on how many images no attack of radius 5 nu
changes the right answer of a threshold on the mean, against the exact minimum
over nu-code perturbations. Then what MNIST with 2 codes and CIFAR-10 with 300
violate; data are found as `experiments.codebooks` finds them, and what is not
there is passed over. Writes idealized.html to the workdir; two minutes on two
cores.
"""

from collections.abc import Iterator
import math
import time
from typing import Any

from absl import flags, logging
import jax
import ml_collections
import numpy as np
from scipy import stats

from experiments import publish
from experiments.analyses.idealized_cases import (
  DELTA,
  FULL,
  QUICK,
  REAL,
  SEED,
  SIDE,
  SKELETONS,
  THRESHOLD,
  TWO,
  Case,
  Size,
  cases,
)
from experiments.analyses.idealized_report import entries, write_report
from experiments.codebooks import histogram
from experiments.measuring import timing
from experiments.running import program
from rdefense import counting, data, files
from rdefense.analysis import guarantee, simulation
from rdefense.analysis.assumptions import Fit, violations
from rdefense.analysis.idealized import blocks, noise_law, perturbations
from rdefense.data.sources import data_directory
from rdefense.defenses.colors import Colors, colors_from_images
from rdefense.defenses.density import density

# May be overridden: other programs of one process have a flag of this name.
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Default: runs/idealized.', allow_override=True
)


def try_lemma(case: Case, draws: int) -> dict[str, Any]:
  """How often all codes are found, and what the guarantee says of it.

  Where it says nothing, nu is the formula's limit for many samples.
  """
  model, num_pixels = case.model, case.num_images * case.side**2
  printed = guarantee.promised(model, num_pixels, DELTA)
  sound = guarantee.promised(model, case.num_images, DELTA)
  peak = float(noise_law(model.sigma, model.reach)[0])
  limit = guarantee.nu(model.sigma, peak, len(model.codes), 0.0)
  nu = printed or limit
  found = simulation.lemma_1(
    jax.random.key(SEED),
    model,
    blocks(len(model.codes), case.side, case.block),
    case.num_images,
    nu,
    draws,
  )
  return {
    'skeleton': case.skeleton,
    'note': case.note,
    'side': case.side,
    'images': case.num_images,
    'pixels': num_pixels,
    'separation_over_16_nu': model.separation / (16 * nu),
    'nu': nu,
    'promised_by_pixels': printed is not None,
    'promised_by_images': sound is not None,
    **counting.tally(found)._asdict(),
  }


def classify(images: np.ndarray) -> np.ndarray:
  """F: whether the mean is above the threshold, in whole numbers."""
  total = images.sum((1, 2, 3), dtype=np.int64)
  return total > THRESHOLD * images[0].size


def label(skeleton: np.ndarray) -> np.ndarray:
  """y: whether most pixels have the second code."""
  return 2 * skeleton.sum((1, 2)) > skeleton[0].size


def exact_shares(codes: np.ndarray, num_blocks: int) -> np.ndarray:
  """P[F(G(u)) = y] for codebooks `[m, 2, 1]`, by the binomial law of blocks."""
  second = np.arange(num_blocks + 1)
  law = stats.binom.pmf(second, num_blocks, 0.5)
  low, high = codes[:, 0], codes[:, 1]
  answer = low * (num_blocks - second) + high * second > THRESHOLD * num_blocks
  return (answer == (2 * second > num_blocks)) @ law


def try_proposition(skeleton: str, size: Size) -> dict[str, Any]:
  """Robust accuracy in the ball of radius 5 nu against the least promised."""
  block = SKELETONS[skeleton]
  nu = guarantee.promised(TWO, size.num_train * SIDE**2, DELTA)
  if nu is None:
    raise ValueError(
      f'num_train={size.num_train} is too few: nothing is promised to compare.'
    )
  draws = simulation.proposition_1(
    jax.random.key(SEED + 1), TWO, blocks(2, SIDE, block), size.num_train,
    nu, size.draws, size.num_test, 5 * nu, classify, label,
  )  # fmt: skip
  num_blocks = (SIDE // block) ** 2
  near = exact_shares(perturbations(TWO, nu), num_blocks)
  return {
    'nu': nu,
    'eps': 5 * nu,
    'approximated': counting.tally(draws.approximated)._asdict(),
    'settled': counting.tally(draws.settled.ravel())._asdict(),
    'right': counting.tally(draws.right.ravel())._asdict(),
    'least': 100 * float(near.min()),
    'at_truth': 100 * float(exact_shares(TWO.codes[None], num_blocks)[0]),
    'perturbations': len(near),
  }


def real_colors() -> Iterator[tuple[str, Colors]]:
  """Weighted pixels of the datasets that are there; a message on the others."""
  try:
    yield 'mnist', colors_from_images(data.load('mnist', 'train').images)
  except ValueError as error:
    print(f'mnist is passed over: {error}.')
  path = data_directory().parent / 'cifar10_train_colours.npz'
  if path.is_file():
    yield 'cifar10', histogram(path)
  else:
    print(f'cifar10 is passed over: no {path}.')


def violated(name: str, colors: Colors) -> dict[str, Any]:
  """Of Algorithm 1's codes on a dataset, with paper A's k and radius.

  Fields of `Violations`, those of its fits as `within_...` and `all_...`; None
  where a figure does not exist.
  """
  num_codes, radius = REAL[name]
  codes = density(colors, num_codes, radius).codes
  found = violations(colors, codes, DELTA)._asdict()
  for kind in ('within', 'all'):
    fit = found.pop(kind)
    for field in Fit._fields:
      value = None if fit is None else getattr(fit, field)
      finite = value is not None and math.isfinite(value)
      found[f'{kind}_{field}'] = value if finite else None
  return found


def measure(size: Size) -> dict[str, Any]:
  """Everything the report shows."""
  begin = time.time()
  config = ml_collections.ConfigDict(size._asdict() | {'delta': DELTA})
  return {
    'lemma': [try_lemma(case, size.draws) for case in cases(size)],
    'proposition': {name: try_proposition(name, size) for name in SKELETONS},
    'real': {name: violated(name, colors) for name, colors in real_colors()},
  } | publish.surroundings(config, 'idealized', begin)


def main(argv):
  """Simulates, measures, reports, and publishes where asked to."""
  del argv
  logging.set_verbosity(logging.WARNING)
  size = QUICK if timing.quick_asked() else FULL
  workdir = program.folder('workdir', _WORKDIR.value or 'runs/idealized')
  results = measure(size)
  files.write_json(workdir / 'idealized.json', results)
  page = write_report(workdir, results)
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, entries(results, size.shown))
  print(page)


if __name__ == '__main__':
  program.run(main)

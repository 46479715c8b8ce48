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
from pathlib import Path
import time
from typing import Any, NamedTuple

from absl import app, flags, logging
import jax
import ml_collections
import numpy as np
from scipy import stats

from experiments import program, publish
from experiments.codebooks import histogram
from experiments.publish import Entry
from rdefense import data, files, plots, records, report
from rdefense.analysis import guarantee, simulation
from rdefense.analysis.assumptions import Fit, violations
from rdefense.analysis.idealized import (
  Model,
  blocks,
  make_model,
  noise_law,
  perturbations,
)
from rdefense.data.sources import data_directory
from rdefense.defenses.colors import Colors, colors_from_images
from rdefense.defenses.density import density
from rdefense.records import Tally

# May be overridden: tests import this beside other programs with the same.
_QUICK = flags.DEFINE_bool(
  'quick', False, 'A smoke run: figures mean little.', allow_override=True
)
_WORKDIR = flags.DEFINE_string(
  'workdir', 'runs/idealized', 'Where the report goes.', allow_override=True
)

_DELTA = 0.05
_SEED = 0
_SIDE = 32
# Skeleton -> side of its blocks.
_SKELETONS = {'independent': 1, 'blocks': 8, 'constant': 32}
# Lemma 1: eight grey levels. Proposition 1: two, and wider noise, so that nu
# is some levels and perturbed codes cross the threshold.
_EIGHT = make_model([[v] for v in range(0, 253, 36)], 36, sigma=1.0)
_WIDE = _EIGHT._replace(sigma=2.0)
_TWO = make_model([[60], [190]], 130, sigma=4.0)
_THRESHOLD = 126  # of F; the codes' own middle is 125
_REAL = {'mnist': (2, 0.6), 'cifar10': (300, 16 / 255)}  # codes, radius


class Size(NamedTuple):
  """How much is simulated."""

  preset: str
  draws: int
  images: tuple[int, ...]  # of the curves
  shown: int  # of them, in docs/results.json
  many: int  # constant images, enough to count them as samples
  num_test: int
  num_train: int


FULL = Size('full', 200, (1, 2, 4, 8, 14, 20, 32, 64), 20, 19_000, 25, 40)
QUICK = Size('quick', 3, (1, 20), 20, 50, 2, 40)


class Case(NamedTuple):
  """Training images on which Lemma 1 is tried."""

  skeleton: str
  model: Model
  side: int
  block: int
  num_images: int
  note: str = ''


def cases(size: Size) -> Iterator[Case]:
  """The curves, then sizes at which the premises differ."""
  for name, block in _SKELETONS.items():
    for n in size.images:
      yield Case(name, _EIGHT, _SIDE, block, n)
  yield Case('independent', _EIGHT, 4, 1, 1, 'few_pixels')
  yield Case('independent', _WIDE, _SIDE, 1, size.shown, 'wide_noise')
  yield Case('constant', _EIGHT, 2, 2, size.many, 'many_images')


def try_lemma(case: Case, draws: int) -> dict[str, Any]:
  """How often all codes are found, and what the guarantee says of it.

  Where it says nothing, nu is the formula's limit for many samples.
  """
  model, num_pixels = case.model, case.num_images * case.side**2
  printed = guarantee.promised(model, num_pixels, _DELTA)
  sound = guarantee.promised(model, case.num_images, _DELTA)
  peak = float(noise_law(model.sigma, model.reach)[0])
  limit = guarantee.nu(model.sigma, peak, len(model.codes), 0.0)
  nu = printed or limit
  found = simulation.lemma_1(
    jax.random.key(_SEED),
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
    **records.tally(found)._asdict(),
  }


def classify(images: np.ndarray) -> np.ndarray:
  """F: whether the mean is above the threshold, in whole numbers."""
  total = images.sum((1, 2, 3), dtype=np.int64)
  return total > _THRESHOLD * images[0].size


def label(skeleton: np.ndarray) -> np.ndarray:
  """y: whether most pixels have the second code."""
  return 2 * skeleton.sum((1, 2)) > skeleton[0].size


def exact_shares(codes: np.ndarray, num_blocks: int) -> np.ndarray:
  """P[F(G(u)) = y] for codebooks `[m, 2, 1]`, by the binomial law of blocks."""
  second = np.arange(num_blocks + 1)
  law = stats.binom.pmf(second, num_blocks, 0.5)
  low, high = codes[:, 0], codes[:, 1]
  answer = low * (num_blocks - second) + high * second > _THRESHOLD * num_blocks
  return (answer == (2 * second > num_blocks)) @ law


def try_proposition(skeleton: str, size: Size) -> dict[str, Any]:
  """Robust accuracy in the ball of radius 5 nu against the least promised."""
  block = _SKELETONS[skeleton]
  nu = guarantee.promised(_TWO, size.num_train * _SIDE**2, _DELTA)
  if nu is None:
    raise ValueError(
      f'num_train={size.num_train} is too few: nothing is promised to compare.'
    )
  draws = simulation.proposition_1(
    jax.random.key(_SEED + 1), _TWO, blocks(2, _SIDE, block), size.num_train,
    nu, size.draws, size.num_test, 5 * nu, classify, label,
  )  # fmt: skip
  num_blocks = (_SIDE // block) ** 2
  near = exact_shares(perturbations(_TWO, nu), num_blocks)
  return {
    'nu': nu,
    'eps': 5 * nu,
    'approximated': records.tally(draws.approximated)._asdict(),
    'settled': records.tally(draws.settled.ravel())._asdict(),
    'right': records.tally(draws.right.ravel())._asdict(),
    'least': 100 * float(near.min()),
    'at_truth': 100 * float(exact_shares(_TWO.codes[None], num_blocks)[0]),
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
  num_codes, radius = _REAL[name]
  codes = density(colors, num_codes, radius).codes
  found = violations(colors, codes, _DELTA)._asdict()
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
  config = ml_collections.ConfigDict(size._asdict() | {'delta': _DELTA})
  return {
    'lemma': [try_lemma(case, size.draws) for case in cases(size)],
    'proposition': {
      name: try_proposition(name, size) for name in _SKELETONS
    },
    'real': {
      name: violated(name, colors) for name, colors in real_colors()
    },
  } | publish.surroundings(config, 'idealized', begin)


def picture(lemma: list[dict[str, Any]]):
  """Lemma 1's curves, with the sizes from which it is said to hold."""
  curves: dict[str, list[tuple[float, Tally]]] = {}
  for row in lemma:
    if not row['note']:
      curves.setdefault(row['skeleton'], []).append(
        (row['images'], records.tally_of(row))
      )
  return plots.size_curves(
    curves,
    title='Lemma 1: draws in which all 8 codes are found',
    xlabel=f'training images of {_SIDE}×{_SIDE} pixels',
    promise=(100 * (1 - _DELTA), first_promised() / _SIDE**2),
  )


def first_promised() -> int:
  """The fewest samples of which Lemma 1 speaks, for the curves' model."""
  low, high = 1, 2**30  # bisection: promised at the latter, not the former
  while high - low > 1:
    middle = (low + high) // 2
    if guarantee.promised(_EIGHT, middle, _DELTA) is None:
      low = middle
    else:
      high = middle
  return high


def write_report(workdir, results) -> Path:
  """Tables and the picture; see the module's docstring."""
  png = plots.encode_png(picture(results['lemma']))
  title = "Paper A's guarantee on idealised and on real images"
  content: list[tuple] = [
    ('heading', 1, title),
    (
      'paragraph',
      f'Preset `{results["preset"]}`. Intervals are exact '
      '(Clopper-Pearson), 95%. The guarantee is for probability '
      f'{1 - _DELTA:g}.',
    ),
    ('heading', 2, 'Lemma 1'),
    (
      'paragraph',
      'Algorithm 1 of radius 2 nu is run on fresh images again and again. The '
      'paper counts pixels as independent samples; its proof holds for images '
      f'as samples. Of this model it speaks from {first_promised():,} samples '
      'on.',
    ),
    ('figure', 'lemma_1', png, 'Found within nu, by size and dependence.'),
    _lemma_table(results['lemma']),
    ('heading', 2, 'Proposition 1'),
    (
      'paragraph',
      f'Trained on {results["config"]["num_train"]} images of {_SIDE}×{_SIDE} '
      'pixels of two codes. Settled: every pixel of the image reaches, within '
      '5 nu, only the code of its skeleton. Right: settled, and the answer is '
      'the label. The least share is over all perturbations of the codes by '
      'at most nu, exact. Images of one draw share their codes.',
    ),
    _proposition_table(results['proposition']),
    ('heading', 2, 'What real images violate'),
    (
      'paragraph',
      "Algorithm 1's codes on the training pixels, with the paper's k and "
      'radius; distances in levels of 255, l_inf. Sigma is none where far '
      'distances are no rarer than near ones, 16 nu where moreover '
      '2 gamma / a ≥ 1/k.',
    ),
    _real_table(results['real']),
    *report.how_it_was_made(results),
  ]
  return report.write_document(
    workdir, 'idealized', title, content, {'lemma_1': png}
  )


def _shown(tally):
  return f'{tally["percent"]:.2f}% [{tally["low"]:.2f}, {tally["high"]:.2f}]'


def _lemma_table(lemma):
  rows = [
    (
      f'{row["skeleton"]} {row["note"].replace("_", " ")}'.strip(),
      f'{row["images"]:,} of {row["side"]}×{row["side"]}',
      f'{row["nu"]:.2f}',
      f'{row["separation_over_16_nu"]:.2f}',
      'yes' if row['promised_by_pixels'] else 'no',
      'yes' if row['promised_by_images'] else 'no',
      _shown(row),
      str(row['total']),
    )
    for row in lemma
  ]
  header = (
    'skeletons', 'images', 'nu', 'Gamma / 16 nu', 'promised, as printed',
    'promised, images as samples', 'all codes found', 'draws',
  )  # fmt: skip
  return ('table', header, rows)


def _proposition_table(proposition):
  rows = [
    (
      name,
      f'{found["nu"]:.2f}',
      f'{found["eps"]:.2f}',
      *(_shown(found[part]) for part in ('approximated', 'settled', 'right')),
      f'{found["least"]:.2f}% of {found["perturbations"]}',
      f'{found["at_truth"]:.2f}%',
    )
    for name, found in proposition.items()
  ]
  header = (
    'skeletons', 'nu', 'radius', 'draws with all codes', 'settled images',
    'right in the ball', 'least over perturbed codes', 'at the true codes',
  )  # fmt: skip
  return ('table', header, rows)


# Field of `violated` -> (words, factor, unit).
_FIELDS = {
  'num_pixels': ('pixels', 1, ''),
  'separation': ('Gamma, smallest distance of two codes', 1, 'levels'),
  'beyond': ('further than Gamma / 8 from their code', 100, '%'),
  'at_code': ('equal to a code', 100, '%'),
  'imbalance': ('code shares from uniform, total variation', 100, '%'),
  'sigma_allowed': ('largest sigma the guarantee allows', 1, 'levels'),
} | {
  f'{kind}_{field}': (f'{words}, {which}', factor, unit)
  for kind, which in (
    ('within', 'fit within Gamma / 8'), ('all', 'fit to all pixels')
  )
  for field, words, factor, unit in (
    ('sigma', 'sigma', 1, 'levels'),
    ('misfit', 'distances from the law, total variation', 100, '%'),
    ('needed', '16 nu, which Gamma has to exceed', 1, 'levels'),
  )
}


def _real_table(real):
  def cell(value, factor, unit):
    if value is None:
      return 'none'
    return f'{factor * value:,.4g} {unit}' if unit else f'{value:,}'

  rows = [
    (words, *(cell(found[field], factor, unit) for found in real.values()))
    for field, (words, factor, unit) in _FIELDS.items()
  ]
  return ('table', ('', *(f'{n}, k={_REAL[n][0]}' for n in real)), rows)


def entries(results: dict[str, Any], shown: int) -> dict[str, Entry]:
  """`idealized/...` -> entry; of the curves only those of `shown` images."""
  found = {}
  for row in results['lemma']:
    if row['note'] or row['images'] == shown:
      key = f'lemma_1/{row["skeleton"]}_{row["note"] or "at_size"}'
      said = [
        f'at least {100 * (1 - _DELTA):g}, {who}'
        for who, field in (
          ('as printed', 'promised_by_pixels'),
          ('images as samples', 'promised_by_images'),
        )
        if row[field]
      ]
      target = '; '.join(said) or 'nothing promised'
      found[key] = publish.entry(results, row)._replace(target=target)
  for name, about in results['proposition'].items():
    found[f'proposition_1/{name}_right'] = publish.entry(
      results, about['right']
    )._replace(target=f'at least {about["least"]:.2f}')
    found[f'proposition_1/{name}_settled'] = publish.entry(
      results, about['settled']
    )._replace(target='at least 95 in all draws')
  surroundings = publish.entry(results, results['lemma'][0])
  for name, about in results['real'].items():
    for field, (_, factor, unit) in _FIELDS.items():
      if field != 'num_pixels' and about[field] is not None:
        found[f'{name}/{field}'] = surroundings._replace(
          value=factor * about[field], low=None, high=None,
          examples=about['num_pixels'], unit=unit, target=_wanted(field, about),
        )  # fmt: skip
  return {f'idealized/{key}': entry for key, entry in found.items()}


def _wanted(field, about):
  """What the model says a figure should be."""
  match field.rpartition('_')[2]:
    case 'beyond' | 'imbalance' | 'misfit':
      return '0'
    case 'sigma':
      return f'below {about["sigma_allowed"]:.4g}'
    case 'needed':
      return f'below {about["separation"]}'
  return ''


def main(argv):
  """Simulates, measures, reports, and publishes where asked to."""
  if len(argv) > 1:
    raise app.UsageError(f'expected no arguments, got {argv[1:]}.')
  logging.set_verbosity(logging.WARNING)
  if _QUICK.value and publish.ASKED.value:
    raise app.UsageError('--quick measures nothing worth a --publish.')
  size, workdir = QUICK if _QUICK.value else FULL, Path(_WORKDIR.value)
  results = measure(size)
  files.write_json(workdir / 'idealized.json', results)
  page = write_report(workdir, results)
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, entries(results, size.shown))
  print(page)


if __name__ == '__main__':
  program.run(main)

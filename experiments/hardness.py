"""How hard a dataset is to defend: paper A's Figures 5, 6 and 7 on real images.

  python -m experiments.hardness --dataset=cifar10 [--publish]

Codebooks are fitted on all training pixels (CIFAR-10's come as a histogram, see
`experiments.codebooks`, or are counted in what training images there are); the
hardness of their equivalence classes is that of the test images. Then
neighbourhood sizes of the training pixels, their histogram, and how well each
codebook separates them. Writes report.md and report.html to the workdir and,
for colours and with Plotly installed, neighborhoods.html, to turn round. What
a killed run has counted is not counted again.
"""

import io
import time
from typing import Any
import zlib

from absl import flags, logging
from etils.epath import Path
import ml_collections
import numpy as np
from tqdm import auto as tqdm

from experiments import publish
from experiments.analyses.hardness_cases import (
  NEAR,
  SEED,
  STUDIES,
  Case,
  Study,
  cases,
)
from experiments.analyses.hardness_report import entries, write_report
from experiments.codebooks import histogram
from experiments.running import program
from rdefense import checks, data, files
from rdefense.analysis import equivalence, neighborhoods
from rdefense.analysis.separability import PARTS, changed, separability
from rdefense.certify.lattice import nearer_than, num_reached
from rdefense.data.sources import data_directory
from rdefense.defenses.colors import Colors, colors_from_images
from rdefense.defenses.density import density

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Default: runs/hardness_<dataset>.', allow_override=True
)
_DATASET = flags.DEFINE_string(
  'dataset', '', 'Whose images; mnist if empty.', allow_override=True
)
_COLOURS = flags.DEFINE_string(
  'colours', None, 'Histogram of CIFAR-10.', allow_override=True
)


def training_colors(dataset: str, colours: str | None) -> Colors:
  """Weighted pixels of the training set, from a histogram if there is one."""
  beside = data_directory().parent / 'cifar10_train_colours.npz'
  if dataset == 'cifar10' and (colours or beside.is_file()):
    return histogram(Path(colours or beside).expanduser())
  return colors_from_images(data.load(dataset, 'train').images)


def of_case(case: Case, codes, images, colors, folder: Path) -> dict[str, Any]:
  """Hardness of each image, and the share of pixels that reach several codes.

  On disk under its name; what was found for other codes or pixels is not used.
  """
  path = folder / f'{case.name}.npz'
  parts = (np.ascontiguousarray(part) for part in (codes, images, *colors))
  of = np.array([zlib.crc32(part.data) for part in parts])
  if path.is_file():
    with np.load(io.BytesIO(path.read_bytes())) as file:
      found = dict(file)
    if np.array_equal(found['of'], of):
      return found
  eps = nearer_than(case.eps) if case.ball == 'open' else case.eps
  table = num_reached(codes, eps, case.rule)
  found = {
    'of': of,
    'values': equivalence.of_bytes(images, table, len(codes)),
    'changed': np.float64(changed(colors, table)),
    'most': table.max(),
  }
  buffer = io.BytesIO()
  np.savez(buffer, **found)
  files.write_bytes(path, buffer.getvalue())
  return found


def measure(dataset: str, study: Study, workdir: Path) -> dict[str, Any]:
  """Everything the report shows, and under `arrays` what pictures are of."""
  begin = time.time()
  colors = training_colors(dataset, _COLOURS.value)
  images = data.load(dataset, 'test').images
  books = {
    name: density(colors, num_codes, radius)
    for name, (num_codes, radius) in study.books.items()
  }
  rows, curves = [], {}
  with tqdm.tqdm([*cases(study)], desc='hardness', unit='table') as bar:
    for case in bar:
      bar.set_postfix_str(case.name)
      found = of_case(
        case, books[case.book].codes, images, colors, workdir / 'hardness'
      )
      rows.append(
        case._asdict()
        | equivalence.median(found['values'])._asdict()
        | {
          'mean': found['values'].mean(),
          'changed': float(found['changed']),
          'most': int(found['most']),
        }
      )
      curves[case] = equivalence.cdf(found['values'])
  start = time.perf_counter()
  cube = neighborhoods.sizes(colors, NEAR)
  seconds = time.perf_counter() - start
  config = ml_collections.ConfigDict(
    {'preset': 'full', 'dataset': dataset, 'near': NEAR, 'seed': SEED}
  )
  return {
    'dataset': dataset,
    'examples': len(images),
    'pixels': int(colors.counts.sum()),
    'colors': len(colors.counts),
    'hardness': rows,
    'separability': {
      name: _scores(colors, book.codes) for name, book in books.items()
    },
    'codebooks': {name: book.provenance for name, book in books.items()},
    'neighborhoods': {
      'radius': NEAR,
      'seconds': seconds,
      'of_pixels': neighborhoods.largest(cube, colors)._asdict(),
      'anywhere': neighborhoods.largest(cube)._asdict(),
    },
    'arrays': {'colors': colors, 'cube': cube, 'curves': curves},
  } | publish.surroundings(config, 'hardness', begin)


def _scores(colors: Colors, codes) -> dict[str, Any]:
  found = separability(colors, codes)
  return {
    'codes': len(codes),
    'separation': found.separation,
    'median_gap': float(np.median(found.gaps)),
    'spread': found.spread,
    'silhouette': found.silhouette,
    'worst_silhouette': float(np.nanmin(found.silhouettes)),
    **{f'within_{m}': share for m, share in zip(PARTS, found.within)},
    **{f'within_own_{m}': share for m, share in zip(PARTS, found.within_own)},
  }


def main(argv):
  """Measures, reports, and publishes where asked to."""
  del argv
  logging.set_verbosity(logging.WARNING)
  dataset = _DATASET.value or 'mnist'
  workdir = program.folder(
    'workdir', _WORKDIR.value or f'runs/hardness_{dataset}'
  )
  checks.check_choice('dataset', dataset, STUDIES)
  if _COLOURS.value and dataset != 'cifar10':
    raise ValueError(
      f'--colours={_COLOURS.value} counts pixels of cifar10, and '
      f'--dataset={dataset} has its own: leave out one of the two.'
    )
  study = STUDIES[dataset]
  results = measure(dataset, study, workdir)
  page = write_report(workdir, study, results)
  del results['arrays']
  files.write_json(workdir / 'hardness.json', results)
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, entries(study, results))
  print(page)


if __name__ == '__main__':
  program.run(main)

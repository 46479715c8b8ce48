"""The report of robust radii: medians, shares at some radii, a picture."""

from collections.abc import Mapping
from typing import Any

from etils.epath import Path
import numpy as np

from rdefense import caveats, counting, pages, plots
from rdefense.analysis import equivalence

__all__ = ['summary', 'write_report']

_HALVINGS = 3  # of the radii of the table


def summary(rows: Mapping[str, np.ndarray], largest: float) -> dict[str, Any]:
  """Medians with their intervals, and shares at some radii."""
  fooled = rows['radius/fooled']
  proved = rows.get('radius/certified')
  shares = {}
  for eps in _grid(largest):
    shares[f'{eps:.6g}'] = {
      'no_attack_known': counting.tally(fooled > eps)._asdict()
    } | ({} if proved is None else {
      'certified': counting.tally(proved >= eps)._asdict()
    })  # fmt: skip
  medians = {'fooled': _finite(equivalence.median(fooled))}
  if proved is not None:
    known = np.maximum(proved, 0)
    medians['certified'] = _finite(equivalence.median(known))
  return {
    'largest': largest,
    'images': len(fooled),
    'medians': medians,
    'shares': shares,
  }


def _grid(largest: float) -> np.ndarray:
  """Radii of the table, rounded as those of the bisection are."""
  grid = np.array([0.0, largest])
  for _ in range(_HALVINGS):
    middle = (grid[:-1] + grid[1:]) / 2
    grid = np.sort(np.concatenate([grid, middle]))
  return grid


def _finite(found: equivalence.Median) -> dict[str, float | None]:
  """For JSON, which has no infinity; None stands for it."""
  return {
    name: value if np.isfinite(value) else None
    for name, value in found._asdict().items()
  }


def write_report(
  workdir: Path, rows: Mapping[str, np.ndarray], results: dict[str, Any]
) -> Path:
  """The picture, medians, and shares at some radii."""
  largest, name = results['largest'], results['setting']
  title = f'Robust radii: {name} under {results["attack"]}'
  proved = rows.get('radius/certified')
  png = plots.encode_png(
    plots.radii(proved, rows['radius/fooled'], largest, title)
  )
  lines = [
    (
      eps,
      *(
        f'{about[kind]["percent"]:.2f}% '
        f'[{about[kind]["low"]:.2f}, {about[kind]["high"]:.2f}]'
        for kind in about
      ),
    )
    for eps, about in results['shares'].items()
  ]
  header = ('radius', 'no attack known') + ('certified',) * (proved is not None)
  blocks: list[tuple] = [
    ('heading', 1, title),
    ('paragraph', ' '.join(_words(results))),
    ('figure', 'radii', png, 'Shares of images robust up to each radius; how '
     'many have which. Wrong images have radius 0.'),
    ('table', header, lines),
    *pages.how_it_was_made(results),
  ]  # fmt: skip
  return pages.write_document(workdir, 'radii', title, blocks, {'radii': png})


def _words(results):
  def shown(median):
    ends = [
      'none found' if median[end] is None else f'{median[end]:.4g}'
      for end in ('value', 'low', 'high')
    ]
    return '{} [{}, {}]'.format(*ends)

  yield (
    f'{results["images"]:,} {caveats.images(results)}; each radius is bisected '
    f'from {results["largest"]:g} in {results["num_steps"]} halvings. The '
    'attack bounds a radius from above, a certificate from below.'
  )
  medians = results['medians']
  yield f'Median of the smallest radius fooled: {shown(medians["fooled"])}.'
  if 'certified' in medians:
    tables = results['bounds'] == 'tables'
    bounds = 'tables' if tables else 'linear relaxations'
    yield (
      'Median of the largest radius certified: '
      f'{shown(medians["certified"])}, with {results["max_nodes"]} nodes an '
      f'image and radius, bounded by {bounds}.'
    )
  else:
    yield 'There is no certificate without a codebook.'

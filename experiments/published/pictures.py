"""Pictures of docs/RESULTS.md, drawn from docs/results.json alone.

>>> pictures({})
{}
"""

from collections.abc import Callable, Iterator, Mapping
import fnmatch
import functools
import re
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from configs.paper.published import PUBLISHED, adaptive_key, row_keys
from configs.paper.tables import BASES, TABLES
from configs.study import SIX_SETTINGS
from experiments.published.results import published_key
from rdefense import plots
from rdefense.counting import Tally

__all__ = ['Picture', 'pictures']

_DPI = 90
# Data set -> codebook and unit of the radii of its figure in paper A.
_AGAINST_EPS = {
  'mnist': ('density', 1, 'A, Figure 1: MNIST, 2 codes'),
  'fashion_mnist': ('density', 1, 'A, Figure 1: Fashion-MNIST, 2 codes'),
  'gtsrb': ('density_k50', 255, 'A, Figure 2(a): GTSRB, 50 codes'),
  'nips17_curve': ('density_k300', 255, 'A, Figure 2(b): ImageNet, 300 codes'),
  'cifar10': ('density_k50', 255, 'A, Figure 3: CIFAR-10, 50 codes'),
}
_AGAINST_CODES = {'cifar10': 'CIFAR-10', 'gtsrb': 'GTSRB'}
_OF_PAPER_B = {
  'base': 'no defense',
  'gaussian': 'Gaussian',
  'randdisc': 'RandDisc',
  'randmix': 'RandMix',
}
# Of paper B's Figure 4: file, what is on the axis, curve -> its keys.
_FIGURE_4 = {
  'noise': (
    'B, Figure 4(a): ImageNet, eps 1',
    'standard deviation of the noise, of 255',
    {
      'Gaussian, clean': 'nips17/gaussian_sigma*/clean',
      'Gaussian, attacked': 'nips17/gaussian_sigma*/eps1/paper_b',
      'RandMix, clean': 'nips17/randmix_sigma*/clean',
      'RandMix, attacked': 'nips17/randmix_sigma*/eps1/paper_b',
    },
  ),
  'centres': (
    'B, Figure 4(b): RandMix, ImageNet, eps 1',
    'centres',
    {
      'clean': 'nips17/randmix_k*/clean',
      'attacked': 'nips17/randmix_k*/eps1/paper_b',
    },
  ),
  'copies': (
    'B, Figure 4(c): RandMix, ImageNet, eps 1',
    'copies that a gradient is averaged over',
    {
      'attacked, one query': 'nips17/randmix/eps1/copies*',
      'attacked, majority of 20': 'nips17/randmix/eps1/copies*/majority_of_20',
    },
  ),
}
_FEWEST = 3  # points of a curve worth drawing


class Picture(NamedTuple):
  """A caption, and what renders the PNG."""

  caption: str
  png: Callable[[], bytes]


def pictures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Picture]:
  """File name -> picture, of what there are figures enough for.

  Args:
    results: key -> fields of `Entry`, as docs/results.json holds them.
  """
  found = {published_key(key): fields for key, fields in results.items()}
  return dict((*_against_eps(found), *_against_codes(found), *_figure_4(found)))


def _against_eps(found) -> Iterator[tuple[str, Picture]]:
  """Accuracy against the radius: Figures 1 to 3 of paper A, 2 of paper B."""
  for dataset, (codebook, unit, title) in _AGAINST_EPS.items():
    curves = {}
    for setting in SIX_SETTINGS:
      behind = setting.startswith('disc_')
      book = f'{codebook}/' if behind else ''
      curves[setting] = _radii(
        found, f'{dataset}/{book}{setting}', 'paper_a' if behind else 'pgd*',
        unit,
      )  # fmt: skip
    yield from _accuracy(
      f'{dataset}_against_eps.png', title, curves, unit,
      'under the published attacks, which are no worst case',
    )  # fmt: skip
  curves = {
    name: _radii(found, f'mnist/{setting}', 'paper_b', 1)
    for setting, name in _OF_PAPER_B.items()
  }
  yield from _accuracy(
    'mnist_randomized_against_eps.png', 'B, Figure 2: MNIST', curves, 1,
    'under 40 steps of 20 averaged gradients, judged by one query',
  )  # fmt: skip


def _radii(found, owner: str, attack: str, unit: int):
  """`(eps, tally)` of one setting, eps 0 being clean."""
  points = {}
  if f'{owner}/clean' in found:
    points[0.0] = _tally(found[f'{owner}/clean'])
  for key in fnmatch.filter(found, f'{owner}/eps*/{attack}'):
    eps = float(key.split('/')[-2].removeprefix('eps')) / unit
    points[eps] = _tally(found[key])
  return sorted(points.items())


def _accuracy(
  name, title, curves, unit, words
) -> Iterator[tuple[str, Picture]]:
  drawn = {k: points for k, points in curves.items() if len(points) >= _FEWEST}
  if drawn:
    caption = f'{title}: accuracy {words}; bands are exact 95% intervals'
    draw = functools.partial(plots.accuracy_curves, drawn, title, unit)
    yield name, _picture(caption, draw)


def _against_codes(found) -> Iterator[tuple[str, Picture]]:
  """Robust accuracy against the number of codes: Table II of colour images."""
  for dataset, name in _AGAINST_CODES.items():
    for base, words in BASES.items():
      curves, printed = _codes(found, dataset, base)
      if min(map(len, curves.values())) < _FEWEST:
        continue
      title = f'A, Table II: {name}, {words} model under attack'
      caption = f'{title}; bars are exact 95% intervals, dotted: the paper'
      draw = functools.partial(
        plots.size_curves, curves, title, 'density codes', printed=printed
      )
      yield f'{dataset}_{base}_against_codes.png', _picture(caption, draw)


def _figure_4(found) -> Iterator[tuple[str, Picture]]:
  """Accuracy against noise, centres and copies: Figure 4 of paper B."""
  for name, (title, axis, owners) in _FIGURE_4.items():
    curves = {
      curve: _numbered(found, pattern) for curve, pattern in owners.items()
    }
    if min(map(len, curves.values())) >= _FEWEST:
      caption = f'{title}: accuracy; bars are exact 95% intervals'
      draw = functools.partial(plots.size_curves, curves, title, axis)
      yield f'nips17_against_{name}.png', _picture(caption, draw)


def _numbered(found, pattern: str) -> list[tuple[float, Tally]]:
  """`(number, tally)` of keys that have a number in the place of the star."""
  number = re.compile(re.escape(pattern).replace(r'\*', r'(\d+)'))
  hits = {key: number.fullmatch(key) for key in found}
  return sorted(
    (float(hit[1]), _tally(found[key])) for key, hit in hits.items() if hit
  )


def _picture(caption: str, draw: Callable[[], Figure]) -> Picture:
  return Picture(caption, lambda: plots.encode_png(draw(), _DPI))


def _codes(found, dataset: str, base: str):
  """Curves of ours and of the paper against k."""
  curves: dict[str, list[tuple[float, Tally]]] = {}
  printed: dict[str, list[tuple[float, float]]] = {}
  for k in sorted(filter(None, TABLES['Table II'][dataset][base])):
    _, unchanged, _, retrained = row_keys('Table II', dataset, base, k)
    for name, key in (
      ('unchanged, published attack', unchanged),
      ('re-trained, published attack', retrained),
      ('unchanged, adaptive', adaptive_key(unchanged)),
    ):
      curves.setdefault(name, [])
      if key in found:
        curves[name].append((k, _tally(found[key])))
      if key in PUBLISHED:
        printed.setdefault(name, []).append((k, PUBLISHED[key][0]))
  return curves, printed


def _tally(fields: Mapping[str, Any]) -> Tally:
  value, total = fields['value'], fields['examples']
  return Tally(
    round(value * total / 100), total, value, fields['low'], fields['high']
  )

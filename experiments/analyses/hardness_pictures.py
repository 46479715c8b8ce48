"""The pictures of `experiments.hardness`: Figures 5, 6 and 7 of paper A."""

from etils.epath import Path
import jax
import numpy as np

from experiments.analyses.hardness_cases import NEAR, SEED, Study, in_words
from rdefense import files, interactive, plots
from rdefense.analysis import neighborhoods
from rdefense.defenses.colors import Colors

__all__ = ['pictures', 'write_page']

_SHOWN = (40_000, 400_000)  # pixels of Figure 6, left and right


def pictures(study: Study, results) -> dict[str, bytes]:
  """Figures 5, 6 and 7 as PNG."""
  colors, cube, curves = (
    results['arrays'][name] for name in ('colors', 'cube', 'curves')
  )
  name = results['dataset']
  figures = {
    'figure_5': plots.distributions(
      {
        f'{case.book}, ε = {in_words(study, case.eps)}': curve
        for case, curve in curves.items()
        if (case.rule, case.ball) == ('given', 'closed')
      },
      {
        f'paper, ε = {in_words(study, eps)}': value
        for (_, eps), value in study.published.items()
      },
      f'Hardness of {name}',
    )
  }
  counts = neighborhoods.histogram(colors)
  channels = ('red', 'green', 'blue') if len(counts) == 3 else ('pixels',)
  near = f'training pixels within {NEAR} levels'
  if len(counts) == 3:
    figures['figure_6'] = plots.color_cube(
      {
        f'{n:,} pixels, by {scale}': _points(colors, cube, n)
        for n, scale in zip(_SHOWN, ('size', 'logarithm'), strict=True)
      },
      int(cube.max()),
      f'{name}: {near}',
    )
  else:
    figures['figure_6'] = plots.levels(
      {near: cube}, f'{name}: neighbourhood sizes', near
    )
  figures['figure_7'] = plots.levels(
    dict(zip(channels, counts, strict=True)),
    f'{name}: pixels by level',
    'training pixels',
  )
  return {name: plots.encode_png(figure) for name, figure in figures.items()}


def _points(
  colors: Colors, cube: np.ndarray, num_pixels: int
) -> tuple[np.ndarray, np.ndarray]:
  """Distinct colours of some pixels drawn, with their neighbourhood sizes."""
  rows = neighborhoods.sample(jax.random.key(SEED), colors, num_pixels)
  rows = np.unique(rows)
  return colors.values[rows], neighborhoods.of_colors(cube, colors)[rows]


def write_page(workdir: Path, results) -> bool:
  """Figure 6 to turn round; only of colours, and where Plotly is installed."""
  colors, cube = (results['arrays'][name] for name in ('colors', 'cube'))
  if colors.values.shape[1] != 3 or not interactive.available():
    return False
  page = interactive.color_cube(
    *_points(colors, cube, _SHOWN[0]),
    f'{results["dataset"]}: training pixels within {NEAR} levels of a colour',
  )
  files.write_bytes(workdir / 'neighborhoods.html', page.encode())
  return True

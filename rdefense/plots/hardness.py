"""Pictures of how hard a dataset is to defend: paper A's Figures 5, 6 and 7.

>>> figure = distributions({'eps 0.3': ([0.1, 0.2], [0.5, 1.0])}, {}, 'Demo')
>>> len(figure.axes)
1

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, Figures 5 to 7.
"""

from collections.abc import Mapping, Sequence
import itertools

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter
import numpy as np

from rdefense.plots.style import COLOURS, FAINT, INK, headline, style

__all__ = ['color_cube', 'distributions', 'levels']

_DASHES = ('-', '--', ':', '-.')


def distributions(
  curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  published: Mapping[str, float],
  title: str,
) -> Figure:
  """Empirical distribution functions of hardness, paper A's Figure 5.

  Args:
    curves: name -> (values ascending, shares of examples up to each).
    published: what a paper says -> its median, drawn at half the examples.
    title: above the axes.

  Raises:
    ValueError: if there is no curve, or one without points.
  """
  if not curves or not all(len(points) for points, _ in curves.values()):
    raise ValueError('distributions needs at least one point a curve.')
  figure = Figure(figsize=(8.4, 4.2), layout='constrained')
  axes = figure.subplots()
  looks = zip(COLOURS, itertools.cycle(_DASHES))
  for (name, (points, shares)), (colour, dash) in zip(
    curves.items(), itertools.cycle(looks)
  ):
    values = np.concatenate([points[:1], points])
    heights = 100 * np.concatenate([[0.0], shares])
    axes.step(
      values, heights, where='post', color=colour, linestyle=dash,
      linewidth=1.8, label=name,
    )  # fmt: skip
  for name, value in published.items():
    axes.plot(
      [value], [50], marker='v', color=INK, markersize=9, linestyle='none',
      label=f'{name}: {value:g}', zorder=4,
    )  # fmt: skip
  style(axes)
  axes.axhline(50, color=FAINT, linewidth=0.8, linestyle=':')
  axes.set(
    xlim=(0, None),
    ylim=(0, 101),
    xlabel='hardness: log of the number of classes in the ball, of all classes',
    ylabel='images up to there',
  )
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9
  )
  headline(axes, title)
  return figure


def color_cube(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
  largest: int,
  title: str,
) -> Figure:
  """Colours in their cube, tinted by the size of their neighbourhood.

  Args:
    panels: title -> (colours `[n, 3]` in levels, sizes `[n]`, at least 1). The
      first is tinted by size, others by its logarithm.
    largest: the size at the end of the scale.
    title: above all panels.

  Raises:
    ValueError: if colours have other than three channels, or sizes another
      number.
  """
  figure = Figure(figsize=(5.0 * len(panels), 4.6), layout='constrained')
  figure.suptitle(
    title, x=0.01, ha='left', color=INK, fontsize=11, fontweight='bold'
  )
  for number, (name, (colors, sizes)) in enumerate(panels.items(), 1):
    if colors.shape != (len(sizes), 3):
      raise ValueError(
        f'colours of {name!r} have shape {colors.shape} with {len(sizes)} '
        'sizes, expected one size a colour of three channels.'
      )
    axes = figure.add_subplot(1, len(panels), number, projection='3d')
    order = np.argsort(sizes)  # the largest on top
    shown = axes.scatter(
      *colors[order].T, c=np.asarray(sizes)[order], s=1.2, marker='.',
      cmap='viridis', linewidths=0, depthshade=False, rasterized=True,
      norm=LogNorm(1, largest) if number > 1 else None,
      **({} if number > 1 else {'vmin': 0, 'vmax': largest}),
    )  # fmt: skip
    for axis, channel in zip('xyz', ('red', 'green', 'blue'), strict=True):
      axes.set(**{f'{axis}lim': (0, 255), f'{axis}ticks': (0, 128, 255)})
      axes.set(**{f'{axis}label': channel})
    axes.tick_params(labelsize=8, colors=FAINT, pad=0)
    axes.set_title(name, fontsize=9.5, color=FAINT)
    bar = figure.colorbar(shown, ax=axes, shrink=0.6, pad=0.16)
    bar.ax.tick_params(labelsize=8, colors=FAINT)
  return figure


def levels(series: Mapping[str, np.ndarray], title: str, ylabel: str) -> Figure:
  """Counts by level on a logarithmic axis, paper A's Figure 7.

  Args:
    series: name -> counts `[256]`; levels of count 0 are left out.
    title: above the axes.
    ylabel: what is counted.

  Raises:
    ValueError: if there is no series, or one that is all 0.
  """
  if not series or not all(np.any(counts) for counts in series.values()):
    raise ValueError('levels needs at least one series that is not all 0.')
  figure = Figure(figsize=(7.2, 3.6), layout='constrained')
  axes = figure.subplots()
  named = {'red': '#c0392b', 'green': '#1e8449', 'blue': '#2471a3'}
  spare = itertools.cycle(COLOURS[1:])
  for name, counts in series.items():
    shown = np.where(np.asarray(counts) > 0, counts, np.nan)
    axes.step(
      np.arange(256), shown, where='mid', label=name, linewidth=1.3,
      color=named.get(name) or next(spare),
    )  # fmt: skip
  axes.set_yscale('log')
  axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
  axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f'{v:,.0f}'))
  axes.minorticks_off()
  style(axes)
  axes.set(xlim=(-1, 256), xlabel='level of 255', ylabel=ylabel)
  axes.set_xticks(range(0, 256, 51))
  if len(series) > 1:
    axes.legend(frameon=False, fontsize=9)
  headline(axes, title)
  return figure

"""Curves that carry their names: shares and costs against a size.

>>> figure = costs({'demo': [(1, 0.5), (2, 0.7)]}, 'Time', 'size', 's')
>>> figure.axes[0].get_ylabel()
's'
"""

from collections.abc import Mapping, Sequence
import itertools

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from rdefense.counting import Tally
from rdefense.plots.style import COLOURS, FAINT, MARKERS, headline, style

__all__ = ['accuracy_curves', 'costs', 'size_curves']


def accuracy_curves(
  curves: Mapping[str, Sequence[tuple[float, Tally]]],
  title: str = 'Accuracy under attack',
  unit: int = 1,
) -> Figure:
  """Accuracy against radius, one labelled curve a setting.

  Args:
    curves: setting -> points `(eps, tally)` in any order; eps in [0, 1] pixel
      units, the tally's figures in percent. The band is its exact interval.
    title: above the axes.
    unit: radii are printed in units of 1 / unit: 255 for grey levels.

  Returns:
    The figure; accuracy runs from 0 to 100% whatever the data.

  Raises:
    ValueError: if there is no curve, or one without points.
  """
  _check_points(curves, 'accuracy_curves')
  figure = Figure(figsize=(7.2, 4.2), layout='constrained')
  axes = figure.subplots()
  styles = itertools.cycle(zip(COLOURS, MARKERS, strict=True))
  ends = []
  for (name, points), (colour, marker) in zip(curves.items(), styles):
    radii, percent, low, high = _ascending(points)
    eps = [unit * radius for radius in radii]
    axes.fill_between(eps, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.errorbar(
      eps,
      percent,
      np.abs(np.array([low, high]) - percent),
      fmt='none',
      ecolor=colour,
      elinewidth=1.1,
      capsize=2.5,
      alpha=0.75,
    )
    axes.plot(
      eps,
      percent,
      color=colour,
      marker=marker,
      markersize=6.5,
      markeredgecolor='white',
      markeredgewidth=0.9,
      linewidth=1.9,
      zorder=3,
      clip_on=False,
    )
    ends.append((percent[-1], eps[-1], name, colour))
  style(axes)
  radii = sorted({unit * e for points in curves.values() for e, _ in points})
  span = radii[-1] - radii[0] or 1.0
  axes.set(
    xlim=(radii[0] - 0.03 * span, radii[-1] + 0.03 * span),
    ylim=(0, 101),
    xlabel=f'radius ε of the attack (pixels in [0, {unit}])',
    ylabel='accuracy',
  )
  if len(radii) <= 8:
    axes.set_xticks(radii, [f'{e:.5g}' for e in radii])
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  headline(axes, title)
  ends.sort()
  heights = _spread([end[0] for end in ends], gap=6.5, low=1, high=99)
  left, edge = axes.get_xlim()  # of a single radius, narrow
  for (percent, radius, name, colour), height in zip(
    ends, heights, strict=True
  ):
    axes.annotate(
      f'{name}  {percent:.1f}%',
      (radius, percent),
      (edge + 0.047 * (edge - left), height),
      color=colour,
      fontsize=9.5,
      fontweight='bold',
      va='center',
      annotation_clip=False,
      arrowprops={
        'arrowstyle': '-',
        'color': colour,
        'alpha': 0.45,
        'linewidth': 0.9,
        'relpos': (0, 0.5),
        'shrinkB': 5,
      },
    )
  return figure


def costs(
  curves: Mapping[str, Sequence[tuple[float, float]]],
  title: str,
  xlabel: str,
  ylabel: str,
) -> Figure:
  """What something costs against its size, on a logarithmic axis.

  Args:
    curves: name -> points `(size, cost)` in ascending order, costs above 0.
    title: above the axes.
    xlabel: what sizes are.
    ylabel: what costs are.

  Returns:
    The figure, each curve with its name where it ends.

  Raises:
    ValueError: if there is no curve, one without points, or a cost of 0 or
      less, which has no logarithm.
  """
  if not curves or not all(curves.values()):
    raise ValueError('costs needs at least one point a curve.')
  for name, points in curves.items():
    least = min(cost for _, cost in points)
    if not least > 0:
      raise ValueError(f'costs of {name!r} must be above 0, got {least:g}.')
  figure = Figure(figsize=(7.2, 4.2), layout='constrained')
  axes = figure.subplots()
  styles = itertools.cycle(zip(COLOURS[1::-1], MARKERS, strict=False))
  for (name, points), (colour, marker) in zip(curves.items(), styles):
    sizes, values = zip(*points, strict=True)
    axes.plot(
      sizes, values, color=colour, marker=marker, markersize=6.5,
      markeredgecolor='white', markeredgewidth=0.9, linewidth=1.9,
    )  # fmt: skip
    axes.annotate(
      name, (sizes[-1], values[-1]), (8, 0), textcoords='offset points',
      color=colour, fontsize=9.5, fontweight='bold', va='center',
      annotation_clip=False,
    )  # fmt: skip
  axes.set_yscale('log')
  axes.minorticks_off()
  style(axes)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.set_xticks(sorted({x for points in curves.values() for x, _ in points}))
  headline(axes, title)
  return figure


def size_curves(
  curves: Mapping[str, Sequence[tuple[float, Tally]]],
  title: str,
  xlabel: str,
  promise: tuple[float, float] | None = None,
  printed: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Figure:
  """Shares against a size on a logarithmic axis, and what was said of them.

  Args:
    curves: name -> points `(size, tally)`, sizes above 0; bars are the exact
      intervals.
    title: above the axes.
    xlabel: what the sizes are.
    promise: a share, in percent, promised to all curves, and the size from
      which on; what is promised is shaded.
    printed: name of a curve -> a paper's points `(size, percent)`, dotted.

  Returns:
    The figure; shares run from 0 to 100% whatever the data.

  Raises:
    ValueError: if there is no curve, or one without points.
  """
  _check_points(curves, 'size_curves')
  figure = Figure(figsize=(7.2, 4.0), layout='constrained')
  axes = figure.subplots()
  styles = itertools.cycle(zip(COLOURS, MARKERS, strict=True))
  for (name, points), (colour, marker) in zip(curves.items(), styles):
    sizes, percent, low, high = _ascending(points)
    axes.errorbar(
      sizes, percent, np.abs(np.array([low, high]) - percent),
      color=colour, marker=marker, markersize=6.5, markeredgecolor='white',
      linewidth=1.9, elinewidth=1.1, capsize=2.5, clip_on=False, label=name,
    )  # fmt: skip
    theirs = sorted((printed or {}).get(name, ()))
    axes.plot(
      [size for size, _ in theirs], [value for _, value in theirs], ':',
      color=colour, marker=marker, markersize=5, markerfacecolor='white',
      linewidth=1.1, clip_on=False,
    )  # fmt: skip
  style(axes)
  if printed:
    axes.plot([], [], ':', color=FAINT, label='as printed')
  every = [
    size
    for points in (*curves.values(), *(printed or {}).values())
    for size, _ in points
  ]
  ticks = sorted(set(every))
  if promise:
    share, begins = promise
    every.append(begins)
  left, right = min(every) / 1.15, max(every) * 1.15
  if promise:
    axes.fill_between(
      [begins, right], share, 100, color=FAINT, alpha=0.28, linewidth=0,
      label=f'promised: at least {share:g}%',
    )  # fmt: skip
  axes.set_xscale('log')
  axes.set_xticks(ticks, [f'{size:g}' for size in ticks])
  axes.minorticks_off()
  axes.set(xlim=(left, right), ylim=(0, 101), xlabel=xlabel)
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5
  )
  headline(axes, title)
  return figure


def _spread(heights, gap, low, high):
  """Least-squares heights, ascending and `gap` apart, inside [low, high]."""
  gap = min(gap, (high - low) / max(1, len(heights) - 1))
  steps = gap * np.arange(len(heights))
  target = np.asarray(heights, float) - steps
  # Isotonic regression by the max-min formula; a figure has few curves.
  means = [
    max(
      min(target[i : j + 1].mean() for j in range(k, len(target)))
      for i in range(k + 1)
    )
    for k in range(len(target))
  ]
  return np.clip(means, low, high - steps[-1]) + steps


def _check_points(curves, owner: str) -> None:
  empty = [name for name, points in curves.items() if not points]
  if not curves or empty:
    raise ValueError(
      f'{owner} needs at least one point a curve, got {empty or None}.'
    )


def _ascending(points: Sequence[tuple[float, Tally]]):
  """Sizes in order, and of their tallies percent, low and high."""
  ordered = sorted(points, key=lambda point: point[0])
  rows = ((size, t.percent, t.low, t.high) for size, t in ordered)
  return zip(*rows, strict=True)

"""What certificates decide, as bars.

>>> bars = decisions([(0.1, [60, 10, 30])], [*DECIDED], 'Demo')
>>> len(bars.axes[0].patches)
3
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from rdefense.plots.style import RIGHT, WRONG, headline, style

__all__ = ['decisions']

DECIDED = {'certified': RIGHT, 'undecided': '#9aa5b1', 'refuted': WRONG}


def decisions(
  shares: Sequence[tuple[float, Sequence[float]]],
  names: Sequence[str],
  title: str,
) -> Figure:
  """How many examples are certified, refuted, undecided, against radius.

  Args:
    shares: points `(eps, shares in percent)`, in the order of `names`; they
      add up to 100.
    names: of the shares, drawn from the bottom up.
    title: above the axes.
  """
  figure = Figure(figsize=(7.2, 3.6), layout='constrained')
  axes = figure.subplots()
  eps = [e for e, _ in shares]
  heights = np.array([parts for _, parts in shares]).T
  bottom = np.zeros(len(eps))
  for name, height in zip(names, heights, strict=True):
    colour = DECIDED[name]
    axes.bar(
      range(len(eps)), height, bottom=bottom, color=colour, width=0.72,
      label=name,
    )  # fmt: skip
    for i, (below, part) in enumerate(zip(bottom, height, strict=True)):
      if part >= 4:
        axes.text(
          i, below + part / 2, f'{part:.1f}%', ha='center', va='center',
          color='white', fontsize=9, fontweight='bold',
        )  # fmt: skip
    bottom += height
  style(axes)
  axes.set(ylim=(0, 100), xlabel='radius ε (pixels in [0, 1])')
  axes.set_xticks(range(len(eps)), [f'{e:g}' for e in eps])
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5
  )
  headline(axes, title)
  return figure

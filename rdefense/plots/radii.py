"""Robust radii of a dataset's images, from a proof below and an attack above.

>>> figure = radii([0.0, 0.1], [0.2, np.inf], 0.4, 'Demo')
>>> len(figure.axes)
2
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from rdefense.plots.style import COLOURS, FAINT, RIGHT, headline, style

__all__ = ['radii']

_BINS = 16


def radii(
  certified: Sequence[float] | np.ndarray | None,
  fooled: Sequence[float] | np.ndarray,
  largest: float,
  title: str,
) -> Figure:
  """Shares of images robust up to each radius, and how many have which.

  Above: images certified at each radius, those of which no attack is known
  there, and between the two what is not known. Below: histograms of both.

  Args:
    certified: the largest radius proved of each image; negative or -inf for
      one that is wrong unattacked. None where nothing can be proved.
    fooled: the smallest at which an attack succeeded; inf for none.
    largest: the largest radius attacked, in [0, 1] pixel units, positive.
    title: above the axes.

  Raises:
    ValueError: without images, or with unequal numbers of them.
  """
  fooled = np.asarray(fooled, float)
  proved = None if certified is None else np.asarray(certified, float)
  if not fooled.size or (proved is not None and proved.shape != fooled.shape):
    raise ValueError(
      f'radii needs one certified and one fooled radius an image, got '
      f'{None if proved is None else proved.shape} and {fooled.shape}.'
    )
  figure = Figure(figsize=(7.2, 5.6), layout='constrained')
  above, below = figure.subplots(
    2, 1, sharex=True, gridspec_kw={'height_ratios': (2, 1)}
  )
  known = fooled if proved is None else np.concatenate([fooled, proved])
  inner = known[(known > 0) & (known < largest)]
  grid = np.unique([0.0, *inner, largest])
  # Fooled at eps is not robust at eps; certified at eps is.
  standing = 100 * np.array([(fooled > eps).mean() for eps in grid])
  tints = {'no attack known': COLOURS[0], 'certified': RIGHT}
  above.step(
    grid, standing, where='post', color=tints['no attack known'],
    linewidth=1.8, label='no attack known',
  )  # fmt: skip
  if proved is not None:
    # Right up to each point and falling behind it: the value of the next.
    share = 100 * np.array([(proved >= eps).mean() for eps in grid])
    above.step(
      grid, share, where='pre', color=tints['certified'], linewidth=1.8,
      label='certified',
    )  # fmt: skip
    twice = np.repeat(grid, 2)
    above.fill_between(
      twice[1:-1], np.repeat(share[1:], 2), np.repeat(standing[:-1], 2),
      color='#aab4be', alpha=0.35, linewidth=0, label='not known',
    )  # fmt: skip
  style(above)
  above.set(ylim=(0, 101), ylabel='images robust up to there')
  above.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  above.legend(frameon=False, fontsize=9)
  headline(above, title)
  series = {'no attack known': fooled, 'certified': proved}
  shown = {name: r for name, r in series.items() if r is not None}
  # Infinite radii lie in the last bin, beyond `largest`; wrong images at 0.
  edges = np.linspace(0, largest, _BINS + 1)
  edges = np.append(edges, edges[-1] + edges[1])
  middle = (edges[-1] + edges[-2]) / 2
  below.hist(
    [np.clip(np.where(r > largest, middle, r), 0, None)
     for r in shown.values()],
    edges, color=[tints[name] for name in shown], label=[*shown],
  )  # fmt: skip
  below.axvline(largest, color=FAINT, linewidth=0.8, linestyle=':')
  style(below)
  below.set(
    xlim=(0, edges[-1]),
    ylabel='images',
    xlabel=f'radius ε (pixels in [0, 1]); right of {largest:g}: none found',
  )
  return figure

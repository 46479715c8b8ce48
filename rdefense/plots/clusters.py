"""Pixels of an image by colour and cluster: paper B's Figure 1.

>>> image = np.zeros((2, 2, 3))
>>> plane, index = np.zeros((4, 2)), np.zeros(4, int)
>>> centers, colors = np.zeros((1, 2)), np.zeros((1, 3))
>>> view = ClusterView('', image, image, plane, index, centers, colors)
>>> len(color_clusters([view], 'Demo').axes)
3

References:
  Zhang, Liang, 2019, https://arxiv.org/abs/1903.10586, Figure 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
import numpy as np

from rdefense.plots.style import COLOURS, FAINT, GRID, INK

__all__ = ['ClusterView', 'color_clusters']

_POINTS = 6000  # drawn at most


class ClusterView(NamedTuple):
  """One image, what became of it, and its n pixels in the plane of colour.

  Attributes:
    title: of the row.
    image, transformed: `[H, W, 3]`, shown as they clip to [0, 1].
    plane: a and b of CIELAB, `[n, 2]`.
    member: the cluster of each, `[n]`.
    centers: a and b of the centres, `[k, 2]`.
    colors: of the centres, `[k, 3]`.
  """

  title: str
  image: np.ndarray
  transformed: np.ndarray
  plane: np.ndarray
  member: np.ndarray
  centers: np.ndarray
  colors: np.ndarray


def color_clusters(views: Sequence[ClusterView], title: str) -> Figure:
  """A row a view: the image, its pixels by cluster, the transformed image.

  Args:
    views: at least one; all planes are drawn to one scale.
    title: above all rows.

  Raises:
    ValueError: if there is no view, or indices do not fit pixels and centres.
  """
  if not views:
    raise ValueError('color_clusters needs at least one view.')
  for view in views:
    if len(view.member) != len(view.plane) or not (
      0 <= view.member.min() <= view.member.max() < len(view.centers)
    ):
      raise ValueError(
        f'indices of {view.title!r} do not fit its {len(view.plane)} pixels '
        f'and {len(view.centers)} centres.'
      )
  every = np.concatenate([part for v in views for part in (v.plane, v.centers)])
  low, high = every.min(0) - 4, every.max(0) + 4
  figure = Figure(figsize=(9.6, 2.9 * len(views) + 0.3), layout='constrained')
  figure.suptitle(
    title, x=0.01, ha='left', color=INK, fontsize=11, fontweight='bold'
  )
  grid = figure.subplots(
    len(views), 3, squeeze=False, gridspec_kw={'width_ratios': (1, 1.5, 1)}
  )
  for view, (left, middle, right) in zip(views, grid, strict=True):
    for axes, image, name in (
      (left, view.image, view.title),
      (right, view.transformed, f'{view.title}, transformed'),
    ):
      axes.imshow(np.clip(image, 0, 1), interpolation='nearest')
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set(color=GRID)
      axes.set_title(name, fontsize=9.5, color=INK)
    _plane(middle, view)
    middle.set(
      xlim=(low[0], high[0]),
      ylim=(low[1], high[1]),
      xlabel='a: green to red',
      ylabel='b: blue to yellow',
    )
  return figure


def _plane(axes, view: ClusterView) -> None:
  step = -(-len(view.member) // _POINTS)
  tints = [COLOURS[i % len(COLOURS)] for i in range(len(view.centers))]
  # Every so many-th pixel, clusters on top of each other as pixels come.
  axes.scatter(
    *view.plane[::step].T, c=[tints[i] for i in view.member[::step]], s=3,
    alpha=0.5, linewidths=0, rasterized=True,
  )  # fmt: skip
  for place, tint, color in zip(view.centers, tints, view.colors, strict=True):
    axes.plot(
      *place, marker='o', markersize=13, color=np.clip(color, 0, 1),
      markeredgecolor='white', markeredgewidth=4, zorder=3,
    )  # fmt: skip
    axes.plot(
      *place, marker='o', markersize=13, color=np.clip(color, 0, 1),
      markeredgecolor=tint, markeredgewidth=2.5, zorder=4,
    )  # fmt: skip
  axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
  axes.axvline(0, color=GRID, linewidth=0.8, zorder=0)
  axes.spines[:].set_visible(False)
  axes.tick_params(colors=FAINT, labelsize=8, length=0)
  axes.xaxis.label.set(color=FAINT, size=9)
  axes.yaxis.label.set(color=FAINT, size=9)

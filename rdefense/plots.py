"""Records to figures: each function returns a `matplotlib.figure.Figure`.

No pyplot and no global state, so figures can be drawn on any thread, without
a display, and are closed by forgetting them. Colours are Okabe and Ito's, the
light ones darkened for small print: they stay apart under the common forms of
colour blindness. Curves also differ by marker and carry their name where they
end, so that no legend is needed.

>>> from rdefense.records import tally
>>> point = tally(np.array([True, True, False]))
>>> png = encode_png(accuracy_curves({'adv_pre': [(0.0, point), (0.3, point)]}))
>>> png[:4]
b'\\x89PNG'

References: Okabe and Ito, Color Universal Design, 2008,
https://jfly.uni-koeln.de/color/
"""

from collections.abc import Mapping, Sequence
import io
import itertools
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from rdefense.records import Tally

__all__ = [
  'Caption',
  'accuracy_curves',
  'costs',
  'decisions',
  'encode_png',
  'image_strip',
  'size_curves',
  'training_curves',
]

_INK, _FAINT, _GRID = '#1d2733', '#66717d', '#e3e7eb'
_RIGHT, _WRONG = '#0072b2', '#d55e00'
_COLOURS = (
  '#d55e00',
  '#0072b2',
  '#c48600',
  '#009e73',
  '#b8588a',
  '#4d4d4d',
  '#3f9bd1',
)
_MARKERS = 'osD^vph'
_DECIDED = {'certified': _RIGHT, 'undecided': '#9aa5b1', 'refuted': _WRONG}


class Caption(NamedTuple):
  """Text under an image; `correct` colours it, None leaves it plain."""

  text: str
  correct: bool | None = None


def accuracy_curves(
  curves: Mapping[str, Sequence[tuple[float, Tally]]],
  title: str = 'Accuracy under attack',
) -> Figure:
  """Accuracy against radius, one labelled curve a setting.

  Args:
    curves: setting -> points `(eps, tally)` in any order; eps in [0, 1] pixel
      units, the tally's figures in percent. The band is its exact interval.
    title: above the axes.

  Returns:
    The figure; accuracy runs from 0 to 100% whatever the data.

  Raises:
    ValueError: if there is no curve, or one without points.
  """
  empty = [name for name, points in curves.items() if not points]
  if not curves or empty:
    raise ValueError(
      f'accuracy_curves needs at least one point a curve, got {empty or None}.'
    )
  figure = Figure(figsize=(7.2, 4.2), layout='constrained')
  axes = figure.subplots()
  styles = itertools.cycle(zip(_COLOURS, _MARKERS, strict=True))
  ends = []
  for (name, points), (colour, marker) in zip(curves.items(), styles):
    points = sorted(points, key=lambda point: point[0])
    eps = [e for e, _ in points]
    percent, low, high = zip(
      *((t.percent, t.low, t.high) for _, t in points), strict=True
    )
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
  _style(axes)
  radii = sorted({e for points in curves.values() for e, _ in points})
  span = radii[-1] - radii[0] or 1.0
  axes.set(
    xlim=(radii[0] - 0.03 * span, radii[-1] + 0.03 * span),
    ylim=(0, 101),
    xlabel='radius ε of the attack (pixels in [0, 1])',
    ylabel='accuracy',
  )
  if len(radii) <= 8:
    axes.set_xticks(radii, [f'{e:g}' for e in radii])
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  _title(axes, title)
  ends.sort()
  heights = _spread([end[0] for end in ends], gap=6.5, low=1, high=99)
  edge = axes.get_xlim()[1]
  for (percent, radius, name, colour), height in zip(
    ends, heights, strict=True
  ):
    axes.annotate(
      f'{name}  {percent:.1f}%',
      (radius, percent),
      (edge + 0.05 * span, height),
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
    colour = _DECIDED[name]
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
  _style(axes)
  axes.set(ylim=(0, 100), xlabel='radius ε (pixels in [0, 1])')
  axes.set_xticks(range(len(eps)), [f'{e:g}' for e in eps])
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5
  )
  _title(axes, title)
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
  styles = itertools.cycle(zip(_COLOURS[1::-1], _MARKERS, strict=False))
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
  _style(axes)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.set_xticks(sorted({x for points in curves.values() for x, _ in points}))
  _title(axes, title)
  return figure


def image_strip(
  rows: Sequence[tuple[str, np.ndarray]],
  captions: Sequence[Sequence[Caption | None]] = (),
) -> Figure:
  """The same examples through each stage, one stage a row.

  Args:
    rows: `(title, images)`, images `[n, H, W, C]` float in [0, 1], C 1 or 3:
      such as clean, discretized, attacked, attacked and discretized.
    captions: for each row `n` captions (predicted labels), blue with a tick
      where right and vermilion with a cross where wrong; None for no caption.
      Empty for none at all.

  Returns:
    The figure.

  Raises:
    ValueError: if rows or captions do not match in number, or images are not
      `[n, H, W, C]` in [0, 1].
  """
  captions = captions or [[None] * len(images) for _, images in rows]
  counts = {len(images) for _, images in rows}
  if len(counts) != 1 or 0 in counts:
    raise ValueError(
      'rows must hold the same examples, at least one, '
      f'got {[len(images) for _, images in rows]} images.'
    )
  if [len(row) for row in captions] != [len(images) for _, images in rows]:
    raise ValueError(
      f'captions must be one an image, got {[len(row) for row in captions]} '
      f'for {[len(images) for _, images in rows]} images.'
    )
  (columns,) = counts
  cell, margin = 0.92, 1.45
  width, height = columns * cell + margin, len(rows) * (cell + 0.25) + 0.1
  figure = Figure(figsize=(width, height))
  grid = figure.subplots(
    len(rows),
    columns,
    squeeze=False,
    gridspec_kw={
      'left': margin / width,
      'right': 1 - 0.06 / width,
      'top': 1 - 0.07 / height,
      'bottom': 0.26 / height,
      'wspace': 0.07,
      'hspace': 0.32,
    },
  )
  for (title, images), texts, line in zip(rows, captions, grid, strict=True):
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
      raise ValueError(
        f'images of {title!r} must be [n, H, W, 1 or 3], got {images.shape}.'
      )
    # Negated, so that NaN is refused as well.
    if not (images.min() >= -1e-6 and images.max() <= 1 + 1e-6):
      raise ValueError(
        f'images of {title!r} span [{images.min():g}, {images.max():g}]; '
        'rdefense expects [0, 1]: divide by 255?'
      )
    line[0].text(
      -0.16,
      0.5,
      title.replace(' and ', '\nand '),
      color=_INK,
      fontsize=9.5,
      fontweight='bold',
      ha='right',
      va='center',
      transform=line[0].transAxes,
    )
    for axes, image, caption in zip(line, images, texts, strict=True):
      axes.imshow(
        image[..., 0] if image.shape[-1] == 1 else image.clip(0, 1),
        cmap='gray',
        vmin=0,
        vmax=1,
        interpolation='nearest',
      )
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set(color=_GRID, linewidth=0.8)
      if caption is not None:
        mark, colour = {
          True: ('✓ ', _RIGHT),
          False: ('✗ ', _WRONG),
          None: ('', _FAINT),
        }[None if caption.correct is None else bool(caption.correct)]
        if caption.correct is not None:
          axes.spines[:].set(color=colour, linewidth=1.6)
        axes.text(
          0.5,
          -0.055,
          mark + caption.text,
          color=colour,
          fontsize=9,
          fontweight='bold',
          ha='center',
          va='top',
          transform=axes.transAxes,
        )
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
  empty = [name for name, points in curves.items() if not points]
  if not curves or empty:
    raise ValueError(
      f'size_curves needs at least one point a curve, got {empty or None}.'
    )
  figure = Figure(figsize=(7.2, 4.0), layout='constrained')
  axes = figure.subplots()
  styles = itertools.cycle(zip(_COLOURS, _MARKERS, strict=True))
  for (name, points), (colour, marker) in zip(curves.items(), styles):
    points = sorted(points, key=lambda point: point[0])
    sizes = [size for size, _ in points]
    percent, low, high = zip(
      *((t.percent, t.low, t.high) for _, t in points), strict=True
    )
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
  _style(axes)
  if printed:
    axes.plot([], [], ':', color=_FAINT, label='as printed')
  every = [
    size
    for points in (*curves.values(), *(printed or {}).values())
    for size, _ in points
  ]
  if promise:
    share, begins = promise
    every.append(begins)
  left, right = min(every) / 1.15, max(every) * 1.15
  if promise:
    axes.fill_between(
      [begins, right], share, 100, color=_FAINT, alpha=0.28, linewidth=0,
      label=f'promised: at least {share:g}%',
    )  # fmt: skip
  axes.set_xscale('log')
  ticks = sorted({size for points in curves.values() for size, _ in points})
  axes.set_xticks(ticks, [f'{size:g}' for size in ticks])
  axes.minorticks_off()
  axes.set(xlim=(left, right), ylim=(0, 101), xlabel=xlabel)
  axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5
  )
  _title(axes, title)
  return figure


def training_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
  """Loss and accuracy against step and, where it varied, the training radius.

  Args:
    metrics: lines of `metrics.jsonl`: `step` and any of `loss`, `accuracy` (a
      fraction) and `eps` ([0, 1] pixel units). Lines may lack some.

  Returns:
    The figure: raw values faint, a running mean of a twentieth of them strong.

  Raises:
    ValueError: if no line has a step and one of the three.
  """
  series = {
    name: np.array(
      [
        (m['step'], m[name])
        for m in metrics
        if 'step' in m and m.get(name) is not None
      ],
      float,
    )
    for name in ('loss', 'accuracy', 'eps')
  }
  if len(series['eps']) and np.ptp(series['eps'][:, 1]) == 0:
    del series['eps']
  series = {name: points for name, points in series.items() if len(points)}
  if not series:
    raise ValueError(
      'metrics hold no loss, accuracy or eps with a step: '
      'is metrics.jsonl empty?'
    )
  looks = {
    'loss': ('loss', _WRONG, 1.0),
    'accuracy': ('accuracy', _RIGHT, 100.0),
    'eps': ('training radius ε', '#009e73', 1.0),
  }
  figure = Figure(figsize=(7.2, 0.6 + 1.75 * len(series)), layout='constrained')
  panels = figure.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0]
  for axes, (name, points) in zip(panels, series.items(), strict=True):
    label, colour, scale = looks[name]
    step, value = points.T[0], points.T[1] * scale
    smooth = _running_mean(value) if name != 'eps' else value
    axes.plot(step, value, color=colour, alpha=0.28, linewidth=1.0)
    axes.plot(step, smooth, color=colour, linewidth=2.0)
    axes.plot(step[-1], smooth[-1], 'o', color=colour, clip_on=False)
    _style(axes)
    unit = '%' if name == 'accuracy' else ''
    _title(axes, label, f'   last {smooth[-1]:.3g}{unit}', colour)
    axes.margins(x=0.01)
    if name == 'accuracy':
      axes.set_ylim(min(90, value.min() // 10 * 10), 100.5)
      axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  panels[-1].set_xlabel('training step')
  return figure


def encode_png(figure: Figure, dpi: int = 160) -> bytes:
  """Renders a figure as PNG; the same figure gives the same bytes."""
  buffer = io.BytesIO()
  FigureCanvasAgg(figure)
  figure.savefig(
    buffer,
    format='png',
    dpi=dpi,
    facecolor='white',
    metadata={'Software': None},
  )
  return buffer.getvalue()


def _style(axes):
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(_FAINT)
  axes.grid(axis='y', color=_GRID, linewidth=0.9)
  axes.set_axisbelow(True)
  axes.tick_params(colors=_FAINT, labelsize=9, length=0, pad=6)
  axes.xaxis.label.set(color=_FAINT, size=9.5)
  axes.yaxis.label.set(color=_FAINT, size=9.5)


def _title(axes, text, detail='', colour=_INK):
  axes.set_title(
    text + detail,
    loc='left',
    color=colour,
    fontsize=11,
    fontweight='bold',
    pad=10,
  )


def _running_mean(value):
  reach = len(value) // 40
  total = np.cumsum(np.concatenate([[0.0], value]))
  middle = np.arange(len(value))
  start = np.maximum(middle - reach, 0)
  stop = np.minimum(middle + reach + 1, len(value))
  return (total[stop] - total[start]) / (stop - start)


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

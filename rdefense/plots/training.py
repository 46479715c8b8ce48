"""How a model was trained.

>>> len(training_curves([{'step': 0, 'loss': 1.0}]).axes)
1
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from rdefense.plots.style import RIGHT, WRONG, headline, style

__all__ = ['training_curves']


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
    'loss': ('loss', WRONG, 1.0),
    'accuracy': ('accuracy', RIGHT, 100.0),
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
    style(axes)
    unit = '%' if name == 'accuracy' else ''
    headline(axes, label, f'   last {smooth[-1]:.3g}{unit}', colour)
    axes.margins(x=0.01)
    if name == 'accuracy':
      axes.set_ylim(min(90, value.min() // 10 * 10), 100.5)
      axes.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
  panels[-1].set_xlabel('training step')
  return figure


def _running_mean(value):
  reach = len(value) // 40
  total = np.cumsum(np.concatenate([[0.0], value]))
  middle = np.arange(len(value))
  start = np.maximum(middle - reach, 0)
  stop = np.minimum(middle + reach + 1, len(value))
  return (total[stop] - total[start]) / (stop - start)

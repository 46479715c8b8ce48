"""What all pictures share: colours, axes, and how they become files.

>>> encode_png(Figure(figsize=(1, 1)), dpi=30)[:4]
b'\\x89PNG'
"""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
  'COLOURS',
  'FAINT',
  'GRID',
  'INK',
  'MARKERS',
  'RIGHT',
  'WRONG',
  'encode_png',
  'headline',
  'style',
]

INK, FAINT, GRID = '#1d2733', '#66717d', '#e3e7eb'
RIGHT, WRONG = '#0072b2', '#d55e00'
COLOURS = (
  '#d55e00',
  '#0072b2',
  '#c48600',
  '#009e73',
  '#b8588a',
  '#4d4d4d',
  '#3f9bd1',
)
MARKERS = 'osD^vph'


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


def style(axes: Axes) -> None:
  """No frame but the axis below, a faint grid of heights, small print."""
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(FAINT)
  axes.grid(axis='y', color=GRID, linewidth=0.9)
  axes.set_axisbelow(True)
  axes.tick_params(colors=FAINT, labelsize=9, length=0, pad=6)
  axes.xaxis.label.set(color=FAINT, size=9.5)
  axes.yaxis.label.set(color=FAINT, size=9.5)


def headline(
  axes: Axes, text: str, detail: str = '', colour: str = INK
) -> None:
  """A title at the left, in bold."""
  axes.set_title(
    text + detail,
    loc='left',
    color=colour,
    fontsize=11,
    fontweight='bold',
    pad=10,
  )

"""Images side by side, through each stage of a pipeline.

>>> images = np.zeros((2, 4, 4, 1))
>>> len(image_strip([('clean', images), ('attacked', images)]).axes)
4
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
import numpy as np

from rdefense.plots.style import FAINT, GRID, INK, RIGHT, WRONG

__all__ = ['Caption', 'image_strip']


class Caption(NamedTuple):
  """Text under an image; `correct` colours it, None leaves it plain."""

  text: str
  correct: bool | None = None


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
      color=INK,
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
      axes.spines[:].set(color=GRID, linewidth=0.8)
      if caption is not None:
        mark, colour = {
          True: ('✓ ', RIGHT),
          False: ('✗ ', WRONG),
          None: ('', FAINT),
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

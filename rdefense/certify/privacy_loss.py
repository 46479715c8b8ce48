"""The most that an attack can take from an event: Neyman-Pearson, all pixels.

Wherever the attack moves a pixel, the end of its ball on that side makes it
easier to tell from the clean one (`rdefense.certify.cells`), and so of all
pixels together: 2^n laws Q matter, and an event of clean probability s or more
keeps at least

  max over l of  e^-l (s - delta(l)),   delta = max_Q sum max(0, P - e^l Q).

For one Q, delta is a convolution: with P_o, Q_o the masses of the outcomes of
a pixel, and delta' that of all other pixels,

  delta(l) = sum_o P_o delta'(l - log(P_o / Q_o)).

The maximum over Q is bounded by dynamic programming: pixel by pixel, delta
becomes the greater, at every l, of the two that the ends of the pixel give.
Nothing is lost where one end is the better one for all l that matter, which
grey pixels, being nearly symmetric, make so: they come first, and black and
white ones last. (A pair of laws for every pixel that dominates both its ends
would prove less: it lets the attacker choose each end in view of all other
pixels.) Values whose one end dominates the other are convolved all at once, by
Fourier transform, and so is everything in images of very many pixels, under
the dominating pairs.

Curves live on a grid of l (`loss_grids`), which can only raise delta.

>>> import numpy as np
>>> from rdefense.certify.cells import cells
>>> image = np.linspace(0, 1, 49, dtype=np.float32).reshape(1, 7, 7, 1)
>>> found = cells(image, np.array([[0.0], [1.0]]), 0.15, 0.05)
>>> float(least_event(found, np.array([[0.99]]))[0, 0].round(2))
0.83

References:
  Zhu, Dong, Wang, Optimal accounting of differential privacy via
  characteristic function, 2021, https://arxiv.org/abs/2106.08567.
"""

from typing import NamedTuple

import numpy as np

from rdefense.certify import loss_grids
from rdefense.certify.cells import Cells
from rdefense.certify.trade_offs import Pairs, sides

__all__ = ['least_event']

_MAX_STEPS = 5000  # of the dynamic program, pixels of an image
_AT_ONCE = 32  # images, against memory
_WIDTHS = 4  # of grids, from one to twice as wide
_USEFUL = 25.0  # losses l, from minus this to this


class _Kinds(NamedTuple):
  """Pixel values of some images, one a row."""

  likeliest: np.ndarray  # [V], mass of the likeliest cell
  at_once: np.ndarray  # [V], bool: convolved by Fourier transform
  strong: Pairs
  weak: Pairs
  hull: Pairs


def least_event(cells: Cells, shares: np.ndarray) -> np.ndarray:
  """The least attacked probability of events, from their clean ones.

  Args:
    cells: of N images.
    shares: `[N, E]`, lower bounds of the clean probability of E events each.

  Returns:
    `[N, E]` float64, rounded down.
  """
  ends = sides(cells)
  windows = _windows(cells.counts, ends.hull)
  many = cells.counts[:, ~ends.one_sided].sum(-1) > _MAX_STEPS
  found = np.zeros(np.shape(shares))
  for window, quickly in sorted({*zip(windows.tolist(), many.tolist())}):
    images = np.flatnonzero((windows == window) & (many == quickly))
    values = np.flatnonzero(cells.counts[images].any(0))
    kinds = _Kinds(
      cells.law[values].max(-1),
      ends.one_sided[values] | quickly,
      *(_rows(side, values) for side in (ends.strong, ends.weak, ends.hull)),
    )
    counts = cells.counts[np.ix_(images, values)]
    found[images] = _least(counts, kinds, np.asarray(shares)[images], window)
  return found


def _least(
  counts: np.ndarray, kinds: _Kinds, shares: np.ndarray, window: float
) -> np.ndarray:
  """Of images `[N, V]` whose losses fit a grid of the same width."""
  at_once = kinds.at_once
  transforms = loss_grids.transforms(
    loss_grids.on_grid(_rows(kinds.hull, at_once), window)
  )
  slowly = np.flatnonzero(~at_once)
  slowly = slowly[np.argsort(kinds.likeliest[slowly], kind='stable')]
  options = [
    (
      v,
      [
        loss_grids.atoms(_rows(side, [v]), window)
        for side in (kinds.strong, kinds.weak)
      ],
    )
    for v in slowly
  ]
  useful = np.abs(loss_grids.points(window)) <= _USEFUL
  slopes = np.exp(-loss_grids.points(window)[useful])
  found = np.zeros(shares.shape)
  for begin in range(0, len(found), _AT_ONCE):
    some = counts[begin : begin + _AT_ONCE]
    deltas = loss_grids.deltas(
      loss_grids.composed(some[:, at_once], transforms, window)
    )
    for image, delta in enumerate(deltas, begin):
      for value, pairs in options:
        for _ in range(int(counts[image, value])):
          delta = np.maximum(
            *(loss_grids.convolved(delta, pair) for pair in pairs)
          )
      delta = delta[useful] * (1 + 1e-10) + 1e-12  # float64 sums of positives
      gain = slopes * (shares[image][:, None] - delta)
      found[image] = np.maximum(gain.max(-1), 0.0)
  return found


def _rows(pairs: Pairs, chosen) -> Pairs:
  return Pairs(*(masses[chosen] for masses in pairs))


def _windows(counts: np.ndarray, pairs: Pairs) -> np.ndarray:
  """Widths of the grids of images: some deviations of their losses, rounded up.

  Each is of its own image, whatever else is in the batch; few differ.
  """
  with np.errstate(divide='ignore', invalid='ignore'):
    loss = np.log(pairs.clean) - np.log(pairs.attacked)
  mass = np.where(np.isfinite(loss), pairs.clean, 0.0)
  loss = np.where(mass > 0, loss, 0.0)
  mean = counts @ (mass * loss).sum(-1)
  deviation = np.sqrt(counts @ (mass * loss**2).sum(-1))
  # Wide enough for images worth deciding, and for the loss of any one pixel.
  worth = np.where(mean < 12, 2 * (mean + 9 * deviation), 0.0)
  largest = np.where(counts > 0, np.abs(loss).max(-1), 1e-3).max(-1)
  wide = np.maximum(worth, 4 * np.maximum(largest, 1e-3))
  return 2.0 ** (np.ceil(_WIDTHS * np.log2(wide)) / _WIDTHS)

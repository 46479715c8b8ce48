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

Curves live on a grid of l, where each loss is split between its neighbours such
that both its masses stay, which can only raise delta. What transforms round,
and what wraps around the grid, is bounded and added.

>>> import numpy as np
>>> from rdefense.certify.cells import cells
>>> image = np.linspace(0, 1, 49, dtype=np.float32).reshape(1, 7, 7, 1)
>>> found = cells(image, np.array([[0.0], [1.0]]), 0.15, 0.05)
>>> float(least_event(found, np.array([[0.99]]))[0, 0].round(2))
0.83

References:
  Zhu, Dong, Wang, Optimal accounting of differential privacy via
  characteristic function, 2021, https://arxiv.org/abs/2106.08567; Doroshenko,
  Ghazi, Kamath, Kumar, Manurangsi, Connect the dots: tighter discrete
  approximations of privacy loss distributions, 2022,
  https://arxiv.org/abs/2207.04380 (the splitting).
"""

from typing import NamedTuple

import numpy as np

from rdefense.certify.cells import Cells
from rdefense.certify.trade_offs import Pairs, sides

__all__ = ['least_event']

_NUM_BINS = 2**13
_MAX_STEPS = 5000  # of the dynamic program, pixels of an image
_AT_ONCE = 32  # images, against memory
_WIDTHS = 4  # of grids, from one to twice as wide
_USEFUL = 25.0  # losses l, from minus this to this
_SANE = 600.0  # losses whose exponentials are normal numbers
_TILTS = np.geomspace(2, 600, 40)  # of Chernoff's bound, at half a window
_UNIT = 2.0**-52


class _Losses(NamedTuple):
  """Distributions of privacy losses on a grid, one a row."""

  mass: np.ndarray  # [R, bins], float64: from loss -window / 2 upwards
  endless: np.ndarray  # [R], mass of an infinite loss, and what is in doubt
  window: float


class _Transforms(NamedTuple):
  """What sums of losses need of each row, computed once."""

  spectra: np.ndarray  # [R, bins / 2 + 1]: logarithms, loss 0 first
  moments: np.ndarray  # [2, R, tilts]: of exp(t loss), exp(-t loss), likewise
  finite: np.ndarray  # [R]: logarithms of the mass that is not endless


class _Kinds(NamedTuple):
  """Pixel values of some images, one a row."""

  likeliest: np.ndarray  # [V], mass of the likeliest cell
  at_once: np.ndarray  # [V], bool: convolved by Fourier transform
  strong: Pairs
  weak: Pairs
  hull: Pairs


class _Atoms(NamedTuple):
  """The few masses of one pixel value."""

  places: np.ndarray  # in steps of the grid
  masses: np.ndarray
  endless: float


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
  transforms = _transforms(_on_grid(_rows(kinds.hull, at_once), window))
  slowly = np.flatnonzero(~at_once)
  slowly = slowly[np.argsort(kinds.likeliest[slowly], kind='stable')]
  options = [
    (
      v,
      [_atoms(_rows(side, [v]), window) for side in (kinds.strong, kinds.weak)],
    )
    for v in slowly
  ]
  useful = np.abs(_grid(window)) <= _USEFUL
  slopes = np.exp(-_grid(window)[useful])
  found = np.zeros(shares.shape)
  for begin in range(0, len(found), _AT_ONCE):
    some = counts[begin : begin + _AT_ONCE]
    deltas = _deltas(_composed(some[:, at_once], transforms, window))
    for image, delta in enumerate(deltas, begin):
      for value, pairs in options:
        for _ in range(int(counts[image, value])):
          delta = np.maximum(*(_convolved(delta, pair) for pair in pairs))
      delta = delta[useful] * (1 + 1e-10) + 1e-12  # float64 sums of positives
      gain = slopes * (shares[image][:, None] - delta)
      found[image] = np.maximum(gain.max(-1), 0.0)
  return found


def _rows(pairs: Pairs, chosen) -> Pairs:
  return Pairs(*(masses[chosen] for masses in pairs))


def _grid(window: float) -> np.ndarray:
  return (np.arange(_NUM_BINS) - _NUM_BINS // 2) * (window / _NUM_BINS)


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


def _on_grid(pairs: Pairs, window: float) -> _Losses:
  """Losses of pairs, split between the neighbours on the grid.

  A mass p at loss a + r, between a and a + h, becomes p expm1(-r) / expm1(-h)
  at a + h and the rest at a: both laws keep their masses.
  """
  step = window / _NUM_BINS
  p, q = pairs
  endless = (p > 0) & (q == 0)
  finite = np.where(endless, 0.0, p)
  with np.errstate(divide='ignore', invalid='ignore'):
    loss = np.where(finite > 0, np.log(finite) - np.log(q), 0.0)
  place = np.floor(loss / step).astype(int)
  rest = np.clip(loss - place * step, 0.0, step)
  above = finite * np.expm1(-rest) / np.expm1(-step)
  mass = np.zeros((len(p), _NUM_BINS))
  row = np.arange(len(p))[:, None]
  np.add.at(mass, (row, place + _NUM_BINS // 2), finite - above)
  np.add.at(mass, (row, place + _NUM_BINS // 2 + 1), above)
  return _Losses(mass, np.where(endless, p, 0.0).sum(-1), window)


def _atoms(pairs: Pairs, window: float) -> _Atoms:
  rows = _on_grid(pairs, window)
  (places,) = np.nonzero(rows.mass[0])
  masses = rows.mass[0, places]
  return _Atoms(places - _NUM_BINS // 2, masses, float(rows.endless[0]))


def _convolved(delta: np.ndarray, atoms: _Atoms) -> np.ndarray:
  """delta with one pixel more; beyond the grid it is bounded by its ends."""
  size, reach = len(delta), np.abs(atoms.places).max(initial=1)
  longer = np.concatenate([np.ones(reach), delta, np.full(reach, delta[-1])])
  total = np.full(size, atoms.endless)
  for place, mass in zip(atoms.places, atoms.masses, strict=True):
    total += mass * longer[reach - place : reach - place + size]
  return np.minimum(total, 1.0)


def _transforms(losses: _Losses) -> _Transforms:
  centred = np.roll(losses.mass, -(_NUM_BINS // 2), -1)
  exponent = np.outer(_grid(losses.window), _TILTS / (losses.window / 2))
  with np.errstate(divide='ignore'):
    moments = [np.log(losses.mass @ np.exp(s * exponent)) for s in (1, -1)]
  finite = np.log1p(-np.minimum(losses.endless, 1 - _UNIT))
  spectra = np.log(np.fft.rfft(centred) + 1e-300)
  return _Transforms(spectra, np.stack(moments), finite)


def _composed(counts: np.ndarray, rows: _Transforms, window: float) -> _Losses:
  """The sum of independent losses, `counts[n, r]` of row r: N rows."""
  spectrum = np.exp(counts @ rows.spectra)
  mass = np.roll(np.fft.irfft(spectrum, _NUM_BINS), _NUM_BINS // 2, -1)
  # What each entry of the spectrum may be off by; by Parseval the sum of the
  # masses' errors is at most sqrt(bins) times their root mean square.
  number = counts.sum(-1, keepdims=True)
  relative = 8 * _UNIT * (counts @ (np.abs(rows.spectra) + 4))
  rough = np.abs(spectrum) * relative + 32 * _UNIT * (number + 2)
  rounding = np.sqrt(_NUM_BINS * (rough**2).mean(-1))
  summing = 4 * _UNIT * (_NUM_BINS + 4 * number[:, 0])
  doubt = rounding + summing + _wrapped(counts, rows)
  endless = 1 - np.exp(counts @ rows.finite) + doubt
  return _Losses(np.maximum(mass, 0.0), np.minimum(endless, 1.0), window)


def _wrapped(counts: np.ndarray, rows: _Transforms) -> np.ndarray:
  """Chernoff's bound on the mass of sums that lie outside the grid."""
  with np.errstate(invalid='ignore'):
    bounds = counts @ rows.moments - _TILTS
  return np.exp(np.minimum(np.nan_to_num(bounds, nan=0.0), 0)).min(-1).sum(0)


def _deltas(losses: _Losses) -> np.ndarray:
  """sum max(0, P - e^l Q) at every l of the grid: `[R, bins]`.

  The sum is over the losses above l. Where e^l leaves float64 it is bounded by
  that of P alone, and what Q has there counts for nothing elsewhere.
  """
  sane = np.abs(_grid(losses.window)) < _SANE
  weight = np.exp(np.where(sane, _grid(losses.window), 0.0))
  scaled = np.where(sane, losses.mass / weight, 0.0)
  after, later = (
    np.cumsum(each[:, ::-1], -1)[:, ::-1] - each
    for each in (losses.mass, scaled)
  )
  above = np.where(sane, np.maximum(after - weight * later, 0.0), after)
  return np.minimum(above + losses.endless[:, None], 1.0)

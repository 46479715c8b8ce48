"""Privacy losses on a grid: their sums, and how far they tell two laws apart.

The loss of an outcome is log(P / Q). On a grid, each is split between its
neighbours such that both its masses stay, which can only raise

  delta(l) = sum max(0, P - e^l Q).

Independent losses add up: `composed` convolves many of few kinds at once, by
Fourier transform, `convolved` one with a curve of deltas,

  delta(l) = sum_o P_o delta'(l - log(P_o / Q_o)).

>>> import numpy as np
>>> fair, loaded = np.array([[0.5, 0.5]]), np.array([[0.6, 0.4]])
>>> coin = on_grid(Pairs(fair, loaded), window=8.0)
>>> ten = composed(np.array([[10]]), transforms(coin), 8.0)
>>> at_zero = len(points(8.0)) // 2
>>> float(deltas(ten)[0, at_zero].round(3))  # total variation of ten throws
0.256

References:
  Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, Connect the dots: tighter
  discrete approximations of privacy loss distributions, 2022,
  https://arxiv.org/abs/2207.04380.
"""

from typing import NamedTuple

import numpy as np

from rdefense.certify.trade_offs import Pairs

__all__ = [
  'Atoms',
  'Losses',
  'Transforms',
  'atoms',
  'composed',
  'convolved',
  'deltas',
  'on_grid',
  'points',
  'transforms',
]

_NUM_BINS = 2**13
_SANE = 600.0  # losses whose exponentials are normal numbers
_TILTS = np.geomspace(2, 600, 40)  # of Chernoff's bound, at half a window
_UNIT = 2.0**-52


class Losses(NamedTuple):
  """Distributions of privacy losses on a grid, one a row."""

  mass: np.ndarray  # [R, bins], float64: from loss -window / 2 upwards
  endless: np.ndarray  # [R], mass of an infinite loss, and what is in doubt
  window: float


class Transforms(NamedTuple):
  """What sums of losses need of each row, computed once."""

  spectra: np.ndarray  # [R, bins / 2 + 1]: logarithms, loss 0 first
  moments: np.ndarray  # [2, R, tilts]: of exp(t loss), exp(-t loss), likewise
  finite: np.ndarray  # [R]: logarithms of the mass that is not endless


class Atoms(NamedTuple):
  """The few masses of one pixel value."""

  places: np.ndarray  # in steps of the grid
  masses: np.ndarray
  endless: float


def points(window: float) -> np.ndarray:
  """The losses of a grid: `[bins]`, from -window / 2 upwards."""
  return (np.arange(_NUM_BINS) - _NUM_BINS // 2) * (window / _NUM_BINS)


def on_grid(pairs: Pairs, window: float) -> Losses:
  """Losses of pairs, split between the neighbours on the grid.

  A mass p at loss a + r, between a and a + h, becomes p expm1(-r) / expm1(-h)
  at a + h and the rest at a: both laws keep their masses. Losses beyond the
  grid are raised, to its lower end or without end, as that bounds delta.

  Args:
    pairs: of R rows.
    window: width of the grid.
  """
  step = window / _NUM_BINS
  p, q = pairs
  with np.errstate(divide='ignore', invalid='ignore'):
    loss = np.where(p > 0, np.log(p) - np.log(q), 0.0)
  least, most = -(_NUM_BINS // 2), _NUM_BINS // 2 - 2
  endless = loss >= most * step
  finite = np.where(endless, 0.0, p)
  loss = np.maximum(np.where(endless, 0.0, loss), least * step)
  place = np.clip(np.floor(loss / step).astype(int), least, most)
  rest = np.clip(loss - place * step, 0.0, step)
  above = finite * np.expm1(-rest) / np.expm1(-step)
  mass = np.zeros((len(p), _NUM_BINS))
  row = np.arange(len(p))[:, None]
  np.add.at(mass, (row, place + _NUM_BINS // 2), finite - above)
  np.add.at(mass, (row, place + _NUM_BINS // 2 + 1), above)
  return Losses(mass, np.where(endless, p, 0.0).sum(-1), window)


def atoms(pairs: Pairs, window: float) -> Atoms:
  """The losses of one pair, those alone that have a mass."""
  rows = on_grid(pairs, window)
  (places,) = np.nonzero(rows.mass[0])
  masses = rows.mass[0, places]
  return Atoms(places - _NUM_BINS // 2, masses, float(rows.endless[0]))


def convolved(delta: np.ndarray, atoms: Atoms) -> np.ndarray:
  """delta with one pixel more; beyond the grid it is bounded by its ends."""
  size, reach = len(delta), np.abs(atoms.places).max(initial=1)
  longer = np.concatenate([np.ones(reach), delta, np.full(reach, delta[-1])])
  total = np.full(size, atoms.endless)
  for place, mass in zip(atoms.places, atoms.masses, strict=True):
    total += mass * longer[reach - place : reach - place + size]
  return np.minimum(total, 1.0)


def transforms(losses: Losses) -> Transforms:
  """What `composed` takes of each row."""
  centred = np.roll(losses.mass, -(_NUM_BINS // 2), -1)
  exponent = np.outer(points(losses.window), _TILTS / (losses.window / 2))
  with np.errstate(divide='ignore'):
    moments = [np.log(losses.mass @ np.exp(s * exponent)) for s in (1, -1)]
  finite = np.log1p(-np.minimum(losses.endless, 1 - _UNIT))
  spectra = np.log(np.fft.rfft(centred) + 1e-300)
  return Transforms(spectra, np.stack(moments), finite)


def composed(counts: np.ndarray, rows: Transforms, window: float) -> Losses:
  """The sum of independent losses, `counts[n, r]` of row r: N rows.

  What transforms round, and what wraps around the grid, is bounded and becomes
  part of the endless mass.
  """
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
  return Losses(np.maximum(mass, 0.0), np.minimum(endless, 1.0), window)


def _wrapped(counts: np.ndarray, rows: Transforms) -> np.ndarray:
  """Chernoff's bound on the mass of sums that lie outside the grid."""
  with np.errstate(invalid='ignore'):
    bounds = counts @ rows.moments - _TILTS
  return np.exp(np.minimum(np.nan_to_num(bounds, nan=0.0), 0)).min(-1).sum(0)


def deltas(losses: Losses) -> np.ndarray:
  """sum max(0, P - e^l Q) at every l of the grid: `[R, bins]`.

  The sum is over the losses above l. Where e^l leaves float64 it is bounded by
  that of P alone, and what Q has there counts for nothing elsewhere.
  """
  sane = np.abs(points(losses.window)) < _SANE
  weight = np.exp(np.where(sane, points(losses.window), 0.0))
  scaled = np.where(sane, losses.mass / weight, 0.0)
  after, later = (
    np.cumsum(each[:, ::-1], -1)[:, ::-1] - each
    for each in (losses.mass, scaled)
  )
  above = np.where(sane, np.maximum(after - weight * later, 0.0), after)
  return np.minimum(above + losses.endless[:, None], 1.0)

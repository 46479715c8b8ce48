"""How many codes each 8-bit pixel can reach, exactly, for all pixels at once.

T gives a pixel its nearest code in l_inf over channels. Where codes and pixels
are whole levels of 255, who is nearest to v is decided by inequalities

  v_a >= h / 2,  +-v_a +- v_b >= n,  h and n whole numbers,

and so is whether v lies in a ball of radius t. The least t at which a code is
reached is therefore a whole number of half levels, and so are the channels of
some v at which it is: points half a level apart see every code that any real
pixel sees, and of a radius only the whole half levels count.

A code may be nearest only together with others: in l_inf two codes can be
equally near all over a region. `RULES` says what counts:

  tied    c is among the nearest of some v in the ball; never one too few
  given   T(v) = c at some v of the lattice, ties to the lowest index as in
          `nearest_code`: every code counted has a witness. In colour a finer
          lattice may show more

Cells of codes are marked on the lattice and grown by the radius, channel by
channel.

>>> codes = np.array([[0], [253]]) / 255
>>> table = num_reached(codes, 0.3)  # 76.5 levels about the middle, 126.5
>>> np.flatnonzero(table == 2)[[0, -1]].tolist()
[50, 203]

References:
  PROTOCOL A12, A13 and traps 10, 11. Systems of such inequalities have
  half-integral vertices: Hochbaum, Megiddo, Naor, Tamir, Tight bounds and
  2-approximation algorithms for integer programs with two variables per
  inequality, Mathematical Programming 62, 1993.
"""

import functools
import math

import numpy as np

from rdefense import checks

__all__ = ['RULES', 'nearer_than', 'num_reached', 'whole_levels']

RULES = ('tied', 'given')
_BLOCK = 16  # lattice points a side; cells are bounded in whole blocks
_FAR = np.int16(10_000)
_TOLERANCE = 1e-4  # levels; float32 levels err by 255 * 2**-24


def num_reached(
  codes, eps: float, rule: str = 'tied', bytes_only: bool = False
) -> np.ndarray:
  """For each 8-bit pixel, how many codes pixels within eps of it can be given.

  Args:
    codes: `[k, C]` in [0, 1], whole levels of 255, C from 1 to 3.
    eps: radius of the l_inf ball in [0, 1] pixel units, its end included; the
      ball is cut to [0, 1].
    rule: one of `RULES`.
    bytes_only: the attacker submits 8-bit images.

  Returns:
    Counts `[256] * C`, uint16, by the pixel's levels. In colour some 0.4 GB
    are needed on the way.

  Raises:
    ValueError: on codes that are no codebook or no whole levels, eps outside
      [0, 1], an unknown rule.
  """
  levels = whole_levels(codes)
  checks.check_length('eps', eps)
  checks.check_choice('rule', rule, RULES)
  num_channels, unit = levels.shape[1], 1 if bytes_only else 2
  reach = math.floor(unit * 255 * float(eps) + _TOLERANCE)
  side, places = 255 * unit + 1, unit * levels
  boxes = _around(places, side)
  nearest = np.full((side,) * num_channels, _FAR)
  for place, box in zip(places, boxes, strict=True):
    np.minimum(nearest[box], _away(place, box), out=nearest[box])
  counts = np.zeros((256,) * num_channels, np.uint16)
  for place, box in zip(places, boxes, strict=True):
    cell = _away(place, box) == nearest[box]
    if rule == 'given':
      nearest[box][cell] = -1  # so that no later code has it
    begins = [span.start for span in box]
    for axis in range(num_channels):
      cell, begins[axis] = _grown(cell, axis, begins[axis], reach, unit)
    inside = tuple(
      slice(begin, begin + n) for begin, n in zip(begins, cell.shape)
    )
    counts[inside] += cell
  return counts


def nearer_than(eps: float) -> float:
  """The radius whose closed ball sees what the open one of radius eps does.

  At the end of the closed ball levels may tie that are apart all over the open
  one.

  Args:
    eps: in [0, 1] pixel units, above 0.

  >>> 255 * nearer_than(8 / 255), 255 * nearer_than(0.3)
  (7.5, 76.0)
  """
  return max(0, math.ceil(510 * float(eps) - _TOLERANCE) - 1) / 510


def whole_levels(codes) -> np.ndarray:
  """Codes in [0, 1] as whole levels of 255, `[k, C]` int64.

  Raises:
    ValueError: on codes that are no codebook, or not of 8-bit pixels of 1 to 3
      channels.
  """
  codes = np.asarray(codes, np.float64)
  checks.check_codes(codes)
  levels = np.rint(255 * codes)
  off = float(np.abs(255 * codes - levels).max())
  if off > _TOLERANCE or codes.shape[1] > 3:
    raise ValueError(
      f'codes {codes.shape} are up to {off:.2g} levels of 255 from whole ones; '
      'expected 8-bit pixels of 1 to 3 channels: snap means to pixels first.'
    )
  levels = levels.astype(np.int64)
  checks.check_codes(levels / 255)
  return levels


def _across(parts) -> np.ndarray:
  """max over channels a of parts[a][i_a], for all (i_1, ..., i_C)."""
  return functools.reduce(np.maximum, np.ix_(*parts))


def _away(place: np.ndarray, box) -> np.ndarray:
  """Distance of the lattice points in a box to one of them."""
  return _across(
    [
      np.abs(np.arange(span.start, span.stop, dtype=np.int16) - np.int16(v))
      for v, span in zip(place, box, strict=True)
    ]
  )


def _around(places: np.ndarray, side: int) -> list[tuple[slice, ...]]:
  """For each code a box of the lattice that holds its cell."""
  first = np.arange(0, side, _BLOCK)
  last = np.minimum(first + _BLOCK, side) - 1
  middle = (first + last) // 2
  most = functools.reduce(
    np.minimum, (_across([np.abs(middle - v) for v in p]) for p in places)
  )
  most = most + _BLOCK // 2  # of the distance to the nearest code in a block
  boxes = []
  for place in places:
    least = _across(
      [np.maximum(np.maximum(first - v, v - last), 0) for v in place]
    )
    hit = [np.flatnonzero(_flat(least <= most, a)) for a in range(least.ndim)]
    boxes.append(tuple(slice(first[h[0]], last[h[-1]] + 1) for h in hit))
  return boxes


def _flat(mask: np.ndarray, axis: int) -> np.ndarray:
  others = tuple(a for a in range(mask.ndim) if a != axis)
  return np.asarray(mask.any(others))


def _grown(
  cell: np.ndarray, axis: int, begin: int, reach: int, unit: int
) -> tuple[np.ndarray, int]:
  """Which levels of one channel lie within reach of a cell.

  Args:
    cell: a mask; along `axis` it is on the lattice, from `begin` on.
    axis, begin, reach: in lattice points.
    unit: lattice points a level.

  Returns:
    The mask with whole levels along `axis`, and the first of those.
  """
  cell = np.moveaxis(cell, axis, 0)
  hit = np.flatnonzero(_flat(cell, 0))  # the code itself at least
  cell, begin = cell[hit[0] : hit[-1] + 1], begin + int(hit[0])
  end = begin + len(cell) - 1
  low = max(0, -((reach - begin) // unit))
  high = min(255, (end + reach) // unit)
  # wide[i] is the point unit * low - reach + i.
  wide = np.zeros((unit * (high - low) + 2 * reach + 1, *cell.shape[1:]), bool)
  offset = begin - (unit * low - reach)
  cell = cell[max(0, -offset) :][: len(wide) - max(0, offset)]
  wide[max(0, offset) :][: len(cell)] = cell
  width = 1
  while width < 2 * reach + 1:
    step = min(width, 2 * reach + 1 - width)
    wide, width = wide[:-step] | wide[step:], width + step
  return np.moveaxis(wide[::unit], 0, axis), low

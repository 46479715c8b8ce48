"""How many pixels of a dataset lie near each colour: paper A's Figure 6.

  size(v) = #{pixels p : ||p - v||_inf <= radius},  with multiplicity,

for all v of the cube of 8-bit colours: a sum over a box, taken channel by
channel from running sums. Codes that separate well need colours that come in
clusters, few neighbourhoods that are large and nothing between them.

>>> from rdefense.defenses.colors import colors_from_histogram
>>> colors = colors_from_histogram(np.uint8([[10], [12], [19]]), [5, 1, 2])
>>> cube = sizes(colors, radius=2)
>>> cube[[8, 9, 10, 14, 15, 17]].tolist()
[5, 5, 6, 1, 0, 2]
>>> largest(cube, colors)
Peak(size=6, color=(10,), ties=2)

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, section 6 and Figure 6,
  in multiplicity and radius 8 as PROTOCOL A13 infers them.
"""

from typing import NamedTuple

import jax
import numpy as np

from rdefense import checks
from rdefense.defenses.colors import Colors, pack
from rdefense.types import Key

__all__ = ['Peak', 'histogram', 'largest', 'of_colors', 'sample', 'sizes']

_LEVELS = 256


class Peak(NamedTuple):
  """The largest neighbourhood, and the first colour it is around."""

  size: int  # pixels
  color: tuple[int, ...]  # levels
  ties: int  # colours with as many


def sizes(colors: Colors, radius: int) -> np.ndarray:
  """Pixels within l_inf `radius` of each colour of the cube, whether it occurs.

  Args:
    colors: the dataset's pixels, of C channels.
    radius: in levels of 255, at least 0, inclusive.

  Returns:
    `[256] * C`, int32, or int64 where the pixels are too many for that.

  Raises:
    ValueError: on a radius that is negative or no whole number.
  """
  if radius != int(radius) or radius < 0:
    raise ValueError(
      f'radius={radius} must be a whole number of levels of 255, at least 0: '
      'was it given in [0, 1] pixel units?'
    )
  reach = min(int(radius), _LEVELS - 1)
  num_channels = colors.values.shape[1]
  few = colors.counts.sum() <= np.iinfo(np.int32).max
  cube = np.zeros(_LEVELS**num_channels, np.int32 if few else np.int64)
  cube[pack(colors.values)] = colors.counts
  cube = cube.reshape((_LEVELS,) * num_channels)
  for axis in range(num_channels):
    running = np.moveaxis(cube, axis, 0).cumsum(0, dtype=cube.dtype)
    box = np.empty_like(running)
    box[: _LEVELS - reach] = running[reach:]
    box[_LEVELS - reach :] = running[-1]
    box[reach + 1 :] -= running[: _LEVELS - 1 - reach]
    cube = np.moveaxis(box, 0, axis)
  return np.ascontiguousarray(cube)


def of_colors(cube: np.ndarray, colors: Colors) -> np.ndarray:
  """The size at each of the colours, `[n]`."""
  return cube.reshape(-1)[pack(colors.values)]


def largest(cube: np.ndarray, colors: Colors | None = None) -> Peak:
  """The largest neighbourhood.

  Args:
    cube: of `sizes`.
    colors: look at these only; None for all colours of the cube.
  """
  seen = cube.reshape(-1) if colors is None else of_colors(cube, colors)
  first, size = int(seen.argmax()), int(seen.max())
  where = (
    np.unravel_index(first, cube.shape)
    if colors is None
    else colors.values[first]
  )
  return Peak(size, tuple(map(int, where)), int((seen == size).sum()))


def sample(key: Key, colors: Colors, num_pixels: int) -> np.ndarray:
  """Pixels drawn with replacement, each as likely as any other.

  Args:
    key: consumed.
    colors: to draw from.
    num_pixels: at least 1.

  Returns:
    Rows of `colors.values`, `[num_pixels]`.

  Raises:
    ValueError: on `num_pixels` below 1, or more than 2**31 - 1 pixels to draw
      from.
  """
  checks.check_whole('num_pixels', num_pixels, 1)
  ends = np.cumsum(colors.counts)
  if ends[-1] > np.iinfo(np.int32).max:
    raise ValueError(
      f'{ends[-1]:,} pixels are too many to draw from: pass a part of them.'
    )
  place = jax.random.randint(key, (num_pixels,), 0, int(ends[-1]))
  return np.searchsorted(ends, np.asarray(place), 'right')


def histogram(colors: Colors) -> np.ndarray:
  """How many pixels have each level, channel by channel: `[C, 256]` int64.

  >>> from rdefense.defenses.colors import colors_from_histogram
  >>> colors = colors_from_histogram(np.uint8([[1, 7], [1, 9]]), [5, 1])
  >>> histogram(colors)[:, [1, 7, 9]].tolist()
  [[6, 0, 0], [0, 5, 1]]
  """
  found = np.zeros((colors.values.shape[1], _LEVELS), np.int64)
  for counts, values in zip(found, colors.values.T, strict=True):
    np.add.at(counts, values, colors.counts)
  return found

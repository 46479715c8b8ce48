"""Weighted distinct pixels: what codebooks are fitted on.

A training set is a multiset of 8-bit pixels. It is counted once,

  values v_1 < v_2 < ... (lexicographic),  counts n_i = #{pixels equal to v_i},

and every fitter works on those instead of on pixels.

>>> colors = colors_from_images(np.uint8([5, 9, 5]).reshape(1, 1, 3, 1))
>>> colors.values.ravel().tolist(), colors.counts.tolist()
([5, 9], [2, 1])
"""

from typing import NamedTuple

import numpy as np

__all__ = [
  'Colors',
  'coerce_colors',
  'colors_from_histogram',
  'colors_from_images',
  'pack',
  'pixel_units',
]


class Colors(NamedTuple):
  """Distinct pixels with their counts, in lexicographic order."""

  values: np.ndarray  # [n, C] uint8
  counts: np.ndarray  # [n] int64, at least 1
  first: np.ndarray  # [n] int64, place of the first such pixel; breaks ties


def colors_from_images(images: np.ndarray) -> Colors:
  """Counts the distinct pixels of a set of images.

  Args:
    images: `[N, H, W, C]` uint8, C from 1 to 3.

  Returns:
    The colours; `first` is the place in raster order of image 0, 1, ...

  Raises:
    ValueError: where `images` is not a non-empty uint8 batch.

  >>> colors_from_images(np.array([7, 3, 7], np.uint8).reshape(1, 1, 3, 1))
  Colors(values=array([[3],
         [7]], dtype=uint8), counts=array([1, 2]), first=array([1, 0]))
  """
  images = np.asarray(images)
  if images.dtype != np.uint8:
    raise ValueError(
      f'images have dtype {images.dtype}: codebooks count 8-bit pixels: pass '
      'the uint8 images'
    )
  if images.ndim != 4 or images.size == 0:
    raise ValueError(
      f'images have shape {images.shape}, expected a non-empty [N, H, W, C]: '
      'add the batch or channel axis that is missing'
    )
  channels = images.shape[-1]
  _check_channels(channels)
  pixels = images.reshape(-1, channels)
  if len(pixels) < 256**channels:
    packed, first, counts = np.unique(
      pack(pixels), return_index=True, return_counts=True
    )
  else:
    packed, first, counts = _histogram(pixels)
  return Colors(_unpack(packed, channels), counts, first)


def colors_from_histogram(values: np.ndarray, counts: np.ndarray) -> Colors:
  """Colours from distinct values and how often each occurs.

  Values may come in any order and repeat; those of count 0 are dropped. A
  histogram has no pixel order, so `first` is the lexicographic order.

  Args:
    values: `[n, C]` uint8, C from 1 to 3.
    counts: `[n]` integers, at least 0.

  Returns:
    The colours.

  Raises:
    ValueError: for other dtypes or shapes, negative counts, or no pixel.

  >>> colors_from_histogram(np.uint8([[9], [4], [9]]), [1, 5, 2]).counts
  array([5, 3])
  """
  values, counts = np.asarray(values), np.asarray(counts)
  if values.dtype != np.uint8 or values.ndim != 2:
    raise ValueError(
      f'values are {values.dtype} of shape {values.shape}, expected uint8 '
      '[n, C]: pass 8-bit colours, one a row'
    )
  _check_channels(values.shape[1])
  if counts.shape != values.shape[:1] or counts.dtype.kind not in 'iu':
    raise ValueError(
      f'counts are {counts.dtype} of shape {counts.shape}, expected '
      f'{len(values)} integers: one a row of values'
    )
  if (counts < 0).any() or not (counts > 0).any():
    raise ValueError('counts are negative or all 0: a histogram holds pixels')
  values, counts = values[counts > 0], counts[counts > 0]
  packed, rows = np.unique(pack(values), return_inverse=True)
  total = np.zeros(len(packed), np.int64)
  np.add.at(total, rows, counts.astype(np.int64))
  return Colors(_unpack(packed, values.shape[1]), total, np.arange(len(packed)))


def coerce_colors(colors: Colors | np.ndarray) -> Colors:
  """`Colors` as they are, images counted."""
  return colors if isinstance(colors, Colors) else colors_from_images(colors)


def pixel_units(levels: np.ndarray) -> np.ndarray:
  """Grey levels in [0, 255] as float32 in [0, 1], as loaders scale pixels."""
  return np.asarray(levels, np.float32) * np.float32(1 / 255)


def pack(values: np.ndarray) -> np.ndarray:
  """[n, C] uint8 as one integer each, in lexicographic order."""
  packed = values[:, 0].astype(np.int64)
  for channel in values.T[1:]:
    packed = (packed << 8) | channel
  return packed


def _check_channels(channels: int) -> None:
  if not 1 <= channels <= 3:
    raise ValueError(
      f'pixels have {channels} channels, expected 1 to 3: the channel axis '
      'comes last'
    )


def _unpack(packed: np.ndarray, channels: int) -> np.ndarray:
  shifts = 8 * np.arange(channels)[::-1]
  return (packed[:, None] >> shifts & 255).astype(np.uint8)


def _histogram(
  pixels: np.ndarray, chunk: int = 2**22
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """np.unique's packed values, first places and counts, for many pixels."""
  size = 256 ** pixels.shape[1]
  counts, first = np.zeros(size, np.int64), np.zeros(size, np.int64)
  # Backwards: of repeated indices NumPy keeps the value assigned last.
  for start in reversed(range(0, len(pixels), chunk)):
    packed = pack(pixels[start : start + chunk])
    counts += np.bincount(packed, minlength=size)
    first[packed[::-1]] = np.arange(start, start + len(packed))[::-1]
  packed = np.flatnonzero(counts)
  return packed, first[packed], counts[packed]

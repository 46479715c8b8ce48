"""Codebooks: the few pixel values, or codes, that stand for all the others.

A training set is a multiset of 8-bit pixels. It is counted once into weighted
distinct colours, and every fitter works on those:

  density   c_i = argmax_v h(v); then every pixel with ||p - c_i||_inf <= r goes
  grid      {t / (levels - 1)}^channels, whatever the data

`rdefense.defenses.medoids` holds the fitters whose codes minimise a sum of
distances. All of it runs on the host, in NumPy.

>>> images = np.array([0, 0, 0, 254, 253, 253], np.uint8).reshape(1, 2, 3, 1)
>>> book = density(images, num_codes=2, radius=0.3)
>>> np.rint(255 * book.codes).ravel().tolist(), book.counts.tolist()
([0.0, 253.0], [3, 2])

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, Algorithm 1.
"""

import importlib.metadata
import json
import os
from typing import Any, NamedTuple
import zipfile
import zlib

import numpy as np

__all__ = [
  'Codebook',
  'Colors',
  'check_codes',
  'colors_from_histogram',
  'colors_from_images',
  'density',
  'grid',
  'load',
  'save',
]

_MAX_CODES = 2**24
# Below one level, above the rounding of a float32 level (255 * 2**-24).
_LEVEL_TOLERANCE = 1e-4


class Colors(NamedTuple):
  """Distinct pixels with their counts, in lexicographic order."""

  values: np.ndarray  # [n, C] uint8
  counts: np.ndarray  # [n] int64, at least 1
  first: np.ndarray  # [n] int64, place of the first such pixel; breaks ties


class Codebook(NamedTuple):
  """Codes in [0, 1], how many pixels each has, and where they came from."""

  codes: np.ndarray  # [k, C] float32
  counts: np.ndarray  # [k] int64
  provenance: dict[str, Any]  # what JSON can hold


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
      _pack(pixels), return_index=True, return_counts=True
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
  packed, rows = np.unique(_pack(values), return_inverse=True)
  total = np.zeros(len(packed), np.int64)
  np.add.at(total, rows, counts.astype(np.int64))
  return Colors(_unpack(packed, values.shape[1]), total, np.arange(len(packed)))


def density(
  colors: Colors | np.ndarray,
  num_codes: int,
  radius: float,
  kernel: str = 'identity',
  bandwidth: float | None = None,
) -> Codebook:
  """Codes at the densest pixels, each clearing its neighbourhood.

  With P the multiset of pixels not yet removed, repeats
    c = argmax over v in P of h(v),  h(v) = sum over p in P of rho(p - v),
    P <- {p in P : ||p - c||_inf > radius}.
  The l_inf is over channels, the radius inclusive and compared in whole grey
  levels. Ties go to the colour that occurs first. Stops early when no pixel is
  left. Codes are pixels that are left, also where a smooth h would peak between
  pixels: such a code might remove nothing and come out twice.

  Args:
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    num_codes: most codes to pick, at least 2.
    radius: in [0, 1] pixel units, above 0, e.g. 16/255.
    kernel: 'identity' (h is the count: the paper), 'box' (rho is 1 where the
      l_inf is at most `bandwidth`, else 0) or 'gaussian' (rho =
      exp(-||p - v||_2^2 / (2 bandwidth^2))).
    bandwidth: in [0, 1] pixel units, above 0; for 'box' and 'gaussian'.

  Returns:
    The codebook, in the order of picking; `counts` are the pixels equal to the
    code, and `provenance['densities']` the h of each.

  Raises:
    ValueError: for an argument out of range or an unknown kernel.

  >>> images = np.uint8([10, 10, 12, 200, 200, 200]).reshape(1, 1, 6, 1)
  >>> density(images, 3, radius=2 / 255).counts
  array([3, 2])

  References:
    Chen et al., 2019, https://arxiv.org/abs/1805.07816, Algorithm 1.
  """
  colors = coerce_colors(colors)
  check_num_codes(num_codes)
  if not 0 < radius <= 1:
    raise ValueError(
      f'radius={radius}, expected above 0 and at most 1: divide grey levels by '
      '255'
    )
  smooth = _kernel_matrix(kernel, bandwidth)
  reach = int(255 * float(radius) + _LEVEL_TOLERANCE)
  channels = colors.values.shape[1]
  packed = _pack(colors.values)
  # One cell a colour of the cube, so that a neighbourhood is a slice.
  left = np.zeros(256**channels)
  left[packed] = colors.counts
  left = left.reshape((256,) * channels)
  scores = np.where(left > 0, _blur(left, smooth), -np.inf)
  # Maxima by first channel: a round re-reads only the planes that changed.
  planes = scores.reshape(256, -1)
  tops = planes.max(1)
  picked: list[int] = []
  densities: list[float] = []
  while len(picked) < num_codes and (peak := tops.max()) > -np.inf:
    rows = np.concatenate(
      [
        np.searchsorted(
          packed, i * planes.shape[1] + np.flatnonzero(planes[i] == peak)
        )
        for i in np.flatnonzero(tops == peak)
      ]
    )
    row = rows[colors.first[rows].argmin()]
    picked.append(row)
    densities.append(float(peak))
    box = tuple(
      slice(max(v - reach, 0), v + reach + 1)
      for v in colors.values[row].tolist()
    )
    if smooth is not None:
      scores -= _blur(left[box], smooth, box)
    left[box] = 0
    scores[box] = -np.inf
    changed = box[0] if smooth is None else slice(None)
    tops[changed] = planes[changed].max(1)
  return Codebook(
    pixel_units(colors.values[picked]),
    colors.counts[picked],
    make_provenance(
      'density',
      colors,
      num_codes=int(num_codes),
      radius=float(radius),
      kernel=kernel,
      bandwidth=None if bandwidth is None else float(bandwidth),
      densities=densities,
    ),
  )


def grid(levels: int, channels: int) -> Codebook:
  """Codes on the fixed grid {t / (levels - 1)}^channels.

  Args:
    levels: values a channel, from 2 to 256.
    channels: at least 1.

  Returns:
    The codebook of levels ** channels codes in lexicographic order, which no
    pixel was counted for: `counts` are 0.

  Raises:
    ValueError: for an argument out of range, or more than 2**24 codes.

  >>> grid(2, 3).codes[:3].tolist()
  [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
  """
  if not 2 <= levels <= 256:
    raise ValueError(
      f'levels={levels}, expected 2 to 256: an 8-bit channel has no more'
    )
  if channels < 1 or levels**channels > _MAX_CODES:
    raise ValueError(
      f'channels={channels} gives {levels}**{channels} codes, expected at '
      f'least 1 channel and at most {_MAX_CODES} codes'
    )
  axis = pixel_units(255 * np.arange(levels) / (levels - 1))
  codes = np.stack(np.meshgrid(*[axis] * channels, indexing='ij'), -1)
  codes = codes.reshape(-1, channels)
  return Codebook(
    codes,
    np.zeros(len(codes), np.int64),
    make_provenance('grid', None, levels=int(levels), channels=int(channels)),
  )


def check_codes(codes: np.ndarray) -> None:
  """Refuses what cannot serve as a codebook's codes.

  Args:
    codes: `[k, C]` numbers in [0, 1], all rows different.

  Raises:
    ValueError: for a wrong rank, no code, NaN, a value outside [0, 1], or a
      code that occurs twice.

  >>> check_codes(np.array([[0.0], [253.0]]))
  Traceback (most recent call last):
    ...
  ValueError: codes span [0.0, 253.0], expected [0, 1]: divide by 255
  """
  codes = np.asarray(codes)
  if codes.ndim != 2:
    raise ValueError(
      f'codes have shape {codes.shape}, expected [k, C]: one code a row'
    )
  if codes.size == 0:
    raise ValueError(
      f'codes have shape {codes.shape}: a codebook has at least one code'
    )
  if np.isnan(codes).any():
    raise ValueError(
      f'codes hold {np.isnan(codes).sum()} NaN: the fit that made them failed'
    )
  if codes.min() < 0 or codes.max() > 1:
    raise ValueError(
      f'codes span [{codes.min()}, {codes.max()}], expected [0, 1]: divide by '
      '255'
    )
  distinct = len(np.unique(codes, axis=0))
  if distinct < len(codes):
    raise ValueError(
      f'codes hold {len(codes)} rows but {distinct} distinct ones: drop the '
      'duplicates'
    )


def save(path: str | os.PathLike, codebook: Codebook) -> None:
  """Writes a codebook to one `.npz` file, whole or not at all.

  Args:
    path: the file; one that is there is replaced in a single rename.
    codebook: what to write; its provenance goes in as JSON text.

  Raises:
    ValueError: where `check_codes` refuses the codes.
  """
  check_codes(codebook.codes)
  path = os.fspath(path)
  partial = f'{path}.{os.getpid()}.partial'
  try:
    with open(partial, 'wb') as file:
      np.savez(
        file,
        codes=codebook.codes,
        counts=codebook.counts,
        provenance=np.array(json.dumps(codebook.provenance)),
      )
    os.replace(partial, path)
  except BaseException:
    if os.path.exists(partial):
      os.unlink(partial)
    raise


def load(path: str | os.PathLike) -> Codebook:
  """Reads a codebook that `save` wrote.

  Args:
    path: the `.npz` file.

  Returns:
    The codebook, with the arrays bit for bit.

  Raises:
    ValueError: where the file is missing, truncated or not a codebook.
  """
  path = os.fspath(path)
  try:
    # Opened here, because np.load leaves a file it cannot read open.
    with (
      open(path, 'rb') as stream,
      np.load(stream, allow_pickle=False) as file,
    ):
      codes, counts = file['codes'], file['counts']
      provenance = json.loads(str(file['provenance']))
    check_codes(codes)
    if codes.dtype != np.float32 or counts.shape != codes.shape[:1]:
      raise ValueError(
        f'codes are {codes.dtype} of shape {codes.shape} with counts of shape '
        f'{counts.shape}'
      )
  except FileNotFoundError as error:
    raise ValueError(f'path={path!r} is missing: fit and save first') from error
  except (
    EOFError,
    KeyError,
    OSError,
    TypeError,  # an .npy file, which np.load gives as a bare array
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise ValueError(
      f'path={path!r} is not a whole codebook file ({error}): write it with '
      'rdefense.defenses.codebooks.save'
    ) from error
  return Codebook(codes, counts, provenance)


def coerce_colors(colors: Colors | np.ndarray) -> Colors:
  """`Colors` as they are, images counted."""
  return colors if isinstance(colors, Colors) else colors_from_images(colors)


def check_num_codes(num_codes: int, available: int | None = None) -> None:
  """Refuses fewer than 2 codes, or more than the distinct colours."""
  if num_codes < 2:
    raise ValueError(
      f'num_codes={num_codes}, expected at least 2: one code makes all images '
      'equal'
    )
  if available is not None and num_codes > available:
    raise ValueError(
      f'num_codes={num_codes} exceeds the {available} distinct colours to '
      'choose from: ask for fewer codes or pass more images'
    )


def pixel_units(levels: np.ndarray) -> np.ndarray:
  """Grey levels in [0, 255] as float32 in [0, 1], as loaders scale pixels."""
  return np.asarray(levels, np.float32) * np.float32(1 / 255)


def make_provenance(
  method: str, colors: Colors | None, **parameters: Any
) -> dict[str, Any]:
  """Method, parameters, data size and library version, fit for JSON."""
  record: dict[str, Any] = {'method': method, **parameters}
  if colors is not None:
    record['num_pixels'] = int(colors.counts.sum())
    record['num_colors'] = len(colors.counts)
  try:
    record['version'] = importlib.metadata.version('rdefense')
  except importlib.metadata.PackageNotFoundError:
    record['version'] = 'not installed'
  return record


def _check_channels(channels: int) -> None:
  if not 1 <= channels <= 3:
    raise ValueError(
      f'pixels have {channels} channels, expected 1 to 3: the channel axis '
      'comes last'
    )


def _pack(values: np.ndarray) -> np.ndarray:
  """[n, C] uint8 as one integer each, in lexicographic order."""
  packed = values[:, 0].astype(np.int64)
  for channel in values.T[1:]:
    packed = (packed << 8) | channel
  return packed


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
    packed = _pack(pixels[start : start + chunk])
    counts += np.bincount(packed, minlength=size)
    first[packed[::-1]] = np.arange(start, start + len(packed))[::-1]
  packed = np.flatnonzero(counts)
  return packed, first[packed], counts[packed]


def _kernel_matrix(kernel: str, bandwidth: float | None) -> np.ndarray | None:
  """rho between all pairs of levels of one channel; None for the identity."""
  if kernel == 'identity':
    if bandwidth is not None:
      raise ValueError(
        f'bandwidth={bandwidth} has no meaning for the identity kernel: leave '
        'it out, or choose box or gaussian'
      )
    return None
  if kernel not in ('box', 'gaussian'):
    raise ValueError(
      f'kernel={kernel!r} is unknown: choose identity, box or gaussian'
    )
  if bandwidth is None or not bandwidth > 0:
    raise ValueError(
      f'bandwidth={bandwidth}, expected above 0 for the {kernel} kernel: it is '
      'in [0, 1] pixel units'
    )
  levels = 255 * float(bandwidth)
  apart = np.abs(np.subtract.outer(np.arange(256), np.arange(256)))
  if kernel == 'box':
    return (apart <= levels + _LEVEL_TOLERANCE).astype(np.float64)
  return np.exp(-((apart / levels) ** 2) / 2)


def _blur(
  part: np.ndarray,
  smooth: np.ndarray | None,
  box: tuple[slice, ...] | None = None,
) -> np.ndarray:
  """What the counts in a box of the cube add to h, everywhere."""
  if smooth is None:
    return part
  for span in box or (slice(None),) * part.ndim:
    # Contracts the leading axis and appends the result: after a full cycle
    # the axes are in order again.
    part = np.tensordot(part, smooth[:, span], axes=(0, 1))
  return part

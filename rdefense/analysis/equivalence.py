"""How many discretized images an attacker can choose from: paper A's hardness.

Images are equivalent if T makes the same of them. In the l_inf ball the pixels
are free of each other, so it holds prod_i |C_i| classes, C_i the codes that
pixel i can reach; on a scale from 0, one class, to 1, all k^d,

  hardness(x) = (1/d) log_k prod_i |C_i| = sum_i log |C_i| / (d log k).

For 8-bit images and codes, `certify.lattice` counts for all pixels there are,
and an image's hardness is a sum over a table. `num_reached` counts for pixels
and codes that are no whole levels, and norms other than l_inf: exact on one
channel, in colour never too few, see `certify.reachable`.

>>> from rdefense.certify import lattice
>>> table = lattice.num_reached(np.array([[0], [253]]) / 255, 0.3)
>>> images = np.uint8([[0, 60, 250, 255], [60, 60, 60, 60]])[:, :, None, None]
>>> of_bytes(images, table, num_codes=2).tolist()
[0.25, 1.0]

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, section 6 and Figure 5;
  PROTOCOL A13.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from rdefense import checks
from rdefense.certify.reachable import reachable
from rdefense.defenses.colors import pack
from rdefense.types import Array

__all__ = [
  'Median',
  'cdf',
  'hardness',
  'median',
  'num_reached',
  'of_bytes',
  'of_images',
]

_ROWS = 2**12  # pixels counted side by side


class Median(NamedTuple):
  """A sample's median and the interval between two of its order statistics."""

  value: float
  low: float
  high: float
  total: int


def num_reached(x, codes, eps, norm: str = 'linf') -> Array:
  """How many codes each pixel of one image can reach, |C_i|.

  Args:
    x: image `[H, W, C]` in [0, 1].
    codes: `[k, C]`, distinct, in [0, 1].
    eps: radius of the l_inf ball in [0, 1] pixel units. May be traced.
    norm: of T's distances over channels, one of `discretize.NORMS`.

  Returns:
    `[H, W]`, int32.

  Raises:
    ValueError: as `certify.reachable.reachable`.
  """
  return reachable(x, codes, eps, norm).sum(-1)


_counted = jax.jit(num_reached, static_argnames='norm')


def hardness(counts, num_codes: int) -> np.ndarray:
  """sum_i log |C_i| / (d log k), in float64 on the host.

  Args:
    counts: `[..., H, W]` of whole numbers from 1 to k, as `num_reached`.
    num_codes: k, at least 2.

  Returns:
    `[...]`, in [0, 1].

  Raises:
    ValueError: on fewer than two codes, counts below 1 or above k.

  >>> hardness(np.array([[[1, 2], [4, 4]]]), num_codes=4).tolist()
  [0.625]
  """
  counts = np.asarray(counts)
  checks.check_whole('num_codes', num_codes, 2, ': log k is divided by')
  if counts.size and not 1 <= counts.min() <= counts.max() <= num_codes:
    raise ValueError(
      f'counts span [{counts.min()}, {counts.max()}], expected 1 to '
      f'num_codes={num_codes}: every pixel is given some code.'
    )
  logs = np.log(np.maximum(np.arange(num_codes + 1), 1)) / np.log(num_codes)
  return logs[counts].mean((-2, -1))


def of_bytes(images, table, num_codes: int) -> np.ndarray:
  """Hardness of 8-bit images by a table of all pixels.

  Args:
    images: `[N, H, W, C]` uint8.
    table: `[256] * C`, counts by levels, see `certify.lattice.num_reached`.
    num_codes: k of the table's codebook, at least 2.

  Returns:
    `[N]`, float64.

  Raises:
    ValueError: for images that are not uint8 or have other channels than the
      table, and as `hardness`.
  """
  images = np.asarray(images)
  expected = (256,) * images.shape[-1]
  if images.dtype != np.uint8 or table.shape != expected:
    raise ValueError(
      f'images are {images.dtype} of shape {images.shape} and the table has '
      f'shape {table.shape}; expected uint8 and a table {expected}: is it of '
      'another codebook?'
    )
  flat = table.reshape(-1)
  found = np.zeros(len(images))
  for i, image in enumerate(images):
    packed = pack(image.reshape(-1, image.shape[-1]))
    found[i] = hardness(flat[packed][None], num_codes)
  return found


def of_images(images, codes, eps: float, norm: str = 'linf') -> np.ndarray:
  """Hardness of any images: each distinct pixel is counted once.

  Args:
    images: `[N, H, W, C]` in [0, 1].
    codes, eps, norm: as of `num_reached`.

  Returns:
    `[N]`, float64.

  Raises:
    ValueError: as `num_reached`, and on images that are not a batch in [0, 1].
  """
  checks.check_images(images)
  codes, images = np.asarray(codes), np.asarray(images, np.float32)
  num_channels = images.shape[-1]
  pixels, place = np.unique(
    images.reshape(-1, num_channels), axis=0, return_inverse=True
  )
  counts = np.zeros(len(pixels), np.int32)
  for begin in range(0, len(pixels), _ROWS):
    rows = np.arange(begin, begin + _ROWS).clip(max=len(pixels) - 1)
    found = _counted(pixels[rows][:, None], codes, eps, norm=norm)
    counts[rows] = np.asarray(found)[:, 0]
  return hardness(counts[place].reshape(images.shape[:-1]), len(codes))


def cdf(values) -> tuple[np.ndarray, np.ndarray]:
  """The empirical distribution: P[value <= v] at each distinct v.

  Returns:
    `(v [m], share [m])`, both ascending, the last share 1.

  >>> [part.tolist() for part in cdf([0.5, 0.25, 0.5, 1.0])]
  [[0.25, 0.5, 1.0], [0.25, 0.75, 1.0]]
  """
  points, counts = np.unique(np.asarray(values, float), return_counts=True)
  return points, counts.cumsum() / counts.sum()


def median(values, confidence: float = 0.95) -> Median:
  """The sample's median, and an interval for the population's.

  With B ~ binomial(n, 1/2), the interval from the r-th smallest to the r-th
  largest value covers the median of any distribution with probability at least
  1 - 2 P[B < r]; r is the largest for which that is `confidence`.

  Args:
    values: `[n]`, n at least 1.
    confidence: probability of coverage, strictly between 0 and 1.

  Returns:
    `Median`; where so few values bound nothing, its interval is infinite.

  Raises:
    ValueError: without values, or on a confidence outside (0, 1).

  References:
    David, Nagaraja, Order statistics, 2003, section 7.1.

  >>> median(np.arange(10))[:3]
  (4.5, 1.0, 8.0)
  """
  values = np.sort(np.asarray(values, float).ravel())
  checks.check_at_least('number of values', len(values), 1)
  checks.check_probability('confidence', confidence, ': write 0.95 for 95%')
  n, tail = len(values), (1 - confidence) / 2
  r = int(stats.binom.ppf(tail, n, 0.5))  # the first with P[B <= r] >= tail
  if stats.binom.cdf(r, n, 0.5) <= tail:
    r += 1
  low, high = (values[r - 1], values[n - r]) if r else (-np.inf, np.inf)
  return Median(float(np.median(values)), float(low), float(high), n)

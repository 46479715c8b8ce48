"""What a pixel tells through noise and scalar codes, where the ball ends too.

A scalar pixel v behind noise w ~ N(0, sigma^2) falls into one of k cells, the
intervals between the midpoints t_1 < .. < t_{k-1} of neighbouring codes, with

  P[cell <= j; v] = Phi((t_j - v) / sigma).

An attacker moves v anywhere in [v - eps, v + eps], cut to [0, 1]. The laws of
the cell have a monotone likelihood ratio in v, so the further v moves to one
side, the smaller the trade-off function between its law and that at v (every
test {cell >= j} gains power, and these are the best tests): the worst of all
tests, and of all f-divergences, is at one of the two ends.

Several channels are as many pixels where the codes are a grid over axes, and
all images together have few distinct values: counts of these say everything.

>>> import numpy as np
>>> found = cells(np.float32([[[[0.4]]]]), np.array([[0.0], [1.0]]), 0.1, 0.2)
>>> found.counts.tolist(), found.law.round(3).tolist()
([[1.0]], [[0.841, 0.159]])
>>> found.low.round(3).tolist(), found.high.round(3).tolist()
([[0.999, 0.001]], [[0.159, 0.841]])

References:
  Zhang, Liang, 2019, section 4 and its MNIST threshold; PROTOCOL B3.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from rdefense import checks

__all__ = ['Cells', 'axes', 'cells', 'law', 'laws', 'midpoints', 'reach']

# More than float32 errs by in a pixel or a radius.
_DOUBT = 1e-6


class Cells(NamedTuple):
  """Distinct scalar pixels of some images, and the laws of their cells.

  Rows of codes with fewer cells than others end in zeros.
  """

  counts: np.ndarray  # [N, V], float64: pixels of each value in each image
  law: np.ndarray  # [V, k], float64: of the cell, at the clean value
  low: np.ndarray  # [V, k], at the lower end of the ball
  high: np.ndarray  # [V, k], at the upper end


def axes(codes: np.ndarray) -> list[np.ndarray] | None:
  """The scalar codes of each channel, whose grid the codes are.

  Args:
    codes: `[k, C]`.

  Returns:
    C sorted arrays, or None where the codes are no such grid.

  >>> [a.tolist() for a in axes(np.array([[0, 1], [0, 2], [3, 1], [3, 2]]))]
  [[0, 3], [1, 2]]
  """
  codes = np.asarray(codes)
  found = [np.unique(channel) for channel in codes.T]
  size = np.prod([len(axis) for axis in found])
  whole = len(np.unique(codes, axis=0)) == len(codes) == size
  return found if whole else None


def reach(eps: float) -> float:
  """How far a pixel in float32 gets at most in a ball of radius eps.

  An attack that stays within eps of a pixel may round to a little more, by an
  amount that does not shrink with eps.

  >>> reach(0.0), round(reach(0.001), 9)
  (0.0, 0.001001)
  """
  return eps + _DOUBT if eps else 0.0


def midpoints(codes: np.ndarray) -> np.ndarray:
  """Thresholds between scalar codes `[k]`, in any order; `[k - 1]` float64."""
  ordered = np.sort(np.asarray(codes, np.float64))
  return (ordered[1:] + ordered[:-1]) / 2


def law(values: np.ndarray, thresholds: np.ndarray, sigma: float) -> np.ndarray:
  """Probabilities of the cells between thresholds.

  Args:
    values: `[...]`, where the pixels are.
    thresholds: `[k - 1]`, increasing.
    sigma: deviation of the noise.

  Returns:
    `[..., k]` float64, exact to rounding in both tails.
  """
  ends = np.concatenate([[-np.inf], thresholds, [np.inf]])
  scaled = (ends - np.asarray(values, np.float64)[..., None]) / sigma
  begin, end = scaled[..., :-1], scaled[..., 1:]
  # Above the mean, differences of upper tails, which do not cancel.
  upper = begin > 0
  begin, end = np.where(upper, -end, begin), np.where(upper, -begin, end)
  return special.ndtr(end) - special.ndtr(begin)


def laws(
  values: np.ndarray, thresholds: np.ndarray, sigma: float, moved: float
) -> list[np.ndarray]:
  """Of values `[V]` in [0, 1], the laws there and at both ends of their ball.

  Args:
    values, thresholds, sigma: as of `law`.
    moved: half the width of the ball, which is cut to [0, 1]; see `reach`.

  Returns:
    `law`, `low` and `high` of `Cells`.
  """
  values = np.asarray(values, np.float64)
  ends = np.maximum(values - moved, 0), np.minimum(values + moved, 1)
  return [law(each, thresholds, sigma) for each in (values, *ends)]


def cells(
  images: np.ndarray, codes: np.ndarray, sigma: float, eps: float
) -> Cells:
  """Counts the pixel values of images, and what noise and codes make of them.

  Args:
    images: `[N, H, W, C]` in [0, 1], as the noise meets them.
    codes: `[k, C]`, a grid over axes.
    sigma: deviation of the noise in [0, 1] pixel units.
    eps: radius of the l_inf ball in [0, 1] pixel units.

  Returns:
    `Cells`; its ends lie outward by more than float32 rounds.

  Raises:
    ValueError: if sigma <= 0, on eps outside [0, 1], on images or codes that
      are none, and on codes that are no grid over axes.
  """
  checks.check_images(images)
  checks.check_codes(codes)
  checks.check_channels(images, codes)
  checks.check_positive('sigma', sigma, ': without noise, certify.decide')
  checks.check_length('sigma', sigma)
  checks.check_length('eps', eps)
  grid = axes(codes)
  if grid is None:
    raise ValueError(
      f'the {len(codes)} codes are no grid over the axes of colour: their '
      'cells have no closed form.'
    )
  flat = np.asarray(images).reshape(len(images), -1, images.shape[-1])
  width = max(len(axis) for axis in grid)
  found = []
  for channel, axis in enumerate(grid):
    values, place = np.unique(flat[..., channel], return_inverse=True)
    place = place.reshape(len(images), -1)
    counts = np.zeros((len(images), len(values)))
    np.add.at(counts, (np.arange(len(images))[:, None], place), 1)
    empty = ((0, 0), (0, width - len(axis)))
    own = laws(values, midpoints(axis), sigma, reach(eps))
    found.append((counts, *(np.pad(each, empty) for each in own)))
  counts, *rows = zip(*found, strict=True)
  return Cells(np.concatenate(counts, 1), *map(np.concatenate, rows))

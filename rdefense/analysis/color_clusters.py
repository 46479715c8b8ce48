"""Which pixels of an image a discretization puts together, and their colours.

The pixels that T gives the same colour are a cluster, that colour its centre:
read off the transformed image, whatever chose the centres. CIELAB separates
lightness from the two axes of colour, a from green to red and b from blue to
yellow, in which paper B's Figure 1 shows them.

>>> transformed = np.array([[[0.0, 0, 0], [1, 1, 1], [1, 1, 1]]])
>>> found = clusters(transformed)
>>> found.member.tolist(), found.pixels.tolist()
([[0, 1, 1]], [1, 2])
>>> np.abs(lab(found.centers).round(2)).tolist()  # black, white
[[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]]

References:
  CIE 15:2004; IEC 61966-2-1 (sRGB), white D65.
  Zhang, Liang, 2019, https://arxiv.org/abs/1903.10586, Figure 1.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ['Clusters', 'clusters', 'lab', 'matched']

_TO_XYZ = np.array(
  [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
  ]
)
_WHITE = _TO_XYZ.sum(1)


class Clusters(NamedTuple):
  """Clusters of an image's pixels, those without pixels left out.

  Attributes:
    member: of each pixel's cluster, `[H, W]`.
    centers: `[k, C]`, in [0, 1] pixel units, or beyond where noise is.
    pixels: of each cluster, `[k]`.
  """

  member: np.ndarray
  centers: np.ndarray
  pixels: np.ndarray


def lab(rgb) -> np.ndarray:
  """CIELAB of sRGB colours: L in [0, 100], a and b.

  Args:
    rgb: `[..., 3]`; clipped to [0, 1], outside of which there is no colour.

  Returns:
    `[..., 3]`, float64.

  Raises:
    ValueError: if there are not three channels.
  """
  rgb = np.clip(np.asarray(rgb, np.float64), 0, 1)
  if rgb.shape[-1:] != (3,):
    raise ValueError(
      f'rgb has shape {rgb.shape}, expected [..., 3]: is the image grey?'
    )
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  ratio = linear @ _TO_XYZ.T / _WHITE
  step = 6 / 29
  f = np.where(ratio > step**3, np.cbrt(ratio), ratio / (3 * step**2) + 4 / 29)
  x, y, z = np.moveaxis(f, -1, 0)
  return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def clusters(transformed) -> Clusters:
  """Clusters of a transformed image: pixels of one and the same colour.

  Args:
    transformed: `[H, W, C]`, as a hard discretization gives it.

  Returns:
    `Clusters`, centres in lexicographic order.

  Raises:
    ValueError: if it is no image.
  """
  transformed = np.asarray(transformed)
  if transformed.ndim != 3 or transformed.size == 0:
    raise ValueError(
      f'transformed has shape {transformed.shape}, expected one [H, W, C].'
    )
  pixels = transformed.reshape(-1, transformed.shape[-1])
  centers, index, counts = np.unique(
    pixels, axis=0, return_inverse=True, return_counts=True
  )
  return Clusters(index.reshape(transformed.shape[:2]), centers, counts)


def matched(found: Clusters, reference: Clusters) -> Clusters:
  """The same clusters in the order of others, by the nearest centres.

  Pairs minimise the sum of Euclidean distances; what has no partner comes last.

  Args:
    found: clusters to order.
    reference: clusters to order them like.

  Returns:
    `found` with its centres in another order; where `reference` has more of
    them, without gaps.
  """
  apart = np.linalg.norm(
    found.centers[:, None] - reference.centers[None], axis=-1
  )
  mine, theirs = linear_sum_assignment(apart)
  rank = np.full(len(found.centers), len(reference.centers))
  rank[mine] = theirs
  order = np.argsort(rank, kind='stable')
  place = np.argsort(order)
  return Clusters(
    place[found.member], found.centers[order], found.pixels[order]
  )

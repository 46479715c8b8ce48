"""What a codebook costs: the distance from pixels to their nearest code.

  cost = sum_p min_c ||p - c||,  over all pixels, in float64

>>> images = np.uint8([0, 51, 255]).reshape(1, 1, 3, 1)
>>> cost(images, np.array([[0.0], [1.0]])).total
0.2
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from rdefense import checks
from rdefense.defenses.codebooks import Codebook, make_provenance
from rdefense.defenses.colors import Colors, coerce_colors

__all__ = [
  'METRICS',
  'ORDERS',
  'Cost',
  'check_norm',
  'cost',
  'nearest_codebook',
]

ORDERS = {'l1': 1, 'l2': 2, 'linf': np.inf}
METRICS = {'l1': 'cityblock', 'l2': 'euclidean', 'linf': 'chebyshev'}  # SciPy's


class Cost(NamedTuple):
  """Distance of pixels to their nearest code, in [0, 1] pixel units."""

  total: float  # over all pixels
  mean: float  # a pixel


def cost(
  colors: Colors | np.ndarray, codes: np.ndarray, norm: str = 'l1'
) -> Cost:
  """Sum and mean over all pixels of the distance to the nearest code.

  Args:
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    codes: `[k, C]` in [0, 1].
    norm: 'l1', 'l2' (not squared) or 'linf', over channels.

  Returns:
    The cost in [0, 1] pixel units, in float64.

  Raises:
    ValueError: for an unknown norm or codes that `checks.check_codes` refuses.

  >>> images = np.uint8([0, 51, 255]).reshape(1, 1, 3, 1)
  >>> cost(images, np.array([[0.0], [1.0]]))
  Cost(total=0.2, mean=0.06666666666666667)
  """
  colors = coerce_colors(colors)
  checks.check_codes(codes)
  return _cost_of(colors, _nearest(colors, codes, norm)[0])


def check_norm(norm: str) -> None:
  if norm not in ORDERS:
    raise ValueError(f'norm={norm!r} is unknown: choose l1, l2 or linf')


def nearest_codebook(
  colors: Colors, codes: np.ndarray, norm: str, method: str, **parameters: Any
) -> Codebook:
  """Counts the pixels nearest to each code and records the cost of all."""
  distances, near = _nearest(colors, codes, norm)
  provenance = make_provenance(method, colors, norm=norm, **parameters)
  provenance['cost'] = _cost_of(colors, distances)._asdict()
  counts = np.zeros(len(codes), np.int64)
  np.add.at(counts, near, colors.counts)
  return Codebook(codes, counts, provenance)


def _nearest(
  colors: Colors, codes: np.ndarray, norm: str
) -> tuple[np.ndarray, np.ndarray]:
  """Distance in grey levels to the nearest code of each colour, and which."""
  check_norm(norm)
  levels = 255 * np.asarray(codes, np.float64)
  # Codes that are 8-bit pixels give exact distances in spite of float32.
  whole = np.rint(levels)
  levels = np.where(np.abs(levels - whole) < 1e-4, whole, levels)
  if levels.shape[1] != colors.values.shape[1]:
    raise ValueError(
      f'codes have {levels.shape[1]} channels and the pixels '
      f'{colors.values.shape[1]}: fit the codes on pixels of the same kind'
    )
  return cKDTree(levels).query(colors.values, p=ORDERS[norm], workers=-1)


def _cost_of(colors: Colors, distances: np.ndarray) -> Cost:
  total = float(distances @ colors.counts) / 255
  return Cost(total, total / int(colors.counts.sum()))

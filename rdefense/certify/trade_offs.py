"""What an attacker can hide in one pixel: trade-off functions and their hulls.

The trade-off function of two laws P, Q gives, for each error of the first kind
of a test between them, the least error of the second kind: the lower it is, the
easier they are told apart. A pixel of `rdefense.certify.cells` has one for each
end of its ball, with knees

  up    (P[cell >= j], high[cell < j])    down    (P[cell < j], low[cell >= j])

for j = 1 .. k-1, and they are convex. A pair of laws dominates another where
its trade-off function lies nowhere above. The lower convex hull of knees from
several functions belongs to a pair that dominates all of them: for two cells of
probabilities 1 - p and p <= 1/2 and ends q- <= p <= q+, to the masses

  P* = (p, 1 - 2p, p),   Q* = (q+, 1 - q+ - q-, q-).

>>> import numpy as np
>>> from rdefense.certify.cells import cells
>>> image = np.full((1, 1, 1, 1), 0.3, np.float32)
>>> found = sides(cells(image, np.array([[0.0], [1.0]]), 0.2, 0.1))
>>> found.hull.clean.round(3).tolist()
[[0.159, 0.683, 0.159]]
>>> found.hull.attacked.round(3).tolist()
[[0.309, 0.625, 0.067]]

References:
  Dong, Roth, Su, Gaussian differential privacy, 2019,
  https://arxiv.org/abs/1905.02383; Zhu, Dong, Wang, Optimal accounting of
  differential privacy via characteristic function, 2021,
  https://arxiv.org/abs/2106.08567.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from rdefense.certify.cells import Cells

__all__ = ['Pairs', 'Sides', 'sides']


class Pairs(NamedTuple):
  """Pairs of laws, one a row; the likeliest outcomes of an attack first."""

  clean: np.ndarray  # [R, M], float64: masses, zeros at the end
  attacked: np.ndarray  # [R, M]


class Sides(NamedTuple):
  """The pairs of each pixel value: to its stronger end, the other, and both.

  Where nothing is lost by leaving out the weaker end, the hull is `strong`.
  """

  strong: Pairs
  weak: Pairs
  hull: Pairs
  one_sided: np.ndarray  # [V], bool


def sides(cells: Cells) -> Sides:
  """Trade-off functions of pixel values, each at both ends of the ball.

  Args:
    cells: of which V laws are read.

  Returns:
    `Sides` of V rows; the stronger end is the one of larger KL divergence.
  """
  below, above = _below(cells.law), _above(cells.law)
  ups = np.stack([above, _below(cells.high)], -1)
  downs = np.stack([below, _above(cells.low)], -1)
  up_first = _gap(cells.law, cells.high) >= _gap(cells.law, cells.low)
  strong, weak, hull, one_sided = [], [], [], []
  for up, down, first in zip(ups, downs, up_first, strict=True):
    strong_knees, weak_knees = (up, down) if first else (down, up)
    strong.append(_hull(strong_knees))
    weak.append(_hull(weak_knees))
    hull.append(_hull(np.concatenate([up, down])))
    one_sided.append(np.array_equal(strong[-1], hull[-1]))
  return Sides(
    _pairs(strong), _pairs(weak), _pairs(hull), np.array(one_sided, bool)
  )


def _below(law: np.ndarray) -> np.ndarray:
  return np.cumsum(law, -1)[:, :-1]


def _above(law: np.ndarray) -> np.ndarray:
  return np.cumsum(law[:, ::-1], -1)[:, ::-1][:, 1:]


def _gap(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  return special.rel_entr(p, q).sum(-1)


def _hull(knees: np.ndarray) -> np.ndarray:
  """Corners of the lower convex hull of knees, (0, 1) and (1, 0)."""
  points = sorted({(0.0, 1.0), (1.0, 0.0), *map(tuple, knees.tolist())})
  corners: list[tuple[float, float]] = []
  for point in points:
    while len(corners) > 1 and _above_chord(corners[-2], corners[-1], point):
      corners.pop()
    corners.append(point)
  return np.array(corners)


def _above_chord(a, b, c) -> bool:
  """Whether b lies on or above the line from a to c."""
  return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def _pairs(hulls: Sequence[np.ndarray]) -> Pairs:
  width = max(len(corners) for corners in hulls) - 1
  masses = np.zeros((2, len(hulls), width))
  for row, corners in enumerate(hulls):
    steps = np.diff(corners, axis=0).T
    masses[:, row, : steps.shape[1]] = steps[0], -steps[1]
  return Pairs(*np.maximum(masses, 0.0))

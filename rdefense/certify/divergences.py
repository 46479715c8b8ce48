"""How much a divergence lets a probability fall, by data processing.

Let A be any event, with probability p under the clean law P and q under the
attacked law Q. Whatever is known of a divergence between P and Q holds for the
two coins of A as well, so q is at least the smallest that

  KL        p log(p/q) + (1-p) log((1-p)/(1-q)) <= U
  Renyi     p^a q^(1-a) + (1-p)^a (1-q)^(1-a) <= exp((a-1) D_a)
  Pinsker   p - q <= sqrt(U / 2)

allow. Renyi divergences are taken in the other direction as well, attacked ||
clean: of an event that is nearly certain, that leaves far more. Divergences of
independent pixels add up; the worst value of each is at an end of its interval
(`rdefense.certify.cells`).

>>> import numpy as np
>>> p, kl = np.array([0.99]), np.array([0.1])
>>> float(least_pinsker(p, kl)[0].round(3)), float(least_kl(p, kl)[0].round(3))
(0.766, 0.872)

References:
  Zhang, Liang, 2019, (4)-(11); PROTOCOL B3 and B4. Renyi: van Erven,
  Harremoes, Renyi divergence and Kullback-Leibler divergence, 2014,
  https://arxiv.org/abs/1206.2459, theorem 9.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from rdefense.certify.cells import Cells

__all__ = [
  'ORDERS',
  'kl',
  'least_kl',
  'least_pinsker',
  'least_renyi',
  'renyi',
]

ORDERS = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0)
# Sums of some hundred thousand positive float64 numbers are as exact.
_ROUNDING = 1e-9
_HALVINGS = 60


def kl(cells: Cells) -> np.ndarray:
  """KL divergence of all cells of an image, clean || attacked, at the worst.

  Args:
    cells: of N images.

  Returns:
    `[N]` float64, rounded up; infinite where an attack reaches certainty.
  """
  return _total(cells, _kl(cells.law, cells.low), _kl(cells.law, cells.high))


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  return np.maximum(special.rel_entr(p, q).sum(-1), 0.0)


def renyi(cells: Cells, order: float, reverse: bool = False) -> np.ndarray:
  """Renyi divergence of an order above 1, as `kl`.

  Args:
    cells: of N images.
    order: above 1.
    reverse: of attacked || clean instead.

  Raises:
    ValueError: if order <= 1.
  """
  if not order > 1:
    raise ValueError(f'order={order} must be above 1; of order 1 is `kl`.')

  def one(p, q):
    p, q = (q, p) if reverse else (p, q)
    with np.errstate(divide='ignore', invalid='ignore'):
      terms = order * np.log(p) - (order - 1) * np.log(q)
    terms = np.where(p > 0, terms, -np.inf)
    return np.maximum(special.logsumexp(terms, -1) / (order - 1), 0.0)

  return _total(cells, one(cells.law, cells.low), one(cells.law, cells.high))


def _total(cells: Cells, low: np.ndarray, high: np.ndarray) -> np.ndarray:
  worst = np.maximum(low, high)
  # 0 x inf is none here: a value that an image has not counts for nothing.
  known = np.isfinite(worst)
  total = cells.counts[:, known] @ worst[known]
  endless = cells.counts[:, ~known].any(1)
  return np.where(endless, np.inf, total * (1 + _ROUNDING))


def least_pinsker(p: np.ndarray, kl: np.ndarray) -> np.ndarray:
  """The least q by Pinsker's inequality: p - sqrt(kl / 2), at least 0.

  Args:
    p: `[...]`, a lower bound of the clean probability.
    kl: `[...]`, an upper bound of the divergence, in either direction.
  """
  return np.maximum(p - np.sqrt(kl / 2) * (1 + _ROUNDING), 0.0)


def least_kl(p: np.ndarray, kl: np.ndarray) -> np.ndarray:
  """The least q that a divergence clean || attacked of at most `kl` allows.

  Never below `least_pinsker`. Arguments as there.
  """

  def allowed(q):
    return ~(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q) > kl)

  return _least(np.asarray(p, np.float64), allowed)


def least_renyi(
  p: np.ndarray, divergence: np.ndarray, order: float, reverse: bool = False
) -> np.ndarray:
  """The least q that a Renyi divergence of this order allows.

  Args:
    p: `[...]`, a lower bound of the clean probability.
    divergence: `[...]`, an upper bound of D_order(clean || attacked).
    order: above 1.
    reverse: if the divergence is of attacked || clean.
  """
  p = np.asarray(p, np.float64)

  def allowed(q):
    pairs = ((p, q), (1 - p, 1 - q))
    if reverse:
      pairs = ((q, p), (1 - q, 1 - p))
    with np.errstate(divide='ignore', invalid='ignore'):
      logs = [
        np.where(x > 0, order * np.log(x) + (1 - order) * np.log(y), -np.inf)
        for x, y in pairs
      ]
      total = np.logaddexp(*logs)
    return ~(total > (order - 1) * divergence)

  return _least(p, allowed)


def _least(p: np.ndarray, allowed: Callable) -> np.ndarray:
  """Below p, the end of the allowed interval, from outside.

  What is unknown, of a divergence that is NaN, is allowed.
  """
  outside, inside = np.zeros_like(p), p
  for _ in range(_HALVINGS):
    middle = (outside + inside) / 2
    fine = allowed(middle)
    inside = np.where(fine, middle, inside)
    outside = np.where(fine, outside, middle)
  return np.maximum(outside - _ROUNDING, 0.0)

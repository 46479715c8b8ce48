"""Bit-depth reduction with evenly spaced thresholds, paper B's baseline.

  T(v) = (1 / (k - 1)) sum_{j=1}^{k-1} [v >= j / k],
  g(v) = (1 / (k - 1)) sum_{j=1}^{k-1} sigmoid(alpha (v - j / k)).

`binning` has the same outputs but the thresholds (j - 1/2) / (k - 1) halfway
between them; here every level owns 1 / k of the range.

>>> import jax, jax.numpy as jnp
>>> key, x = jax.random.key(0), jnp.array([[[0.2], [0.3], [0.7], [0.8]]])
>>> [round(float(v), 3) for v in bit_depth(4).apply(key, x)[0, :, 0]]
[0.0, 0.333, 0.667, 1.0]

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586, section 6.
  Guo, Rana, Cisse, van der Maaten, Countering adversarial images using input
  transformations, 2018, https://arxiv.org/abs/1711.00117.
"""

import jax
import numpy as np

from rdefense import checks
from rdefense.defenses.base import Defense, checked
from rdefense.types import Array, Key

__all__ = ['bit_depth', 'bit_depth_steep']

# Paper B's code: 10 per unit of [-1, 1]. The paper prints 40 / t^2, a unit of
# squared distances, which is that 10 for its range t = 2, but 40 for t = 1.
_ALPHA = 20.0
_STEEPNESS = 2e4  # paper B's code: 1e4 per unit of [-1, 1]


def _check(num_levels: int, alpha) -> None:
  checks.check_whole(
    'num_levels', num_levels, 2, ': one level is a constant image'
  )
  checks.check_steepness('alpha', alpha, ': the surrogate has to follow T')


def _above(x: Array, num_levels: int) -> Array:
  """`v - j / k` for j = 1 .. k - 1: `[..., k - 1]`."""
  thresholds = np.arange(1, num_levels) / num_levels
  shape = (1,) * x.ndim + (-1,)
  return x[..., None] - thresholds.astype(np.float32).reshape(shape)


def _staircase(x: Array, num_levels: int, alpha) -> Array:
  steps = jax.nn.sigmoid(alpha * _above(x, num_levels))
  return steps.sum(-1) / (num_levels - 1)


def bit_depth(num_levels: int = 4, alpha=_ALPHA) -> Defense:
  """Thresholds at j / k of the range, outputs j / (k - 1), each channel alone.

  A value at a threshold goes up.

  Args:
    num_levels: k; paper B has 4: thresholds 1/4, 1/2, 3/4, outputs 0, 1/3,
      2/3, 1.
    alpha: steepness of the surrogate's sigmoids per unit of distance on [0, 1];
      20 is the authors' code, 40 the paper's 40 / t^2 read with t = 1.

  Returns:
    A `Defense`; the key is not used.

  Raises:
    ValueError: unless num_levels >= 2 and alpha is positive and finite.
  """
  _check(num_levels, alpha)

  def apply(key: Key, x: Array) -> Array:
    del key
    reached = (_above(x, num_levels) >= 0).astype(x.dtype)
    return reached.sum(-1) / (num_levels - 1)

  def surrogate(key: Key, x: Array) -> Array:
    del key
    return _staircase(x, num_levels, alpha)

  return checked(apply, surrogate)


def bit_depth_steep(num_levels: int = 4, alpha=_ALPHA) -> Defense:
  """`bit_depth` as paper B's code evaluates it: steep sigmoids for the steps.

  The sigmoids have 2e4 per unit of [0, 1] (1e4 on [-1, 1] there), so that
  `apply` differs from a step only within some 5e-4 of a threshold, where it
  is finely graded rather than discrete.

  Args:
    num_levels: k, as in `bit_depth`.
    alpha: of the surrogate, as in `bit_depth`.

  Returns:
    A `Defense`; the key is not used.

  Raises:
    ValueError: unless num_levels >= 2 and alpha is positive and finite.
  """
  _check(num_levels, alpha)

  def apply(key: Key, x: Array) -> Array:
    del key
    return _staircase(x, num_levels, _STEEPNESS)

  return checked(apply, bit_depth(num_levels, alpha).surrogate)

"""Total-variation minimization by a few gradient steps, paper B's baseline.

From z = x, descend 1/2 ||z - x||^2 + weight TV(z) with

  TV(z) = sum over pairs of diagonal neighbours |z_p - z_q|, each pair once,

where every pixel outside the image is grey, 1/2:

  z <- z - step_size ((z - x) + weight sum_q sign(z_p - z_q)).

>>> import jax, jax.numpy as jnp
>>> x = jnp.full((3, 3, 1), 0.5).at[1, 1].set(1.0)
>>> z = total_variation(1, step_size=0.5, weight=0.1).apply(
...   jax.random.key(0), x
... )
>>> [round(float(v), 2) for v in z[:, :, 0].ravel()[:5]]
[0.55, 0.5, 0.55, 0.5, 0.8]

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586, section 6.
  Guo, Rana, Cisse, van der Maaten, Countering adversarial images using input
  transformations, 2018, https://arxiv.org/abs/1711.00117.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.defenses.base import Defense, checked
from rdefense.types import Array, Key

__all__ = ['total_variation']

# Paper B's code works on u = 2 x - 1. There the step is
#   u' <- u' - 0.05 ((u' - u) + 0.2 sum sign), zeros outside,
# and halving it gives weight 0.1 and 1/2 outside; 25 per unit becomes 50.
_STEP_SIZE, _WEIGHT, _ALPHA = 0.05, 0.1, 50.0


def _pull(z: Array, sign: Callable[[Array], Array]) -> Array:
  """Sum over the four diagonal neighbours of sign(z_p - z_q)."""
  p = jnp.pad(z, ((1, 1), (1, 1), (0, 0)), constant_values=0.5)
  # Each pair once: the lower end of a pair feels minus what the upper does.
  falling = sign(p[1:, 1:] - p[:-1, :-1])
  rising = sign(p[1:, :-1] - p[:-1, 1:])
  return falling[:-1, :-1] - falling[1:, 1:] + rising[:-1, 1:] - rising[1:, :-1]


def total_variation(
  num_steps: int = 20,
  step_size=_STEP_SIZE,
  weight=_WEIGHT,
  alpha=_ALPHA,
) -> Defense:
  """Gradient steps towards an image of less diagonal variation.

  Iterates are not clipped, as in the authors' code: a pixel below brighter
  neighbours steps up by `4 step_size weight` at most, past 1 where it was near.

  Args:
    num_steps: of gradient descent, at least 1.
    step_size: of gradient descent; it has no unit, 0.05 in paper B.
    weight: of the variation in [0, 1] units; paper B's 0.2 on [-1, 1] is 0.1.
    alpha: steepness of the surrogate, which has 2 sigmoid(alpha v) - 1 for
      sign(v), per unit of [0, 1]; paper B's 25 on [-1, 1] is 50.

  Returns:
    A `Defense` on images of any number of channels, each alone; the key is
    not used.

  Raises:
    ValueError: unless num_steps >= 1, step_size > 0, weight >= 0 and alpha is
      positive and finite.
  """
  checks.check_whole('num_steps', num_steps, 1)
  checks.check_positive('step_size', step_size)
  checks.check_at_least(
    'weight', weight, 0, ': a negative weight adds variation'
  )
  checks.check_steepness('alpha', alpha, ': the surrogate has to follow sign')

  # Called by itself, a loop would be compiled at each call.
  @functools.partial(jax.jit, static_argnames='sign')
  def descend(x: Array, sign: Callable[[Array], Array]) -> Array:
    def step(_, z: Array) -> Array:
      return z - step_size * ((z - x) + weight * _pull(z, sign))

    return jax.lax.fori_loop(0, num_steps, step, x)

  def soft_sign(v: Array) -> Array:
    return jnp.tanh(alpha / 2 * v)  # 2 sigmoid(alpha v) - 1

  def apply(key: Key, x: Array) -> Array:
    del key
    return descend(x, jnp.sign)

  def surrogate(key: Key, x: Array) -> Array:
    del key
    return descend(x, soft_sign)

  return checked(apply, surrogate)

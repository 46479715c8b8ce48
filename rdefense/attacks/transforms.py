"""Optax links that Optax lacks, each acting on the gradient of one image.

>>> import jax.numpy as jnp, optax
>>> links = scale_by_l1_norm(), optax.trace(1.0), optax.scale_by_sign()
>>> tx = optax.chain(*links)
>>> grad = jnp.array([3.0, -1.0])
>>> tx.update(grad, tx.init(grad))[0].tolist()
[1.0, -1.0]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rdefense import checks
from rdefense.threats import euclidean

__all__ = [
  'scale_by_adam_epsilon_hat',
  'scale_by_l1_norm',
  'scale_by_l2_norm',
  'scale_by_sparse_sign',
]


def _stateless(fn) -> optax.GradientTransformation:
  def update(updates, params=None):
    del params
    return jax.tree.map(fn, updates)

  return optax.stateless(update)


def _over_norm(grad: jax.Array, norm: jax.Array) -> jax.Array:
  return grad / jnp.where(norm > 0, norm, 1.0)


def scale_by_l1_norm() -> optax.GradientTransformation:
  """Divides by the sum of absolute values; a zero gradient stays zero.

  References:
    Dong et al., Boosting adversarial attacks with momentum, 2018,
    https://arxiv.org/abs/1710.06081, equation 6.
  """
  return _stateless(lambda grad: _over_norm(grad, jnp.abs(grad).sum()))


def scale_by_l2_norm() -> optax.GradientTransformation:
  """Divides by the Euclidean norm; a zero gradient stays zero.

  The gradient is scaled by its largest entry first, so that squares of small
  gradients do not vanish in float32.
  """

  def direction(grad):
    grad = _over_norm(grad, jnp.abs(grad).max())
    return _over_norm(grad, euclidean(grad))

  return _stateless(direction)


def scale_by_sparse_sign(
  fraction: float = 0.05,
) -> optax.GradientTransformation:
  """Signs of the largest entries, scaled to l1 norm 1: steps for an l1 ball.

  Args:
    fraction: share of the entries that move, in (0, 1]; ties move together.

  Raises:
    ValueError: unless 0 < fraction <= 1.

  References:
    Tramer, Boneh, Adversarial training and robustness for multiple
    perturbations, 2019, https://arxiv.org/abs/1904.13000, section 3 (SLIDE).
  """
  checks.check_positive('fraction', fraction, ': no entry would move')
  if fraction > 1:
    raise ValueError(f'fraction={fraction} exceeds 1, all entries.')

  def direction(grad):
    sizes = jnp.abs(grad)
    count = max(1, round(fraction * grad.size))
    threshold = jax.lax.top_k(sizes.ravel(), count)[0][-1]
    sign = jnp.where(sizes >= threshold, jnp.sign(grad), 0.0)
    return _over_norm(sign, jnp.abs(sign).sum())

  return _stateless(direction)


class EpsilonHatAdamState(NamedTuple):
  num_steps: jax.Array  # shape=(), dtype=int32
  mu: optax.Updates
  nu: optax.Updates


def scale_by_adam_epsilon_hat(
  b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam as TensorFlow 1 computes it, with `eps` outside the bias correction.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,
    update = sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps).

  `optax.scale_by_adam` adds `eps` to the corrected root instead.

  Args:
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: the "epsilon hat" of Kingma and Ba, section 2.

  References:
    Kingma, Ba, Adam, 2015, https://arxiv.org/abs/1412.6980, before section
    2.1; the optimiser of paper A's attack (PROTOCOL A2, step 3).
  """

  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return EpsilonHatAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

  def update(updates, state, params=None):
    del params
    num_steps = state.num_steps + 1
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, updates)
    correction = jnp.sqrt(1 - b2**num_steps) / (1 - b1**num_steps)
    updates = jax.tree.map(
      lambda m, v: correction * m / (jnp.sqrt(v) + eps), mu, nu
    )
    return updates, EpsilonHatAdamState(num_steps, mu, nu)

  return optax.GradientTransformation(init, update)

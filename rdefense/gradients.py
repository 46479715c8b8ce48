"""Value and gradient of an attacker's loss through a defended classifier."""

from collections.abc import Callable

import jax

from rdefense.defenses.base import Defense, differentiable
from rdefense.losses import margin
from rdefense.types import (
  Array,
  Evaluation,
  Key,
  LogitsFn,
  Loss,
  ValueAndGrad,
)

__all__ = ['defended', 'through']


def defended(logits_fn: LogitsFn, defense: Defense) -> Callable:
  """The deployed pipeline: `(key, x) -> logits`; the key is consumed."""
  return lambda key, x: logits_fn(defense.apply(key, x))


def through(
  logits_fn: LogitsFn, defense: Defense, loss: Loss, backward: str = 'bpda'
) -> ValueAndGrad:
  """Evaluates and differentiates `loss` through `defense` and classifier.

  Whatever is differentiated, the margin that decides which iterate is kept
  and when an attack has won is that of the deployed `apply`: `surrogate` costs
  one forward pass more for it.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: what stands in front of it.
    loss: `(logits, label) -> []`, minimised.
    backward: how to differentiate, one of `rdefense.defenses.BACKWARD`.

  Returns:
    `(key, z, y) -> Evaluation`; the key is consumed.

  Raises:
    ValueError: on an unknown `backward`.

  >>> import jax.numpy as jnp
  >>> from rdefense.defenses import binning
  >>> logits_fn = lambda x: jnp.stack([x.sum(), 1.0])
  >>> evaluate = through(logits_fn, binning(2), margin)
  >>> out = evaluate(jax.random.key(0), jnp.full((1, 1, 1), 0.6), 0)
  >>> float(out.margin), round(float(out.grad[0, 0, 0]), 3)
  (0.0, 2.1)
  """
  fn = differentiable(defense, backward)

  def evaluate(key: Key, z: Array, y: Array) -> Evaluation:
    def objective(z):
      logits = logits_fn(fn(key, z))
      return loss(logits, y), logits

    (value, logits), grad = jax.value_and_grad(objective, has_aux=True)(z)
    if backward == 'surrogate':
      logits = defended(logits_fn, defense)(key, z)
    return Evaluation(value, margin(logits, y), grad)

  return evaluate

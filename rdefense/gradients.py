"""Value and gradient of an attacker's loss through a defended classifier."""

from collections.abc import Callable

import jax

from rdefense.defenses.base import Defense, differentiable
from rdefense.losses import margin
from rdefense.types import Array, Evaluation, Key, LogitsFn, Loss, Oracle

__all__ = ['defended', 'through']


def defended(logits_fn: LogitsFn, defense: Defense) -> Callable:
  """The deployed pipeline: `(key, x) -> logits`; the key is consumed."""
  return lambda key, x: logits_fn(defense.apply(key, x))


def through(
  logits_fn: LogitsFn, defense: Defense, loss: Loss, backward: str = 'bpda'
) -> Oracle:
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
    An `Oracle`; its functions consume the key, and see the same noise when
    given the same one.

  Raises:
    ValueError: on an unknown `backward`.

  >>> import jax.numpy as jnp
  >>> from rdefense.defenses import binning
  >>> logits_fn = lambda x: jnp.stack([x.sum(), 1.0])
  >>> oracle = through(logits_fn, binning(2), margin)
  >>> key, z = jax.random.key(0), jnp.full((1, 1, 1), 0.6)
  >>> out = oracle.evaluate(key, z, 0)
  >>> float(out.margin), round(float(out.grad[0, 0, 0]), 3)
  (0.0, 2.1)
  >>> bool(oracle.refresh(key, z + 0.1, out)[1])  # still rounds to 1
  False
  """
  fn = differentiable(defense, backward)

  def evaluate(key: Key, z: Array, y: Array) -> Evaluation:
    def objective(image):
      logits = logits_fn(image)
      return loss(logits, y), logits

    output, vjp = jax.vjp(lambda z: fn(key, z), z)
    (value, logits), slope = jax.value_and_grad(objective, has_aux=True)(output)
    if backward == 'surrogate':
      same_key = jax.random.clone(key)  # the same noise twice, on purpose
      logits = logits_fn(defense.apply(same_key, z))
    return Evaluation(value, margin(logits, y), vjp(slope)[0], output, slope)

  def refresh(key: Key, z: Array, last: Evaluation):
    output, vjp = jax.vjp(lambda z: fn(key, z), z)
    # The deployed margin may change where the surrogate's output does not.
    stale = (output != last.output).any() | (backward == 'surrogate')
    return last._replace(grad=vjp(last.slope)[0]), stale

  return Oracle(evaluate, refresh)

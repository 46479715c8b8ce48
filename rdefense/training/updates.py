"""Steps on the cross-entropy of the defended classifier."""

from collections.abc import Callable

import jax
import optax

from rdefense import checks
from rdefense.defenses.base import Defense
from rdefense.models.base import Classifier, train_batch
from rdefense.parallel import Layout, everywhere
from rdefense.training.state import TrainState, compiled, descend
from rdefense.types import Key

__all__ = ['updater']


def updater(
  classifier: Classifier,
  tx: optax.GradientTransformation,
  defense: Defense,
  reduction: str = 'mean',
  where: Layout | None = None,
) -> Callable:
  """Compiles one optimiser step on the defended classifier.

  Args:
    classifier: the network.
    tx: its optimiser.
    defense: in front of it; only `apply` is used.
    reduction: `mean` or `sum` of the cross-entropy over the batch (paper A's
      MNIST network: sum).
    where: devices to use; None means those of all processes.

  Returns:
    `(state, key, index, x, y) -> (state, metrics)`, with `metrics` the mean
    `loss` and `accuracy`; `state` is donated. The key is the same at every
    step: the step is folded into it.

  Raises:
    ValueError: on an unknown reduction; when called, on integer images.
  """
  if reduction not in ('mean', 'sum'):
    raise ValueError(f"reduction={reduction!r} is neither 'mean' nor 'sum'.")
  where = everywhere() if where is None else where

  def objective(params, keys, x, y):
    z = jax.vmap(defense.apply)(keys, x)
    logits, params = train_batch(classifier, params, z)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    value = losses.sum() if reduction == 'sum' else losses.mean()
    accuracy = (logits.argmax(-1) == y).mean()
    return value, (params, {'loss': losses.mean(), 'accuracy': accuracy})

  def update(state: TrainState, key: Key, index, x, y):
    checks.check_image(x[0])
    key = jax.random.fold_in(key, state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return descend(tx, objective, state, keys, x, y)

  copied, split = where.copied, where.split
  return compiled(update, copied, copied, split, split, split)

"""Losses of an attack: (logits, label) -> scalar, *minimised* by the attacker.

With this sign stock Optax keeps its meaning, and a negative `margin` *is* a
misclassification. A loss takes `logits` `[num_classes]` float32 and an integer
`label` `[]`.

>>> import jax.numpy as jnp
>>> logits = jnp.array([3.0, 1.0, 2.0])
>>> float(margin(logits, 0)), float(margin(logits, 1))
(1.0, -2.0)
>>> float(towards(margin, 2)(logits, 0))  # class 2 still lacks 1.0
1.0
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Loss

__all__ = [
  'cross_entropy',
  'cw',
  'log_probability',
  'margin',
  'margins',
  'numbered',
  'targeted',
  'towards',
]


def cross_entropy(logits: Array, label: Array) -> Array:
  """Minus the cross-entropy, log p_label: the untargeted PGD of Madry et al."""
  return jax.nn.log_softmax(logits)[label]


def margin(logits: Array, label: Array) -> Array:
  """Logit of the label minus the largest other: paper A's loss (A2, step 2)."""
  classes = jnp.arange(logits.shape[0])
  return logits[label] - jnp.where(classes == label, -jnp.inf, logits).max()


def margins(logits: Array, label: Array) -> Array:
  """Logit of the label minus each, 0 for its own: a product, easy to bound."""
  own = jax.nn.one_hot(label, len(logits))
  return jnp.matmul(own[None] - jnp.eye(len(logits)), logits)


def cw(kappa: float) -> Loss:
  """max(margin, -kappa): the margin, satisfied once it is below -kappa.

  Args:
    kappa: confidence wanted, in logits, at least 0 (paper B: 50).

  Raises:
    ValueError: if kappa < 0.

  References:
    Carlini, Wagner, Towards evaluating the robustness of neural networks,
    2017, https://arxiv.org/abs/1608.04644, f_6.
  """
  checks.check_at_least('kappa', kappa, 0, '')
  return lambda logits, label: jnp.maximum(margin(logits, label), -kappa)


def log_probability(offset: float = 0.01) -> Loss:
  """log(offset + p_label), as the code of paper B minimises on ImageNet (B2).

  Args:
    offset: added to the probability; bounds the gradient of a won draw.
  """

  def loss(logits: Array, label: Array) -> Array:
    return jnp.log(offset + jax.nn.softmax(logits)[label])

  return loss


def numbered(losses: Sequence[Loss], number) -> Loss:
  """One of several losses, chosen by a number that may be traced.

  All are computed and one is kept, without a branch: attacks that differ in
  the loss alone share what is compiled, of which losses are a small part.

  Args:
    losses: at least one.
    number: index into them, int32.

  Raises:
    ValueError: without any loss.

  >>> logits = jnp.array([3.0, 1.0, 2.0])
  >>> float(numbered((cross_entropy, margin), 1)(logits, 0))
  1.0
  """
  if not losses:
    raise ValueError('losses is empty: there is nothing to minimise.')
  if len(losses) == 1:
    return losses[0]
  return lambda logits, label: jax.lax.select_n(
    number, *(loss(logits, label) for loss in losses)
  )


def targeted(loss: Loss) -> Loss:
  """Turns an untargeted loss round: `label` is now the class to reach."""
  return lambda logits, target: -loss(logits, target)


def towards(loss: Loss, offset: int) -> Loss:
  """The targeted loss of class (label + offset) mod num_classes.

  Offsets 1 .. num_classes - 1 together aim at every other class, each example
  counting from its own label.

  Args:
    loss: an untargeted loss.
    offset: at least 1.

  Raises:
    ValueError: if offset < 1.
  """
  checks.check_at_least('offset', offset, 1, ': 0 aims at the true label')

  def aimed(logits: Array, label: Array) -> Array:
    return -loss(logits, (label + offset) % logits.shape[0])

  return aimed

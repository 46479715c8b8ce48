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
  'dlr',
  'dlr_towards',
  'log_probability',
  'margin',
  'margins',
  'numbered',
  'towards',
  'towards_class',
]

_TIE = 1e-12  # keeps a ratio of equal logits finite


def cross_entropy(logits: Array, label: Array) -> Array:
  """Minus the cross-entropy, log p_label: the untargeted PGD of Madry et al.

  As -log(1 + exp(l)), l the log-sum-exp of the others less the label's logit:
  in float32 p_label is 1 beyond 17 logits, so the gradient of log-softmax no
  longer descends on the label's logit there; this one does up to 87.

  >>> far = jnp.array([25.0, 0.0])
  >>> jax.grad(lambda logits: jax.nn.log_softmax(logits)[0])(far).tolist()[0]
  0.0
  >>> jax.grad(cross_entropy)(far, 0).tolist()[0] > 1e-11
  True
  """
  others = jax.nn.logsumexp(_without(logits, label))
  return -jax.nn.softplus(others - logits[label])


def margin(logits: Array, label: Array) -> Array:
  """Logit of the label minus the largest other: paper A's loss (A2, step 2)."""
  return logits[label] - _without(logits, label).max()


def _without(logits: Array, label: Array) -> Array:
  return jnp.where(jnp.arange(logits.shape[0]) == label, -jnp.inf, logits)


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

  Raises:
    ValueError: unless offset > 0.
  """
  checks.check_positive('offset', offset, ': log(0) has no derivative')

  def loss(logits: Array, label: Array) -> Array:
    return jnp.log(offset + jnp.exp(cross_entropy(logits, label)))

  return loss


def dlr(logits: Array, label: Array) -> Array:
  """Minus the difference-of-logits ratio: the margin over the spread of logits.

    (z_y - max_{i != y} z_i) / (z_(1) - z_(3)),   z_(1) >= z_(2) >= ...

  Unchanged where all logits are scaled or shifted, as a network may learn to
  scale them until the cross-entropy has no gradient left.

  Raises:
    ValueError: on logits of less than three classes.

  References:
    Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble
    of diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690,
    section 4.

  >>> logits = jnp.array([3.0, 1.0, 2.0])
  >>> float(dlr(logits, 0)), float(dlr(10 * logits + 5, 0))
  (0.5, 0.5)
  """
  first, _, third = _largest(logits, 3)
  return margin(logits, label) / (first - third + _TIE)


def dlr_towards(offset: int) -> Loss:
  """The targeted ratio of class (label + offset) mod num_classes, as `towards`.

    (z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)

  Its spread is not that of `dlr`: with the latter the ratio would be constant
  where the label and the target are first and third.

  Args:
    offset: at least 1.

  Raises:
    ValueError: as `towards`, and on logits of less than four classes.

  References:
    See `dlr`.
  """
  offset = _checked_offset(offset)

  def aimed(logits: Array, label: Array) -> Array:
    target = _target(label, offset, logits.shape[0])
    first, _, third, fourth = _largest(logits, 4)
    spread = first - (third + fourth) / 2
    return (logits[label] - logits[target]) / (spread + _TIE)

  return aimed


def _largest(logits: Array, count: int) -> Array:
  if logits.shape[0] < count:
    raise ValueError(
      f'logits have {logits.shape[0]} classes, and this ratio needs at least '
      f'{count}: take the margin or the cross-entropy.'
    )
  return jax.lax.top_k(logits, count)[0]


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


def towards(loss: Loss, offset: int) -> Loss:
  """The targeted loss of class (label + offset) mod num_classes.

  Offsets 1 .. num_classes - 1 together aim at every other class, each example
  counting from its own label.

  Args:
    loss: an untargeted loss.
    offset: at least 1.

  Raises:
    ValueError: unless offset is a whole number of at least 1, and, on logits,
      if it is a multiple of num_classes.
  """
  offset = _checked_offset(offset)
  return lambda logits, label: (
    -loss(logits, _target(label, offset, logits.shape[0]))
  )


def _checked_offset(offset: int) -> int:
  return checks.check_whole('offset', offset, 1, ': 0 aims at the true label')


def _target(label: Array, offset: int, num_classes: int) -> Array:
  if offset % num_classes == 0:
    raise ValueError(
      f'offset={offset} of {num_classes} classes aims at the true label: '
      f'take 1 to {num_classes - 1}.'
    )
  return (label + offset) % num_classes


def towards_class(loss: Loss, target: int) -> Loss:
  """The targeted loss of one class, whatever the label.

  The label stays the true one: an example is done once it is misclassified,
  as any other. Those of the class itself are attacked without a target.

  Args:
    loss: an untargeted loss.
    target: class to reach, at least 0.

  Raises:
    ValueError: unless target is a whole number of at least 0, and, on logits,
      if there is no such class.

  >>> logits = jnp.array([3.0, 1.0, 2.0])
  >>> aimed = towards_class(margin, 1)  # lacks 2.0; of its own class, no target
  >>> float(aimed(logits, 0)), float(aimed(logits, 1))
  (2.0, -2.0)
  """
  target = checks.check_whole('target', target, 0, ': it is a class')

  def aimed(logits: Array, label: Array) -> Array:
    if target >= logits.shape[0]:
      raise ValueError(
        f'target={target} is no class: there are {logits.shape[0]}, from 0.'
      )
    value = loss(logits, jnp.int32(target))
    return jnp.where(label == target, value, -value)

  return aimed

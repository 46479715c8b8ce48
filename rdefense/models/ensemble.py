"""Several networks as one: what a transfer attack is computed on."""

import jax
import jax.numpy as jnp

from rdefense.models.base import Classifier
from rdefense.types import Array, Key, PyTree

__all__ = ['ensemble']


def ensemble(*members: Classifier) -> Classifier:
  """The classifier whose logits are the mean of its members'.

  Args:
    *members: networks of the same classes; each sees the image in [0, 1].

  Returns:
    A `Classifier`; its parameters are the tuple of the members'.

  Raises:
    ValueError: without members, or where they disagree about the classes.

  References:
    Dong, Liao, Pang, Su, Zhu, Hu, Li, Boosting adversarial attacks with
    momentum, 2018, https://arxiv.org/abs/1710.06081: fused logits, equal
    weights.

  >>> def scaled(factor):
  ...   return Classifier(lambda key, x: {}, lambda params, x: factor * x, 2)
  >>> both = ensemble(scaled(1.0), scaled(3.0))
  >>> params = both.init(jax.random.key(0), jnp.ones(2))
  >>> both.apply(params, jnp.ones(2)).tolist()
  [2.0, 2.0]
  """
  classes = {member.num_classes for member in members}
  if len(classes) != 1:
    raise ValueError(
      f'ensemble of {len(members)} members with {sorted(classes)} classes: '
      'take at least one, all of the same classes.'
    )

  def init(key: Key, x: Array) -> PyTree:
    return tuple(
      member.init(jax.random.fold_in(key, i), x)
      for i, member in enumerate(members)
    )

  def apply(params: PyTree, x: Array) -> Array:
    each = [m.apply(p, x) for m, p in zip(members, params, strict=True)]
    return jnp.stack(each).mean(0)

  return Classifier(init, apply, classes.pop())

"""Attacks by name: what is minimised, from where, and how it is followed.

A tuple of recipes is an ensemble, and an example counts as robust only if it
survives each of them. Step sizes are in [0, 1] pixel units. Attacks on
randomised defenses are in `attacks/eot.py`, those of AutoAttack in
`attacks/autoattack.py`.
"""

from collections.abc import Callable
import functools

import optax

from rdefense import checks, losses
from rdefense.attacks.assembly import Recipe
from rdefense.attacks.pgd import adam, sign, sign_adam, steepest
from rdefense.attacks.pgd import mi_fgsm as momentum
from rdefense.defenses.base import BACKWARD
from rdefense.threats import NORMS, STARTS

__all__ = [
  'adaptive',
  'fgsm',
  'in_norm',
  'mi_fgsm',
  'paper_a',
  'pgd_falling',
  'pgd_madry',
  'undefended',
]


def paper_a(
  num_steps: int = 100, step_size: float = 0.01, alpha: float = 10.0
) -> tuple[Recipe, ...]:
  """Paper A's attack on discretized models, exactly as executed.

  From the lower corner, TensorFlow's Adam on signs, the margin without kappa,
  BPDA, every example, the last iterate only. It is weak: see `adaptive`.

  References:
    PROTOCOL A2, A8: MNIST and Fashion-MNIST 100 steps of 0.01, alpha 10.
  """
  return (
    Recipe(
      'paper_a',
      losses.margin,
      sign_adam,
      step_size,
      num_steps,
      start='lower',
      alpha=alpha,
      keep='last',
      every_example=True,
    ),
  )


def pgd_madry(
  num_steps: int = 100,
  step_size: float = 0.01,
  num_restarts: int = 1,
  keep: str = 'best',
) -> tuple[Recipe, ...]:
  """PGD on the cross-entropy from a random start, as paper A runs undefended.

  The paper judges the last iterate and attacks every example: `keep='last'`.
  The default keeps the best one, which is stronger and costs less, because an
  example is done once it is fooled.

  References:
    Madry et al. 2018; PROTOCOL A2, A8: 100 steps of 0.01.
  """
  return (
    Recipe(
      f'pgd{num_steps}',
      losses.cross_entropy,
      sign,
      step_size,
      num_steps,
      num_restarts=num_restarts,
      keep=keep,
      every_example=keep == 'last',
    ),
  )


def pgd_falling(
  eps: float, num_steps: int = 20, norm: str = 'linf'
) -> tuple[Recipe, ...]:
  """PGD whose steps fall in a line from eps / 2 to almost nothing.

  Few steps find what a hundred of one length do: the first cross the ball, the
  last are fine. They are the steepest of the norm.

  Raises:
    ValueError: on an unknown norm.
  """
  checks.check_choice('norm', norm, NORMS)
  return (
    Recipe(
      f'pgd_falling{num_steps}',
      losses.cross_entropy,
      _falling(num_steps, norm),
      eps / 2,
      num_steps,
    ),
  )


@functools.cache
def _falling(
  num_steps: int, norm: str
) -> Callable[..., optax.GradientTransformation]:
  """One function a number of steps, so that what was compiled is found."""

  def optimizer(step_size) -> optax.GradientTransformation:
    lengths = optax.linear_schedule(step_size, 0.05 * step_size, num_steps)
    return steepest(norm, lengths)

  return optimizer


def fgsm(eps: float) -> tuple[Recipe, ...]:
  """One sign step of length eps from x (Goodfellow et al. 2015)."""
  return (Recipe('fgsm', losses.cross_entropy, sign, eps, 1, start='clean'),)


def mi_fgsm(
  eps: float, num_steps: int = 10, keep: str = 'best'
) -> tuple[Recipe, ...]:
  """MI-FGSM with decay 1 and steps of eps / num_steps from x.

  To transfer to another network take `keep='last'`: the best iterate stops at
  the first one that fools the network it was computed on.

  Raises:
    ValueError: unless `num_steps` is a whole number of at least 1.
  """
  num_steps = checks.check_whole('num_steps', num_steps, 1)
  return (
    Recipe(
      'mi_fgsm',
      losses.cross_entropy,
      momentum,
      eps / num_steps,
      num_steps,
      start='clean',
      keep=keep,
      every_example=keep == 'last',
    ),
  )


def adaptive(
  eps: float,
  num_steps: int = 40,
  alphas: tuple[float, ...] = (4.0, 10.0, 30.0),
  backward: tuple[str, ...] = BACKWARD,
) -> tuple[Recipe, ...]:
  """Every start, loss and way of differentiating, several alphas.

  An example is robust if it survives all. `bpda` follows Adam, because the
  sign of a gradient through one channel does not depend on alpha; the other
  two follow signs.

  Args:
    eps: radius in [0, 1] pixel units; the steps scale with it.
    num_steps: gradient steps of each recipe.
    alphas: steepness of the surrogate for `bpda` and `surrogate`.
    backward: ways of differentiating, in this order.

  Raises:
    ValueError: without any alpha or any way: nothing would be attacked; and on
      a way that is none.
  """
  if not alphas or not backward:
    raise ValueError(
      f'alphas={alphas} and backward={backward} must not be empty: no attack '
      'would be left and every example would count as robust.'
    )
  for way in backward:
    checks.check_choice(f'backward={backward!r}: way', way, BACKWARD)
  ways = [
    (way, alpha)
    for way in backward
    for alpha in (alphas[:1] if way == 'identity' else alphas)
  ]
  objectives = {'margin': losses.margin, 'ce': losses.cross_entropy}
  return tuple(
    Recipe(
      f'{name}/{way}{alpha:g}/{start}',
      loss,
      adam if way == 'bpda' else sign,
      eps / 8,
      num_steps,
      start=start,
      backward=way,
      alpha=alpha,
    )
    for start in STARTS
    for name, loss in objectives.items()
    for way, alpha in ways
  )


def undefended(eps: float, num_steps: int = 40) -> tuple[Recipe, ...]:
  """`adaptive` with nothing in front of the classifier, and PGD-100 before it.

  There is nothing to differentiate round, so `identity` and `bpda` differ only
  in what they follow, signs or Adam. On some networks a hundred steps of one
  recipe find more than a few of each: the worst case holds the published one.

  Args:
    eps: radius in [0, 1] pixel units.
    num_steps: gradient steps of each of the other recipes.
  """
  others = adaptive(eps, num_steps, (10.0,), ('identity', 'bpda'))
  return pgd_madry(step_size=min(0.01, eps / 4)) + others


def in_norm(recipe: Recipe, norm: str) -> Recipe:
  """The recipe with its steps replaced by the steepest ones of a norm.

  A sign is the steepest direction in l_inf; in an l2 or l1 ball of the same
  length it leaves much standing. Signs, momentum and Adam follow the norm;
  other optimisers are left as they are.

  Args:
    recipe: any.
    norm: of the threat, as for `attacks.steepest`.

  Raises:
    ValueError: on an unknown norm.

  >>> (recipe,) = fgsm(0.5)
  >>> in_norm(recipe, 'linf') is recipe, in_norm(recipe, 'l2') is recipe
  (True, False)
  """
  checks.check_choice('norm', norm, NORMS)
  if norm == 'linf' or recipe.optimizer not in (sign, momentum, adam):
    return recipe
  return recipe._replace(optimizer=_following(recipe.optimizer, norm))


@functools.cache
def _following(optimizer, norm: str):
  if optimizer is sign:
    return functools.partial(steepest, norm)
  return functools.partial(optimizer, norm=norm)

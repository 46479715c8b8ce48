"""Recipes of AutoAttack: Auto-PGD on two losses, and Square attack.

Without knobs to turn, they say what anyone would find. AutoAttack's standard
ensemble for ten classes, but for FAB:

>>> ensemble = apgd(0.3, num_targets=9) + square(5000)
>>> len(ensemble), ensemble[0].name, ensemble[1].name
(11, 'apgd_ce', 'apgd_dlr+1')

References:
  Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble of
  diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690.
"""

from collections.abc import Callable
import functools

import optax

from rdefense import checks, losses
from rdefense.attacks.apgd import apgd as auto
from rdefense.attacks.assembly import Recipe
from rdefense.threats import NORMS

__all__ = ['apgd', 'square']

# One function each, so that what was compiled for it is found again.
_dlr_towards = functools.cache(losses.dlr_towards)


@functools.cache
def _auto(
  num_steps: int, norm: str
) -> Callable[..., optax.GradientTransformation]:
  return lambda step_size: auto(step_size, num_steps, norm)


def apgd(
  eps: float,
  num_steps: int = 100,
  num_targets: int = 0,
  num_restarts: int = 1,
  backward: str = 'bpda',
  alpha: float = 10.0,
  num_draws: int = 0,
  norm: str = 'linf',
) -> tuple[Recipe, ...]:
  """Auto-PGD on the cross-entropy and on the difference-of-logits ratio.

  Args:
    eps: radius in [0, 1] pixel units; steps begin at twice as much.
    num_steps: of each recipe.
    num_targets: classes that the ratio aims at, those after the label, one
      recipe each; 0 aims at none. The ratio needs three classes, or four.
    num_restarts: copies side by side.
    backward: one of `defenses.BACKWARD`.
    alpha: steepness of the surrogate.
    num_draws: of a randomised defense, averaged in each gradient and value.
    norm: of the threat.

  Raises:
    ValueError: unless `num_steps` is a whole number of at least 1, and
      `num_targets` one of at least 0, and on an unknown norm.

  References:
    See `rdefense.attacks.apgd` and `rdefense.losses.dlr`.
  """
  num_steps = checks.check_whole('num_steps', num_steps, 1)
  checks.check_whole('num_targets', num_targets)
  checks.check_choice('norm', norm, NORMS)
  ratios = {
    f'dlr+{offset}': _dlr_towards(offset)
    for offset in range(1, num_targets + 1)
  }
  objectives = {'ce': losses.cross_entropy} | (ratios or {'dlr': losses.dlr})
  return tuple(
    Recipe(
      f'apgd_{name}',
      loss,
      _auto(num_steps, norm),
      2 * eps,
      num_steps,
      backward=backward,
      alpha=alpha,
      num_restarts=num_restarts,
      num_draws=num_draws,
    )
    for name, loss in objectives.items()
  )


def square(
  num_steps: int = 1000, num_restarts: int = 1, num_draws: int = 0
) -> tuple[Recipe, ...]:
  """Square attack on the margin: random search, without any gradient.

  Where it breaks what descent leaves standing, gradients mislead, or steps were
  too few.

  Args:
    num_steps: proposals; each costs a forward pass, or two of each draw.
    num_restarts: copies side by side.
    num_draws: of a randomised defense, averaged in each comparison.

  References:
    See `rdefense.attacks.square`.
  """
  return (
    Recipe(
      'square',
      losses.margin,
      None,
      0.0,
      num_steps,
      num_restarts=num_restarts,
      num_draws=num_draws,
    ),
  )

"""The attack of adversarial training."""

from collections.abc import Callable

import numpy as np

from rdefense import checks
from rdefense.attacks.assembly import (
  Recipe,
  assemble,
  check_recipe,
  num_parts,
)
from rdefense.attacks.driver import batch_attack
from rdefense.data.batches import Batch
from rdefense.defenses.base import Defense
from rdefense.models.base import Classifier
from rdefense.parallel import Layout
from rdefense.threats import ball
from rdefense.types import Key

__all__ = ['attacker']


def attacker(
  classifier: Classifier,
  defense: Defense,
  recipe: Recipe,
  norm: str = 'linf',
  where: Layout | None = None,
) -> Callable[..., np.ndarray]:
  """Compiles the attack of adversarial training.

  It sees the network as it is deployed, with running statistics, and updates
  none. Paper A's code attacks with those of the batch, and every step of an
  attack goes into the running ones.

  Args:
    classifier: the network under training.
    defense: in front of it, attacked as the recipe says.
    recipe: which attack; its step size is a multiple of the radius, and what
      it keeps is the point after `num_steps` steps, not evaluated.
    norm: of the ball.
    where: devices to use; None means all of this process.

  Returns:
    `(params, key, batch, eps) -> images` `[B, H, W, C]`; eps and params may
    change without recompilation; the key is consumed: fold the step into it,
    as every epoch attacks an image from the same start otherwise.

  Raises:
    ValueError: if the recipe takes no step, or would do nothing.
  """
  checks.check_whole('num_steps', recipe.num_steps, 1, ' to attack')
  check_recipe(recipe)

  def make_attack(operands):
    params, eps = operands
    return assemble(
      recipe,
      lambda x: classifier.apply(params, x),
      defense,
      ball(norm, eps),
      step_size=recipe.step_size * eps,
    )

  parts = num_parts(recipe)
  recipe = recipe._replace(keep='next')
  attack = batch_attack(make_attack, where, compact=False)

  def adversarial(params, key: Key, batch: Batch, eps: float) -> np.ndarray:
    return attack(
      (params, np.float32(eps)),
      key,
      recipe.num_steps - 1,
      batch.index,
      batch.image,
      batch.label,
      batch.mask,
      parts,
    ).z

  return adversarial

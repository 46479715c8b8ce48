"""What an attack is made of: a recipe, and the attack it becomes.

A `Recipe` is the whole protocol of one attack, in names and numbers;
`assemble` makes it an `Attack` on one classifier behind one defense.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import optax

from rdefense import checks
from rdefense.attacks.base import Attack
from rdefense.attacks.pgd import KEEP, pgd
from rdefense.attacks.square import square
from rdefense.attacks.wrappers import restarts, stop_when_fooled
from rdefense.defenses.base import BACKWARD, Defense
from rdefense.gradients import averaged, through, values
from rdefense.precision import HIGHEST, at
from rdefense.threats import STARTS, Threat
from rdefense.types import LogitsFn, Loss, Oracle

__all__ = [
  'Recipe',
  'assemble',
  'check_ensemble',
  'check_recipe',
  'num_copies',
  'num_parts',
]


class Recipe(NamedTuple):
  """One attack, ready to be assembled on any classifier, defense and threat.

  Attributes:
    name: what reports call it; also seeds its keys.
    loss: `(logits, label) -> []`, minimised.
    optimizer: `step_size -> optax.GradientTransformation`; None follows no
      gradient but searches by squares: of the rest it takes the loss, the
      number of steps, restarts, draws and the precision.
    step_size: [0, 1] pixel units.
    num_steps: gradient steps, or proposals.
    start: one of `threats.STARTS`.
    backward: one of `defenses.BACKWARD`.
    alpha: steepness of the defense's surrogate.
    num_restarts: copies side by side, with different keys.
    keep: which iterate, one of `pgd.KEEP`.
    every_example: attack also what is misclassified unattacked.
    num_draws: of a randomised defense, averaged in each gradient; 0 says that
      the defense is deterministic and one success is enough.
    average: over draws, one of `gradients.AVERAGES`.
    chunk: draws side by side, a divisor of `num_draws`; 0 leaves it to
      `memory.with_chunks`.
    precision: of the classifier's products, one of `precision.PRECISIONS`.
  """

  name: str
  loss: Loss
  optimizer: Callable[..., optax.GradientTransformation] | None
  step_size: float
  num_steps: int
  start: str = 'random'
  backward: str = 'bpda'
  alpha: float = 10.0
  num_restarts: int = 1
  keep: str = 'best'
  every_example: bool = False
  num_draws: int = 0
  average: str = 'loss'
  chunk: int = 0
  precision: str = HIGHEST


def check_recipe(recipe: Recipe) -> None:
  """Raises `ValueError` on what is no recipe, and on one that does nothing.

  >>> from rdefense.attacks.eot import eot
  >>> check_recipe(eot(0.1)[0]._replace(alpha=-1.0))
  Traceback (most recent call last):
    ...
  ValueError: alpha of eot=-1.0 must be positive.
  """
  if not isinstance(recipe, Recipe):
    raise ValueError(
      f'recipe is a {type(recipe).__name__}, expected one attacks.Recipe: of '
      'an ensemble give one at a time.'
    )
  of = f' of {recipe.name}'
  checks.check_whole(f'num_steps{of}', recipe.num_steps)
  checks.check_at_least(f'step_size{of}', recipe.step_size, 0)
  checks.check_whole(f'num_restarts{of}', recipe.num_restarts, 1)
  checks.check_positive(f'alpha{of}', recipe.alpha)
  checks.check_choice(f'start{of}', recipe.start, STARTS)
  checks.check_choice(f'backward{of}', recipe.backward, BACKWARD)
  checks.check_choice(f'keep{of}', recipe.keep, KEEP)
  if recipe.optimizer is None:  # what it keeps is its best
    checks.check_choice(f'keep{of} by squares', recipe.keep, ('best',))
  num_parts(recipe)


def check_ensemble(recipes: Sequence[Recipe]) -> None:
  """Raises `ValueError` on such a recipe among these, or two of one name."""
  if isinstance(recipes, Recipe):  # a tuple too, of other things
    raise ValueError(
      f'recipes is the single recipe {recipes.name}: give a sequence of them, '
      'as (recipe,).'
    )
  for recipe in recipes:
    check_recipe(recipe)
  names = [recipe.name for recipe in recipes]
  if len(set(names)) < len(names):
    raise ValueError(
      f'recipes are called {", ".join(names)}: each needs a name of its own, '
      'by which it has its keys and its submissions.'
    )


def num_parts(recipe: Recipe) -> int:
  """Parts of each evaluation, of `chunk` draws, or of one where that is 0.

  Raises:
    ValueError: on a negative number of draws, or a chunk that does not divide
      them.

  >>> from rdefense.attacks.eot import eot
  >>> (recipe,) = eot(0.1, num_draws=20)
  >>> num_parts(recipe), num_parts(recipe._replace(chunk=5))
  (20, 4)
  """
  checks.check_whole(
    'num_draws', recipe.num_draws, 0, ': 0 is for a deterministic defense'
  )
  checks.check_whole('chunk', recipe.chunk)
  num_draws = max(1, recipe.num_draws)
  parts, left = divmod(num_draws, max(1, recipe.chunk))
  if left:
    raise ValueError(
      f'chunk={recipe.chunk} of {recipe.name} does not divide its {num_draws} '
      'draws: take a divisor, or 0 to have one chosen.'
    )
  return parts


def num_copies(recipe: Recipe) -> int:
  """Gradients, or forward passes of a search, of one part of an evaluation.

  Behind randomness a search compares what it proposes with what it keeps on the
  same draws, and passes twice.

  >>> from rdefense.attacks.autoattack import square
  >>> (search,) = square(num_steps=10, num_restarts=3, num_draws=20)
  >>> num_copies(search), num_copies(search._replace(num_draws=0))
  (6, 3)
  """
  passes = 2 if recipe.optimizer is None and recipe.num_draws else 1
  return passes * max(1, recipe.chunk) * recipe.num_restarts


def assemble(
  recipe: Recipe,
  logits_fn: LogitsFn,
  defense: Defense,
  threat: Threat,
  start=None,
  step_size=None,
  num_steps=None,
) -> Attack:
  """The recipe's attack on one classifier behind one defense.

  Args:
    recipe: what to do.
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it, already built with the recipe's `alpha`.
    threat: the set to stay in.
    start: overrides the recipe's; an index into `STARTS` may be traced.
    step_size: overrides the recipe's; may be traced.
    num_steps: overrides the recipe's, for what depends on it; may be traced.

  Returns:
    An `Attack`. With `keep='best'` it stops when it has fooled the deployed
    pipeline, if that is deterministic; otherwise, and with `last`, it goes on
    to the end. One part of its evaluation is `recipe.chunk` draws.

  Raises:
    ValueError: on an unknown precision, and as `gradients.through`.
  """

  def drawn(oracle: Oracle) -> Oracle:
    if not recipe.num_draws:
      return oracle
    return averaged(oracle, recipe.average, max(1, recipe.chunk))

  logits_fn = at(recipe.precision, logits_fn)
  if recipe.optimizer is None:
    attack = square(
      drawn(values(logits_fn, defense, recipe.loss)),
      threat,
      recipe.num_steps if num_steps is None else num_steps,
      fresh=bool(recipe.num_draws),
    )
  else:
    oracle = through(
      logits_fn,
      defense,
      recipe.loss,
      recipe.backward,
      deployed_margin=recipe.keep == 'best',
    )
    attack = pgd(
      drawn(oracle),
      recipe.optimizer(recipe.step_size if step_size is None else step_size),
      threat,
      recipe.start if start is None else start,
      recipe.keep,
    )
  if recipe.num_restarts > 1:
    attack = restarts(attack, recipe.num_restarts)
  stops = recipe.keep == 'best' and not recipe.num_draws
  return stop_when_fooled(attack) if stops else attack

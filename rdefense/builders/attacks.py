"""Attacks, and the one that trains."""

from collections.abc import Callable, Mapping
import inspect
from typing import Any

from rdefense import checks, losses
from rdefense.attacks import autoattack, eot, recipes
from rdefense.attacks.assembly import Recipe, check_recipe
from rdefense.attacks.pgd import sign
from rdefense.builders.choices import unknown
from rdefense.precision import HIGHEST, PRECISIONS

__all__ = ['attack_recipes', 'training_recipe']

_ATTACKS = (
  'paper_a',
  'pgd',
  'pgd_falling',
  'fgsm',
  'mi_fgsm',
  'apgd',
  'square',
  'adaptive',
  'paper_b',
  'paper_b_imagenet',
  'paper_b_cw',
  'eot',
  'strongest',
  'given',
)
_OPTIONS = {*Recipe._fields, 'alphas', 'num_targets'} - {'name', 'precision'}
# Of a study's attack, read elsewhere: whom it is run on, and where.
_OF_STUDIES = {
  'at_most_eps',
  'curve',
  'curve_examples',
  'frozen',
  'name',
  'num_examples',
  'on',
  'path',
  'precision',
  'radii',
  'source',
}


def attack_recipes(
  config: Mapping[str, Any], eps: float, kind: str, norm: str = 'linf'
) -> tuple[Recipe, ...]:
  """The ensemble `config.name` at radius `eps` on one kind of setting.

  Without a defense `adaptive` is `undefended`; only a randomised one is drawn
  several times. Of the attacks of paper A `at_most_eps` limits a step to a
  multiple of the radius. Steps that are signs, and those of `apgd`, are the
  steepest ones of the norm. All recipes have the precision of the config;
  images that are `given` have none.

  Raises:
    ValueError: on an unknown attack, option or precision, numbers with which it
      would do nothing, a step above 1, and of a randomised setting on an attack
      that averages no draws.
  """
  precision = config.get('precision', HIGHEST)
  if precision not in PRECISIONS:
    raise unknown('precision', precision, PRECISIONS)
  chosen = _attack_recipes(config, eps, kind, norm)
  for recipe in chosen:
    check_recipe(recipe)
    if kind == 'randomized' and not recipe.num_draws:
      raise ValueError(
        f'attack {config["name"]!r} averages no draws, which says little of a '
        'randomised defense: take eot, paper_b or strongest, give apgd or '
        'square its num_draws, or leave it out there by '
        "on=('plain', 'transformed')."
      )
  return tuple(
    recipes.in_norm(recipe, norm)._replace(precision=precision)
    for recipe in chosen
  )


def _attack_recipes(
  config: Mapping[str, Any], eps: float, kind: str, norm: str
) -> tuple[Recipe, ...]:
  for name in config:
    if name not in _OPTIONS | _OF_STUDIES:
      raise unknown('option of an attack', name, sorted(_OPTIONS | _OF_STUDIES))
  arguments = {k: v for k, v in config.items() if k in _OPTIONS}
  if kind != 'randomized' and 'num_draws' in arguments:
    arguments['num_draws'] = 0
  if 'step_size' in arguments:
    checks.check_length('step_size', arguments['step_size'])
  if limit := config.get('at_most_eps'):
    arguments['step_size'] = min(arguments['step_size'], limit * eps)
  match config['name']:
    case 'given':  # images, made elsewhere
      return ()
    case 'paper_a':
      return _called(recipes.paper_a, arguments)
    case 'pgd':
      return _called(recipes.pgd_madry, arguments)
    case 'pgd_falling':
      return _called(recipes.pgd_falling, arguments | {'norm': norm}, eps)
    case 'fgsm':
      return recipes.fgsm(eps)
    case 'mi_fgsm':
      return _called(recipes.mi_fgsm, arguments, eps)
    case 'apgd':
      return _called(autoattack.apgd, arguments | {'norm': norm}, eps)
    case 'square':
      return _called(autoattack.square, arguments)
    case 'adaptive':
      if kind == 'plain':
        arguments.pop('alphas', None)
        return _called(recipes.undefended, arguments, eps)
      return _called(recipes.adaptive, arguments, eps)
    case 'paper_b' | 'paper_b_imagenet' | 'paper_b_cw' | 'eot' | 'strongest':
      return _called(getattr(eot, config['name']), arguments, eps)
  raise unknown('attack', config['name'], _ATTACKS)


def _called(
  make: Callable[..., tuple[Recipe, ...]], arguments: dict[str, Any], *eps
) -> tuple[Recipe, ...]:
  """The recipes, or a sentence on an option that these ones do not take."""
  taken = list(inspect.signature(make).parameters)[len(eps) :]
  for name in arguments:
    if name not in taken:
      raise unknown(f'option of {make.__name__}', name, taken)
  return make(*eps, **arguments)


def training_recipe(config: Mapping[str, Any], norm: str = 'linf') -> Recipe:
  """The attack of adversarial training; `step_size` is a multiple of eps.

  Its precision is the device's default, as that of the training step is.
  """
  if config['name'] == 'paper_a':
    (recipe,) = recipes.paper_a(config['num_steps'], config['step_size'])
    return recipe._replace(precision='default')
  if config['name'] != 'pgd':
    raise unknown('training attack', config['name'], ('pgd', 'paper_a'))
  recipe = Recipe(
    'training',
    losses.cross_entropy,
    sign,
    config['step_size'],
    config['num_steps'],
    alpha=config['alpha'],
    keep='last',
    every_example=True,
    precision='default',
  )
  return recipes.in_norm(recipe, norm)

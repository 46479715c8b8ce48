"""What an attack is held against in an audit: weaker ones, and more of itself.

>>> from configs import digits
>>> attack = digits.get_config().attacks.apgd.to_dict()
>>> [case.name for case in cases(attack, 0.2, 'plain')][:5]
['clean', 'attack', 'half', 'everything', 'step']
"""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

from rdefense import build, losses
from rdefense.attacks import Recipe, sign
from rdefense.attacks.autoattack import square
from rdefense.attacks.recipes import in_norm
from rdefense.threats import LARGEST

__all__ = ['Case', 'cases']

_WHOLE = 1.0  # the l_inf ball of all images
_POINTS = 50  # of noise, an image
_PROPOSALS = 500  # of the search; behind randomness, twice the attack's steps
_STARTS = 5
_SIZES = (0.25, 4.0)  # of steps, times the attack's


class Case(NamedTuple):
  """An ensemble at a radius."""

  name: str
  recipes: tuple[Recipe, ...]
  eps: float
  transferred: bool = False  # from the network without its defense


def cases(
  attack: Mapping[str, Any],
  eps: float,
  kind: str,
  norm: str = 'linf',
  transfers: bool = False,
) -> list[Case]:
  """All of an audit: no attack, the attack itself, and what is beside it.

  Args:
    attack: of a study, as `configs.parts.attack_run` makes it.
    eps: radius of the audit, in [0, 1] pixel units.
    kind: of the setting.
    norm: of the ball; only in l_inf is there an attack on the ball of all
      images, as steps in [0, 1] pixel units do not cross the others.
    transfers: whether there is a network without a defense to make images on.

  Raises:
    ValueError: on an attack of images made elsewhere, or of one step.
  """
  made = functools.partial(build.attack_recipes, norm=norm)
  itself = made(attack, eps, kind)
  if not itself or max(recipe.num_steps for recipe in itself) < 2:
    raise ValueError(
      f'attack {attack["name"]!r} takes no steps that could be too few: audit '
      'pgd, apgd, adaptive, eot or another that does.'
    )
  first = itself[0]
  common = first._replace(
    loss=losses.cross_entropy,
    optimizer=sign,
    num_restarts=1,
    keep='best',
    every_example=False,
  )
  step = common._replace(name='step', step_size=eps, num_steps=1, start='clean')
  noise = common._replace(
    name='noise',
    loss=losses.margin,
    num_steps=0,
    start='random',
    num_restarts=_POINTS,
  )
  proposals = 2 * first.num_steps if first.num_draws else _PROPOSALS
  longer = {**attack, 'num_steps': 2 * attack['num_steps']}
  again = tuple(
    recipe._replace(
      name=f'{recipe.name}/again', start='random', num_restarts=_STARTS
    )
    for recipe in itself
  )
  everything = []
  if norm == 'linf':
    whole = made(attack, _WHOLE, kind)
    everything = [Case('everything', whole, _WHOLE)]
  found = [
    Case('clean', (), 0.0),
    Case('attack', itself, eps),
    Case('half', made(attack, eps / 2, kind), eps / 2),
    *everything,
    Case('step', (in_norm(step, norm),), eps),
    Case('noise', (noise,), eps),
    Case('longer', made(longer, eps, kind), eps),
    Case('starts', again, eps),
  ]
  if first.optimizer is not None:
    search = square(proposals, num_draws=first.num_draws)
    found.append(Case('square', search, eps))
    if attack['name'] != 'apgd':  # which finds its own
      found.append(Case('sizes', _of_other_sizes(itself, norm), eps))
  if transfers:
    # Barely past the border of the bare network, an image crosses no other.
    plain = tuple(
      recipe._replace(keep='last', every_example=True)
      if recipe.optimizer is not None else recipe
      for recipe in made(attack, eps, 'plain')
    )  # fmt: skip
    found.append(Case('transfer', plain, eps, True))
  return found


def _of_other_sizes(recipes: tuple[Recipe, ...], norm: str):
  return tuple(
    recipe._replace(
      name=f'{recipe.name}/{size:g}',
      step_size=min(LARGEST[norm], size * recipe.step_size),
    )
    for size in _SIZES
    for recipe in recipes
  )

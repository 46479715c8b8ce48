"""Attacks: Optax chains inside a threat, a search, wrappers, their driver."""

from rdefense.attacks.apgd import apgd
from rdefense.attacks.assembly import Recipe, assemble
from rdefense.attacks.base import Attack, AttackInfo, Outcome, run
from rdefense.attacks.driver import Attacked, batch_attack
from rdefense.attacks.pgd import adam, mi_fgsm, pgd, sign, sign_adam, steepest
from rdefense.attacks.recipes import adaptive, paper_a
from rdefense.attacks.square import square
from rdefense.attacks.wrappers import (
  over_examples,
  restarts,
  stop_when_fooled,
)

__all__ = [
  'Attack',
  'AttackInfo',
  'Attacked',
  'Outcome',
  'Recipe',
  'adam',
  'adaptive',
  'apgd',
  'assemble',
  'batch_attack',
  'mi_fgsm',
  'over_examples',
  'paper_a',
  'pgd',
  'restarts',
  'run',
  'sign',
  'sign_adam',
  'square',
  'steepest',
  'stop_when_fooled',
]

"""From a config of plain data to the objects it names.

What `rdefense.builders` offers, under one name: every choice there is an
explicit `match` whose error lists what there is.
"""

from rdefense.builders.attacks import attack_recipes, training_recipe
from rdefense.builders.certifiers import certifier
from rdefense.builders.classifiers import (
  classifier,
  has_weights,
  pretrained,
  weights_path,
)
from rdefense.builders.datasets import JUDGED_ON, dataset, given
from rdefense.builders.defenses import WITH_CODEBOOK, codebook, defend, kind
from rdefense.builders.optimizers import optimizer

__all__ = [
  'JUDGED_ON',
  'WITH_CODEBOOK',
  'attack_recipes',
  'certifier',
  'classifier',
  'codebook',
  'dataset',
  'defend',
  'given',
  'has_weights',
  'kind',
  'optimizer',
  'pretrained',
  'training_recipe',
  'weights_path',
]

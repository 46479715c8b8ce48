"""Each name that a config may give builds, each unknown one lists them."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import build
from tests.builders.test_defenses import DEFENSES

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 1), np.uint8)


def any_defense(config):
  """With the arguments of its name, where that is known."""
  known = {c['name']: c for configs in DEFENSES.values() for c in configs}
  config = known.get(config['name'], config)
  return build.defend(config)(jnp.array([[0.0], [1.0]]), 10.0)


MEMBERS = {'ensemble': {'members': {'only': {'name': 'digits_cnn'}}}}
# For each thing with a name: how to build it, and arguments that suit all.
BUILDERS = {
  'model': (
    lambda config: build.classifier(
      {'name': config['name']} | MEMBERS.get(config['name'], {}), 10
    ),
    {},
  ),
  'codebook': (
    lambda config: build.codebook(config, IMAGES),
    {
      'num_codes': 2,
      'radius': 0.2,
      'kernel': 'identity',
      'norm': 'l1',
      'seed': 0,
    },
  ),
  'defense': (any_defense, {}),
  'attack': (
    lambda config: build.attack_recipes(config, 0.1, 'transformed'),
    {},
  ),
  'training attack': (
    build.training_recipe,
    {'num_steps': 2, 'step_size': 0.1, 'alpha': 4.0},
  ),
}


def listed(what):
  """The choices that the error of an unknown name lists."""
  function, arguments = BUILDERS[what]
  with pytest.raises(ValueError) as caught:
    function({'name': 'nonsense'} | arguments)
  message = str(caught.value)
  assert f"unknown {what} 'nonsense'" in message and '\n' not in message
  return re.search(r'choose: (.*)\.$', message)[1].split(', ')


@pytest.mark.parametrize('what', BUILDERS)
def test_an_unknown_name_lists_choices_that_all_build(what):
  function, arguments = BUILDERS[what]
  choices = listed(what)
  assert len(choices) >= 2
  for name in choices:
    built = function({'name': name} | arguments)
    assert built or (what, name) == ('attack', 'given')  # images, no recipes

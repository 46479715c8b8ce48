"""Names in a config: each known one builds, each unknown one lists them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import build
from rdefense.attacks.recipes import Recipe

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 1), np.uint8)

# For each thing with a name: how to build it, and arguments that suit all.
BUILDERS = {
  'model': (
    lambda config: build.classifier({'name': config['name']}, 10),
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
  'defense': (
    lambda config: build.defend(config)(jnp.array([[0.0], [1.0]]), 10.0),
    {'norm': 'linf', 'num_levels': 2},
  ),
  'attack': (lambda config: build.attack_recipes(config, 0.1, True), {}),
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
    assert function({'name': name} | arguments)


def test_an_unknown_schedule_lists_choices():
  config = {'learning_rate': 0.1, 'num_steps': 10}
  with pytest.raises(ValueError, match='choose: constant, cosine'):
    build.optimizer(config | {'schedule': 'nonsense'})


def test_an_unknown_dataset_lists_choices():
  config = {'name': 'nonsense', 'train_examples': 0}
  with pytest.raises(ValueError, match='digits, mnist'):
    build.dataset(config, 'train')


@pytest.mark.parametrize('count, expected', [(0, 1297), (17, 17)])
def test_a_dataset_is_cut_to_its_first_examples(count, expected):
  config = {'name': 'digits', 'train_examples': count, 'test_examples': 3}
  arrays = build.dataset(config, 'train')
  assert len(arrays.images) == len(arrays.labels) == expected
  whole = build.dataset(config | {'train_examples': 0}, 'train')
  np.testing.assert_array_equal(arrays.images, whole.images[:expected])
  assert arrays.num_classes == 10


def test_a_defense_that_is_not_deployed_is_the_identity():
  config = {'name': 'nearest_code', 'norm': 'linf'}
  codes, x = jnp.array([[0.0], [1.0]]), jnp.full((2, 2, 1), 0.3)
  key = jax.random.key(0)
  off = build.defend(config, on=False)(None, 10.0)
  np.testing.assert_array_equal(off.apply(key, x), x)
  on = build.defend(config)(codes, 10.0)
  np.testing.assert_array_equal(on.apply(key, x), 0 * x)


def test_arguments_of_an_attack_reach_its_recipe():
  config = {
    'name': 'paper_a',
    'on': 'discretized',
    'num_examples': 5,
    'curve': (),
    'num_steps': 7,
    'step_size': 0.02,
    'alpha': 3.0,
  }
  (recipe,) = build.attack_recipes(config, 0.1, True)
  assert isinstance(recipe, Recipe)
  assert (recipe.num_steps, recipe.step_size, recipe.alpha) == (7, 0.02, 3.0)
  assert recipe.every_example and recipe.keep == 'last'
  (pgd,) = build.attack_recipes(
    {'name': 'pgd', 'num_steps': 9, 'step_size': 0.01}, 0.1, False
  )
  assert (pgd.name, pgd.num_steps) == ('pgd9', 9)


def test_adaptive_leaves_the_surrogate_out_where_nothing_is_discretized():
  config = {'name': 'adaptive', 'num_steps': 5, 'alphas': (4.0, 10.0)}
  plain = build.attack_recipes(config, 0.16, False)
  ways = {(recipe.backward, recipe.alpha) for recipe in plain}
  assert ways == {('identity', 10.0), ('bpda', 10.0)}
  full = build.attack_recipes(config, 0.16, True)
  assert {(r.backward, r.alpha) for r in full} == {
    ('bpda', 4.0),
    ('bpda', 10.0),
    ('surrogate', 4.0),
    ('surrogate', 10.0),
    ('identity', 4.0),
  }
  for chosen in (plain, full):
    names = [recipe.name for recipe in chosen]
    assert len(set(names)) == len(names)  # names seed keys
    assert {recipe.start for recipe in chosen} >= {'clean', 'random', 'lower'}
    assert {recipe.step_size for recipe in chosen} == {0.02}


@pytest.mark.parametrize(
  'schedule, expected',
  [('constant', (0.1, 0.1, 0.1)), ('cosine', (0.0, 0.1, 0.0))],
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
  """Adam on constant gradients moves by the learning rate each step."""
  tx = build.optimizer(
    {'schedule': schedule, 'learning_rate': 0.1, 'num_steps': 20}
  )
  params = jnp.zeros(())
  state, moves = tx.init(params), []
  for _ in range(21):
    updates, state = tx.update(jnp.ones(()), state, params)
    params = optax.apply_updates(params, updates)
    moves.append(-float(updates))
  for step, rate in zip((0, 2, 20), expected):
    assert moves[step] == pytest.approx(rate, abs=1e-3)

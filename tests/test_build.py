"""Names in a config: each known one builds, each unknown one lists them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import build, defenses
from rdefense.attacks import recipes
from rdefense.attacks.recipes import Recipe
from rdefense.certify.randomized import best

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 1), np.uint8)

_CENTERS = {
  'sigma': 0.1,
  'tau': 0.1,
  'num_centers': 2,
  'num_samples': 5,
  'gamma': 40.0,
}
DEFENSES = {
  'plain': [{'name': 'identity'}],
  'transformed': [
    {'name': 'nearest_code', 'norm': 'l2'},
    {'name': 'binning', 'num_levels': 4},
    {'name': 'thermometer', 'num_levels': 4},
    {'name': 'bit_depth', 'num_levels': 4},
    {'name': 'bit_depth_steep', 'num_levels': 4},
    {'name': 'jpeg', 'quality': 20},
    {'name': 'jpeg_as_coded'},
    {'name': 'total_variation'},
  ],
  'randomized': [
    {'name': 'gaussian', 'sigma': 0.1},
    {'name': 'resize_padding', 'low': 7, 'high': 10, 'side': 10},
    {'name': 'rand_disc'} | _CENTERS,
    {'name': 'rand_disc_steep'} | _CENTERS,
    {'name': 'rand_mix', 'alpha': 40.0} | _CENTERS,
    {'name': 'rand_disc_fixed', 'sigma': 0.1, 'codes': ((0.1,), (1.0,))},
    {
      'name': 'rand_mix_fixed',
      'sigma': 0.1,
      'codes': ((0.1,), (1.0,)),
      'alpha': 9.0,
    },
  ],
}


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


def test_an_ensemble_needs_members():
  with pytest.raises(ValueError, match='ensemble of 0 members'):
    build.classifier({'name': 'ensemble'}, 10)


@pytest.mark.parametrize('what', BUILDERS)
def test_an_unknown_name_lists_choices_that_all_build(what):
  function, arguments = BUILDERS[what]
  choices = listed(what)
  assert len(choices) >= 2
  for name in choices:
    assert function({'name': name} | arguments)


def test_an_unknown_schedule_lists_choices():
  config = {'learning_rate': 0.1, 'num_steps': 10}
  with pytest.raises(ValueError, match='choose: constant, cosine, steps'):
    build.optimizer(config | {'schedule': 'nonsense'})


def test_gradients_are_clipped_to_the_global_norm():
  config = {'schedule': 'constant', 'learning_rate': 0.1, 'num_steps': 20}
  params, grads = jnp.zeros(2), (jnp.array([30.0, 40.0]), jnp.array([3.0, 4.0]))
  moments = []
  for clip_norm in (5.0, 0.0):
    tx = build.optimizer(config | {'clip_norm': clip_norm})
    for grad in grads:
      _, state = tx.update(grad, tx.init(params), params)
      moments.append(optax.tree.get(state, 'mu'))
  clipped, as_it_is, large, small = moments
  np.testing.assert_allclose(clipped, as_it_is, rtol=1e-6)
  np.testing.assert_allclose(large, 10 * small, rtol=1e-6)


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


@pytest.mark.parametrize(
  'kind, config',
  [(kind, config) for kind, configs in DEFENSES.items() for config in configs],
  ids=lambda v: v if isinstance(v, str) else v['name'],
)
def test_every_defense_is_built_and_is_of_its_kind(kind, config):
  assert build.kind(config) == kind
  codes, x = jnp.array([[0.0], [1.0]]), jnp.linspace(0, 1, 36).reshape(6, 6, 1)
  needed = codes if config['name'] in build.WITH_CODEBOOK else None
  defense = build.defend(config)(needed, 10.0)
  one, other = (defense.apply(jax.random.key(i), x) for i in (0, 1))
  assert np.array_equal(one, other) == (kind != 'randomized')
  assert np.array_equal(one, x) == (kind == 'plain')
  assert defense.surrogate(jax.random.key(0), x).shape == one.shape


def test_the_attacker_chooses_the_steepness_of_the_surrogate_alone():
  config = DEFENSES['randomized'][3]
  x, key = jnp.linspace(0, 1, 36).reshape(6, 6, 1), jax.random.key(0)
  flat, steep = (build.defend(config)(None, alpha) for alpha in (1.0, 100.0))
  same = [d.apply(jax.random.clone(key), x) for d in (flat, steep)]
  np.testing.assert_array_equal(*same)
  soft = [d.surrogate(jax.random.clone(key), x) for d in (flat, steep)]
  assert not np.allclose(*soft, atol=0.01)


def test_arguments_of_an_attack_reach_its_recipe():
  config = {
    'name': 'paper_a',
    'on': ('transformed',),
    'num_examples': 5,
    'curve': (),
    'num_steps': 7,
    'step_size': 0.02,
    'alpha': 3.0,
  }
  (recipe,) = build.attack_recipes(config, 0.1, 'transformed')
  assert isinstance(recipe, Recipe)
  assert (recipe.num_steps, recipe.step_size, recipe.alpha) == (7, 0.02, 3.0)
  assert recipe.every_example and recipe.keep == 'last'
  (pgd,) = build.attack_recipes(
    {'name': 'pgd', 'num_steps': 9, 'step_size': 0.01}, 0.1, 'plain'
  )
  assert (pgd.name, pgd.num_steps) == ('pgd9', 9)


def test_all_recipes_of_an_attack_have_the_precision_of_its_config():
  for config, expected in (({}, 'highest'), ({'precision': 'high'}, 'high')):
    config = {'name': 'adaptive', 'num_steps': 2, 'alphas': (4.0,)} | config
    found = build.attack_recipes(config, 0.1, 'transformed')
    assert {recipe.precision for recipe in found} == {expected}
  training = {'name': 'paper_a', 'num_steps': 2, 'step_size': 0.1}
  assert build.training_recipe(training).precision == 'default'
  with pytest.raises(ValueError, match="precision 'tf32' .*: highest, high"):
    build.attack_recipes({'name': 'fgsm', 'precision': 'tf32'}, 0.1, 'plain')


@pytest.mark.parametrize('name', ['paper_b', 'eot', 'strongest'])
def test_only_a_randomised_defense_is_drawn_several_times(name):
  config = {'name': name, 'num_steps': 4, 'num_draws': 6, 'on': ()}
  drawn = build.attack_recipes(config, 0.1, 'randomized')
  assert {recipe.num_draws for recipe in drawn} == {6}
  once = build.attack_recipes(config, 0.1, 'transformed')
  assert {recipe.num_draws for recipe in once} == {0}
  names = [recipe.name for recipe in drawn]
  assert len(set(names)) == len(names)  # names seed keys
  for recipe in drawn:
    assert recipe.num_steps == 4 and recipe.step_size > 0


def test_adaptive_leaves_the_surrogate_out_where_nothing_is_discretized():
  config = {'name': 'adaptive', 'num_steps': 5, 'alphas': (4.0, 10.0)}
  published, *plain = build.attack_recipes(config, 0.16, 'plain')
  assert published == recipes.pgd_madry()[0]
  ways = {(recipe.backward, recipe.alpha) for recipe in plain}
  assert ways == {('identity', 10.0), ('bpda', 10.0)}
  full = build.attack_recipes(config, 0.16, 'transformed')
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
    {
      'schedule': schedule,
      'learning_rate': 0.1,
      'num_steps': 20,
      'clip_norm': 0.0,
    }
  )
  params = jnp.zeros(())
  state, moves = tx.init(params), []
  for _ in range(21):
    updates, state = tx.update(jnp.ones(()), state, params)
    params = optax.apply_updates(params, updates)
    moves.append(-float(updates))
  for step, rate in zip((0, 2, 20), expected):
    assert moves[step] == pytest.approx(rate, abs=1e-3)


def test_pooling_comes_before_a_defense_and_a_resize_after_it():
  config = {
    'name': 'rand_disc_fixed',
    'codes': ((0.0,), (1.0,)),
    'sigma': 0.1,
  }
  pooling = {'window': 2, 'stride': 2, 'size': 6}
  defense = build.defend(config | {'pooling': pooling})(None, 10.0)
  x = jnp.linspace(0, 1, 36).reshape(6, 6, 1)
  key = jax.random.key(3)
  pooled = defenses.max_pooling(2, 2).apply(key, x)
  see, _ = build.certifier(config | {'pooling': pooling}, key, 0.1)
  np.testing.assert_array_equal(see(np.asarray(x)[None])[0], pooled)
  out = defense.apply(jax.random.clone(key), x)
  assert out.shape == x.shape
  assert set(np.unique(np.asarray(out)[::2, ::2])) <= {0.0, 1.0}


@pytest.mark.parametrize(
  'config',
  [
    {'name': 'gaussian', 'sigma': 0.1},
    {'name': 'rand_disc_fixed', 'codes': ((0.0,), (1.0,)), 'sigma': 0.1},
    {'name': 'rand_mix_fixed', 'codes': ((0.0,), (1.0,)), 'sigma': 0.1},
    {
      'name': 'rand_disc',
      'sigma': 0.1,
      'tau': 0.1,
      'num_centers': 2,
      'num_samples': 9,
      'gamma': 40.0,
    },
  ],
  ids=lambda config: config['name'],
)
def test_what_is_proved_shrinks_with_the_radius(config):
  images = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
  see, certify = build.certifier(config, jax.random.key(0), 0.01)
  shares = np.array([[0.99, 0.99]])
  margins = [best(certify(see(images), eps, shares))[0] for eps in (0.0, 0.02)]
  assert 0.95 < margins[0] <= 0.98 + 1e-9
  assert margins[1] < margins[0]


def test_a_defense_without_a_certificate_says_which_have_one():
  with pytest.raises(ValueError, match="defense 'resize_padding'.*gaussian"):
    build.certifier({'name': 'resize_padding'}, jax.random.key(0), 0.1)

"""What of a config reaches the recipes of its attack."""

import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import build
from rdefense.attacks import autoattack, recipes
from rdefense.attacks.assembly import Recipe, check_recipe


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


def test_an_option_that_nothing_reads_is_refused():
  config = {'name': 'pgd', 'num_steps': 9, 'step_size': 0.1, 'stepsize': 0.2}
  with pytest.raises(ValueError, match="option of an attack 'stepsize'"):
    build.attack_recipes(config, 0.1, 'plain')


def test_a_step_in_grey_levels_is_refused():
  config = {'name': 'pgd', 'num_steps': 9, 'step_size': 2, 'at_most_eps': 0.5}
  with pytest.raises(ValueError, match='step_size=2 is larger than 1.*by 255'):
    build.attack_recipes(config, 0.1, 'plain')


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
  'name', ['pgd', 'adaptive', 'fgsm', 'mi_fgsm', 'apgd', 'square']
)
def test_what_averages_no_draws_is_no_attack_on_a_randomised_defense(name):
  config = {'name': name, 'num_steps': 5}
  if name == 'pgd':
    config['step_size'] = 0.01
  if name == 'fgsm':
    del config['num_steps']
  assert build.attack_recipes(config, 0.1, 'plain')
  with pytest.raises(ValueError, match=f"'{name}' averages no draws, .*on="):
    build.attack_recipes(config, 0.1, 'randomized')


@pytest.mark.parametrize(
  'options, match',
  [
    ({'num_steps': -3}, 'num_steps of pgd-3=-3'),
    ({'num_restarts': 0}, 'num_restarts of pgd5=0'),
  ],
)
def test_numbers_with_which_an_attack_does_nothing_are_refused(options, match):
  config = {'name': 'pgd', 'num_steps': 5, 'step_size': 0.1} | options
  with pytest.raises(ValueError, match=match):
    build.attack_recipes(config, 0.1, 'transformed')


def test_a_search_takes_draws_of_a_randomised_defense_alone():
  config = {'name': 'square', 'num_steps': 5, 'num_draws': 4}
  for kind, draws in (('plain', 0), ('transformed', 0), ('randomized', 4)):
    (recipe,) = build.attack_recipes(config, 0.1, kind)
    assert recipe.optimizer is None
    assert (recipe.num_steps, recipe.num_draws) == (5, draws)


def test_auto_pgd_aims_at_as_many_classes_as_asked_for():
  config = {'name': 'apgd', 'num_steps': 5, 'num_targets': 2, 'num_draws': 4}
  for kind, draws in (('transformed', 0), ('randomized', 4)):
    chosen = build.attack_recipes(config, 0.1, kind)
    assert [recipe.name for recipe in chosen] == [
      'apgd_ce',
      'apgd_dlr+1',
      'apgd_dlr+2',
    ]
    assert {(r.step_size, r.num_steps, r.num_draws) for r in chosen} == {
      (0.2, 5, draws)
    }
  config['num_targets'] = 0
  names = [r.name for r in build.attack_recipes(config, 0.1, 'plain')]
  assert names == ['apgd_ce', 'apgd_dlr']
  with pytest.raises(ValueError, match='num_targets=-1'):
    build.attack_recipes(config | {'num_targets': -1}, 0.1, 'plain')


def test_a_search_keeps_its_best():
  (recipe,) = autoattack.square(5)
  with pytest.raises(ValueError, match='keep of square by squares'):
    check_recipe(recipe._replace(keep='last'))


@pytest.mark.parametrize(
  'config, match',
  [
    ({'name': 'square', 'alpha': 3.0}, "option of square 'alpha'"),
    ({'name': 'pgd', 'alphas': (1.0,)}, "option of pgd_madry 'alphas'"),
    ({'name': 'adaptive', 'keep': 'last'}, "option of adaptive 'keep'"),
  ],
)
def test_an_option_that_only_other_attacks_take_is_refused(config, match):
  with pytest.raises(ValueError, match=match):
    build.attack_recipes(config, 0.1, 'transformed')


@pytest.mark.parametrize('norm', ['linf', 'l2', 'l1'])
@pytest.mark.parametrize(
  'config',
  [
    {'name': 'pgd', 'num_steps': 9, 'step_size': 0.1},
    {'name': 'apgd', 'num_steps': 9},
    {'name': 'pgd_falling', 'num_steps': 9},
    {'name': 'mi_fgsm', 'num_steps': 9},
    {'name': 'fgsm'},
  ],
  ids=lambda config: config['name'],
)
def test_the_first_step_is_the_steepest_of_the_norm(config, norm):
  """Of all steps of its length it lowers a linear loss the most."""
  (recipe, *_) = build.attack_recipes(config, 0.2, 'plain', norm)
  slope = jnp.array([[[3.0], [-4.0], [0.5]]])
  tx = recipe.optimizer(recipe.step_size)
  step, _ = tx.update(
    slope, tx.init(slope), slope,
    value=jnp.float32(0), project=lambda z: z,
  )  # fmt: skip
  length = recipe.step_size
  order = {'linf': np.inf, 'l2': 2, 'l1': 1}[norm]
  assert np.linalg.norm(step.ravel(), order) == pytest.approx(length, rel=1e-4)
  dual = {'linf': 1, 'l2': 2, 'l1': np.inf}[norm]
  most = length * np.linalg.norm(slope.ravel(), dual)
  assert -jnp.vdot(step, slope) == pytest.approx(most, rel=1e-4)


def test_training_steps_are_the_steepest_of_the_norm():
  config = {'name': 'pgd', 'num_steps': 2, 'step_size': 0.7, 'alpha': 4.0}
  signs = build.training_recipe(config)
  assert signs.optimizer is build.training_recipe(config, 'linf').optimizer
  other = build.training_recipe(config, 'l2')
  assert other.optimizer is not signs.optimizer
  assert other._replace(optimizer=signs.optimizer) == signs


def test_an_unknown_norm_is_refused():
  pgd = {'name': 'pgd', 'num_steps': 2, 'step_size': 0.7, 'alpha': 4.0}
  for make in (
    lambda: build.attack_recipes({'name': 'fgsm'}, 0.1, 'plain', 'l3'),
    lambda: build.training_recipe(pgd, 'l3'),
    lambda: autoattack.apgd(0.1, norm='l3'),
  ):
    with pytest.raises(ValueError, match="norm='l3'"):
      make()


@pytest.mark.parametrize('norm', ['linf', 'l2', 'l1'])
def test_steps_of_adam_have_their_length_in_the_norm(norm):
  """An entry moves as far as others whose slopes are always much larger."""
  chosen = build.attack_recipes({'name': 'adaptive'}, 0.2, 'transformed', norm)
  (recipe, *_) = [r for r in chosen if r.name.startswith('margin/bpda')]
  slope = jnp.array([[[3.0], [-40.0], [0.5]]])
  tx = recipe.optimizer(recipe.step_size)
  step, _ = tx.update(slope, tx.init(slope), slope)
  order = {'linf': np.inf, 'l2': 2, 'l1': 1}[norm]
  length = np.linalg.norm(step.ravel(), order)
  assert length == pytest.approx(recipe.step_size, rel=1e-4)
  moved = step[step != 0]
  np.testing.assert_allclose(abs(moved), abs(moved[0]), rtol=1e-4)

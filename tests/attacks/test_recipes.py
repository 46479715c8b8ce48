"""Recipes say what their papers did; the adaptive ensemble leaves no gap."""

import itertools

import numpy as np
import pytest

from rdefense import losses, threats
from rdefense.attacks import adam, mi_fgsm, recipes, sign, sign_adam
from rdefense.attacks.pgd import KEEP
from rdefense.defenses import BACKWARD, binning
from tests.attacks.mean_pixel import X, attacked

EVERY = {
  'paper_a': recipes.paper_a(),
  'pgd_madry': recipes.pgd_madry(),
  'fgsm': recipes.fgsm(0.3),
  'mi_fgsm': recipes.mi_fgsm(0.3),
  'adaptive': recipes.adaptive(0.3),
}


@pytest.mark.parametrize('name', EVERY)
def test_fields_are_choices_that_the_library_knows(name):
  for recipe in EVERY[name]:
    assert recipe.start in threats.STARTS
    assert recipe.backward in BACKWARD
    assert recipe.keep in KEEP
    assert recipe.step_size > 0 and recipe.num_steps >= 1
    assert recipe.alpha > 0 and recipe.num_restarts >= 1


def test_names_are_unique_because_they_seed_keys():
  names = [recipe.name for recipe in itertools.chain(*EVERY.values())]
  assert len(set(names)) == len(names)


def test_adaptive_covers_every_start_loss_way_and_alpha_once():
  alphas = (4.0, 10.0, 30.0)
  got = [
    (r.start, r.loss, r.backward, r.alpha)
    for r in recipes.adaptive(0.3, alphas=alphas)
  ]
  soft = itertools.product(
    threats.STARTS,
    (losses.margin, losses.cross_entropy),
    ('bpda', 'surrogate'),
    alphas,
  )
  # The identity has no surrogate, hence no alpha: once for each start, loss.
  plain = {
    (start, loss, 'identity')
    for start in threats.STARTS
    for loss in (losses.margin, losses.cross_entropy)
  }
  assert len(set(got)) == len(got)
  assert {g for g in got if g[2] != 'identity'} == set(soft)
  assert sorted(map(str, (g[:3] for g in got if g[2] == 'identity'))) == sorted(
    map(str, plain)
  )


@pytest.mark.parametrize('eps', [8 / 255, 0.1, 0.3])
def test_steps_of_adaptive_scale_with_eps_and_cross_the_ball(eps):
  for recipe in recipes.adaptive(eps, num_steps=50):
    assert recipe.step_size == pytest.approx(eps / 8)
    assert recipe.num_steps * recipe.step_size >= 2 * eps
    assert recipe.num_steps == 50


def test_a_chosen_way_and_alpha_are_all_that_adaptive_uses():
  some = recipes.adaptive(0.3, alphas=(7.0,), backward=('identity', 'bpda'))
  assert {(r.backward, r.alpha) for r in some} == {
    ('identity', 7.0),
    ('bpda', 7.0),
  }
  assert len(some) == 4 * 2 * 2


@pytest.mark.parametrize('eps', [8 / 255, 0.3])
def test_undefended_contains_the_published_attack_at_a_step_that_fits(eps):
  published, *others = recipes.undefended(eps, num_steps=16)
  assert (published.name, published.num_steps) == ('pgd100', 100)
  assert published.step_size == min(0.01, eps / 4)
  assert {recipe.num_steps for recipe in others} == {16}
  names = [recipe.name for recipe in (published, *others)]
  assert len(set(names)) == len(names)


def test_paper_a_is_what_its_code_runs():
  (recipe,) = recipes.paper_a()
  assert recipe.loss is losses.margin
  assert recipe.optimizer is sign_adam
  assert (recipe.num_steps, recipe.step_size, recipe.alpha) == (100, 0.01, 10)
  assert (recipe.start, recipe.backward, recipe.keep) == (
    'lower',
    'bpda',
    'last',
  )
  assert recipe.num_restarts == 1 and recipe.every_example


@pytest.mark.parametrize('keep', ['best', 'last'])
def test_the_undefended_attack_of_paper_a_judges_every_last_iterate(keep):
  (recipe,) = recipes.pgd_madry(keep=keep)
  assert recipe.loss is losses.cross_entropy
  assert (recipe.start, recipe.num_steps, recipe.step_size) == (
    'random',
    100,
    0.01,
  )
  assert recipe.every_example == (keep == 'last')


@pytest.mark.parametrize(
  'make, total',
  [(recipes.fgsm, 0.25), (recipes.mi_fgsm, 0.25)],
  ids=['fgsm', 'mi_fgsm'],
)
def test_fgsm_and_its_momentum_end_in_the_corner_of_eps(make, total):
  (recipe,) = make(0.25)
  assert recipe.start == 'clean'
  assert recipe.num_steps * recipe.step_size == pytest.approx(total)
  out, _ = attacked(recipe._replace(keep='last'), eps=0.25)
  np.testing.assert_allclose(out.z, X - 0.25, atol=1e-6)


@pytest.mark.parametrize('num_steps', [0, 2.5])
def test_momentum_over_no_whole_number_of_steps_is_refused(num_steps):
  with pytest.raises(ValueError, match=f'num_steps={num_steps} must be'):
    recipes.mi_fgsm(0.3, num_steps)


@pytest.mark.parametrize('backward', BACKWARD)
def test_adaptive_recipes_fool_a_binned_classifier(backward):
  chosen = [
    r
    for r in recipes.adaptive(0.3, num_steps=12, alphas=(4.0,))
    if r.backward == backward and r.loss is losses.margin
  ]
  assert len(chosen) == len(threats.STARTS)
  assert attacked(chosen[0], defense=binning(2, 4.0))[0].margin < 0


def test_falling_steps_begin_at_half_the_radius_and_end_fine():
  (recipe,) = recipes.pgd_falling(0.2, num_steps=10)
  tx = recipe.optimizer(recipe.step_size)
  grad, state = np.float32([1.0, -2.0]), tx.init(np.zeros(2, np.float32))
  lengths = []
  for _ in range(10):
    updates, state = tx.update(grad, state)
    np.testing.assert_array_equal(np.sign(updates), -np.sign(grad))
    lengths.append(float(np.abs(updates).max()))
  # By hand: 0.1 (1 - 0.95 i / 10).
  expected = [0.1 * (1 - 0.095 * i) for i in range(10)]
  np.testing.assert_allclose(lengths, expected, rtol=1e-5)
  assert recipes.pgd_falling(0.1, 10)[0].optimizer is recipe.optimizer


def test_straight_through_gradients_are_followed_by_adam_others_by_signs():
  chosen = {r.backward: set() for r in EVERY['adaptive']}
  for recipe in EVERY['adaptive']:
    chosen[recipe.backward].add(recipe.optimizer)
  assert chosen.pop('bpda') == {adam}
  assert chosen and set().union(*chosen.values()) == {sign}


def test_mi_fgsm_has_momentum():
  (recipe,) = EVERY['mi_fgsm']
  assert recipe.optimizer is mi_fgsm


@pytest.mark.parametrize(
  'backward, words',
  [
    ('bpda', "backward='bpda': way='b' is unknown"),
    (('bpda', 'stp'), "way='stp' is unknown; choose one of: .*bpda"),
  ],
)
def test_ways_are_a_tuple_of_those_there_are(backward, words):
  with pytest.raises(ValueError, match=words):
    recipes.adaptive(0.1, backward=backward)

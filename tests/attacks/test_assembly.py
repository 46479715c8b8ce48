"""A recipe becomes the attack that it says, traced parts and restarts too."""

import jax
import numpy as np
import pytest

from rdefense import attacks, losses, threats
from rdefense.attacks import assemble, recipes, run
from rdefense.attacks.assembly import Recipe, check_ensemble, check_recipe
from rdefense.defenses import identity
from tests.attacks.mean_pixel import X, attacked, logits_fn


def test_best_stops_when_fooled_and_last_goes_on():
  (recipe,) = recipes.pgd_madry(num_steps=30, step_size=0.05)
  best, _ = attacked(recipe, start='clean')
  last, _ = attacked(recipe._replace(keep='last'), start='clean')
  assert best.done and not last.done
  # 0.6 falls below 0.5 in the third step of 0.05 (the second may tie).
  np.testing.assert_allclose(best.z, X - 0.15, atol=0.0501)
  np.testing.assert_allclose(last.z, X - 0.3, atol=1e-6)
  assert last.margin < best.margin < 0


def test_start_and_step_size_can_be_overridden_by_traced_values():
  (recipe,) = recipes.pgd_madry(num_steps=1)
  recipe = recipe._replace(keep='last')

  @jax.jit
  def fn(start, step_size):
    attack = assemble(
      recipe, logits_fn, identity(), threats.linf(0.3), start, step_size
    )
    return run(attack, 1)(jax.random.key(0), X, 0)[0].z

  for name, first in [('clean', 0.6), ('lower', 0.3), ('upper', 0.9)]:
    z = fn(threats.STARTS.index(name), 0.125)
    np.testing.assert_allclose(z, max(first - 0.125, 0.3), atol=1e-6)


def test_the_best_of_different_restarts_is_submitted():
  (recipe,) = recipes.pgd_madry(num_steps=1, step_size=0.01, num_restarts=6)
  # A small ball, so that nobody is fooled and stopped.
  out, info = attacked(recipe, eps=0.05)
  assert info.margin.shape == (1, 6) and len(np.unique(info.margin)) == 6
  assert 0 < out.margin == info.margin.min()


@pytest.mark.parametrize(
  'options, match',
  [
    ({'num_steps': 2.5}, 'num_steps of a=2.5'),
    ({'step_size': -0.1}, 'step_size of a=-0.1'),
    ({'alpha': -1.0}, 'alpha of a=-1'),
    ({'start': 'corner'}, "start of a='corner'"),
    ({'backward': 'exact'}, "backward of a='exact'"),
    ({'keep': 'all'}, "keep of a='all'"),
    ({'num_draws': 6, 'chunk': 4}, 'chunk=4 of a does not divide its 6'),
  ],
)
def test_a_recipe_that_would_do_nothing_is_refused(options, match):
  recipe = Recipe('a', losses.margin, attacks.sign, 0.1, 3)
  check_recipe(recipe)
  with pytest.raises(ValueError, match=match):
    check_recipe(recipe._replace(**options))


def test_one_recipe_and_several_are_not_taken_for_each_other():
  ensemble = recipes.pgd_madry(num_steps=1)
  with pytest.raises(ValueError, match='the single recipe pgd1: .*sequence'):
    check_ensemble(ensemble[0])
  with pytest.raises(ValueError, match='recipe is a tuple, expected one'):
    check_recipe(ensemble)

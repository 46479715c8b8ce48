"""AutoAttack's recipes: what they aim at, and what they find."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import losses, threats
from rdefense.attacks import batch_attack
from rdefense.attacks.assembly import assemble, check_ensemble
from rdefense.attacks.autoattack import apgd, square
from rdefense.attacks.recipes import pgd_madry
from rdefense.defenses import binning, identity

EPS, SHAPE, NUM_CLASSES = 0.03, (3, 3, 1), 4
RNG = np.random.default_rng(5)
W = RNG.normal(size=(NUM_CLASSES, 9)).astype(np.float32)
X = RNG.uniform(0.3, 0.7, (12, *SHAPE)).astype(np.float32)
LABELS = (X.reshape(12, 9) @ W.T).argmax(1)


def attacked(recipe, logits_fn, defense=None, key=None, num_draws=1):
  threat = threats.linf(EPS)
  made = lambda _: assemble(recipe, logits_fn, defense or identity(), threat)
  rows = np.arange(12), X, LABELS, np.ones(12, bool)
  key = jax.random.key(0) if key is None else key
  return batch_attack(made)((), key, recipe.num_steps, *rows, num_draws)


def linear(x):
  return jnp.asarray(W) @ x.ravel()


def test_the_ensemble_is_that_of_autoattack():
  recipes = apgd(EPS, num_targets=NUM_CLASSES - 1) + square(5000)
  check_ensemble(recipes)
  assert [recipe.name for recipe in recipes] == [
    'apgd_ce',
    'apgd_dlr+1',
    'apgd_dlr+2',
    'apgd_dlr+3',
    'square',
  ]
  logits = jnp.array([4.0, 3.0, 1.0, 0.5])
  for offset, recipe in enumerate(recipes[1:4], 1):
    expected = (4.0 - logits[offset]) / (4.0 - 0.75)
    np.testing.assert_allclose(recipe.loss(logits, 0), expected, rtol=1e-6)


def test_recipes_of_one_length_share_what_is_compiled():
  first, second = apgd(EPS, 7, num_targets=2), apgd(EPS / 2, 7, num_targets=2)
  for mine, its in zip(first, second, strict=True):
    assert mine.optimizer is its.optimizer and mine.loss is its.loss


def test_a_linear_classifier_falls_exactly_where_a_corner_fools_it():
  gap = (W[LABELS][:, None] - W[None]).astype(np.float64)  # [12, classes, 9]
  worst = (gap * X.reshape(12, 1, 9)).sum(-1) - EPS * np.abs(gap).sum(-1)
  worst[np.arange(12), LABELS] = np.inf
  breakable = worst.min(-1) < 0
  assert 0 < breakable.sum() < 12
  left = [
    attacked(recipe, linear).margin
    for recipe in apgd(EPS, 20, num_targets=NUM_CLASSES - 1)
  ]
  np.testing.assert_array_equal(np.min(left, 0) < 0, breakable)


def test_logits_of_any_scale_are_no_defense():
  """So large that the cross-entropy of float32 has no gradient left."""
  huge = lambda x: 1e4 * linear(x)
  _, ratio = apgd(EPS, 20)
  assert ratio.loss is losses.dlr
  (pgd,) = pgd_madry(20, EPS / 4)
  broken = [(attacked(r, huge).margin < 0).sum() for r in (ratio, pgd)]
  assert broken[0] > broken[1]


def test_codes_are_attacked_through_their_surrogate(key):
  (ce, _) = apgd(EPS, 20, alpha=8.0)
  found = attacked(ce, linear, binning(6, alpha=8.0), key)
  deployed = jax.vmap(lambda x: linear(binning(6).apply(None, x)))(found.z)
  margins = jax.vmap(losses.margin)(deployed, LABELS)
  np.testing.assert_allclose(found.margin, margins, rtol=1e-5, atol=1e-6)
  assert np.abs(found.z - X).max() <= EPS + 1e-6

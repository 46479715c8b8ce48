"""Recipes against randomised defenses: budgets, names, and what they break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import deployed, evaluation, losses
from rdefense.attacks import adam, assemble, batch_attack, eot, run
from rdefense.data import Batch
from rdefense.defenses import Defense, frozen
from rdefense.defenses.randomized import rand_disc_fixed
from rdefense.threats import linf

SHAPE = (4, 4, 1)
W = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)


def linear(params, x):
  return jnp.stack([(params * x).sum(), 0.0])


def noisy(codes, alpha):
  """Thresholding under noise: no gradient but through a surrogate."""
  del codes
  return rand_disc_fixed([[0.0], [1.0]], 0.15, alpha)


def test_paper_bs_attack_is_as_its_protocol_says():
  (recipe,) = eot.paper_b(0.1)
  assert (recipe.num_steps, recipe.num_draws) == (40, 20)
  assert recipe.step_size == pytest.approx(0.1 / 10)
  assert recipe.loss is losses.cross_entropy and recipe.average == 'loss'
  assert (recipe.start, recipe.backward) == ('random', 'surrogate')
  assert recipe.keep == 'last' and recipe.every_example


def test_on_imagenet_it_is_as_the_code_runs_it():
  (recipe,) = eot.paper_b_imagenet(4 / 255)
  assert (recipe.num_steps, recipe.num_draws) == (10, 100)
  assert recipe.step_size == pytest.approx(0.8 / 255)
  assert recipe.start == 'clean' and recipe.keep == 'last'
  logits = jnp.log(jnp.array([0.2, 0.8]))
  assert recipe.loss(logits, 0) == pytest.approx(np.log(0.21), abs=1e-6)


def test_the_strongest_leaves_nothing_out():
  ensemble = eot.strongest(0.1, alphas=(10.0, 40.0))
  assert {r.backward for r in ensemble} == {'bpda', 'surrogate', 'identity'}
  assert {r.average for r in ensemble} == {'loss', 'log_probability'}
  assert {r.alpha for r in ensemble} >= {10.0, 40.0}
  assert {r.loss for r in ensemble} == {losses.cross_entropy, losses.margin}
  assert all(r.num_draws == 20 and r.keep == 'best' for r in ensemble)
  assert len({r.name for r in ensemble}) == len(ensemble)
  with pytest.raises(ValueError, match='alphas=.. must not be empty'):
    eot.strongest(0.1, alphas=())


@pytest.mark.parametrize('make', [eot.eot, eot.paper_b, eot.strongest])
@pytest.mark.parametrize('num_steps', [0, 2.5])
def test_no_whole_number_of_steps_is_refused(make, num_steps):
  with pytest.raises(ValueError, match=f'num_steps={num_steps} must be'):
    make(0.1, num_steps)


def misleading():
  """Half of all draws turn a pixel's gradient round; their mean does not."""

  def fn(key, x):
    return x * (1 + 3 * jax.random.rademacher(key, x.shape, x.dtype))

  return Defense(fn, fn)


def attacked(recipe, num_parts, defense=None):
  attack = assemble(
    recipe, lambda x: linear(W, x), defense or noisy(None, 40.0), linf(0.3)
  )
  x = jnp.full(SHAPE, 0.5)
  fn = jax.jit(run(attack, recipe.num_steps, num_parts))
  return fn(jax.random.key(2), x, 0)[0]


def test_chunks_side_by_side_are_the_same_attack():
  (recipe,) = eot.eot(0.3, num_steps=5, num_draws=6)
  whole = attacked(recipe._replace(chunk=6), 1)
  for chunk in (1, 3):
    parts = attacked(recipe._replace(chunk=chunk), 6 // chunk)
    # Means of six in another order; signs of sums of noise are far from 0.
    np.testing.assert_allclose(parts.z, whole.z, atol=1e-6)
    np.testing.assert_allclose(parts.margin, whole.margin, atol=1e-5)


@pytest.mark.parametrize('loop', ['host', 'scan'])
def test_the_driver_spends_the_parts_it_is_told_to(loop):
  (recipe,) = eot.eot(0.3, num_steps=5, num_draws=6)
  recipe = recipe._replace(chunk=2)

  def make_attack(params):
    return assemble(
      recipe, lambda x: linear(params, x), noisy(None, 40.0), linf(0.3)
    )

  x = np.full((16, *SHAPE), 0.5, np.float32)
  index, y, everyone = np.arange(16), np.zeros(16), np.ones(16, bool)
  attack = batch_attack(make_attack, loop=loop)
  out = attack(W, jax.random.key(2), 5, index, x, y, everyone, 3)
  np.testing.assert_array_equal(out.evaluations, (5 + 1) * 3)

  def one(key, x):
    single = make_attack(W)
    return run(single, 5, 3)(key, x, 0)[0]

  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(2), index)
  alone = jax.jit(jax.vmap(one))(keys, x)
  np.testing.assert_allclose(out.z, alone.z, atol=1e-6)
  np.testing.assert_allclose(out.margin, alone.margin, atol=1e-5)


def test_averaging_more_draws_finds_a_better_point():
  """One draw misleads; the mean of eighty agrees with the truth."""
  (one,), (many,) = (
    eot.eot(0.1, num_steps=6, num_draws=n, start='clean', keep='last')
    for n in (1, 80)
  )
  ideal = -np.sign(W)  # every pixel against its weight
  agreement = [
    float((np.sign(attacked(r, 1, misleading()).z - 0.5) == ideal).mean())
    for r in (one._replace(chunk=1), many._replace(chunk=80))
  ]
  assert agreement[1] > agreement[0]
  assert agreement[1] >= 14 / 16


def test_frozen_randomness_falls_where_fresh_randomness_stands():
  """A key of its own permutes the pixels: only whoever knows it can attack."""

  def shuffled(codes, alpha):
    del codes, alpha

    def fn(key, x):
      signs = jax.random.rademacher(key, x.shape, x.dtype)
      return x + 0.2 * signs * (x - 0.5)  # the gradient stays, amplified

    return Defense(fn, fn)

  key = jax.random.key(9)
  fixed = lambda codes, alpha: frozen(shuffled(codes, alpha), key)
  x = np.full((4, *SHAPE), 0.5, np.float32)
  x[:, 0, 0] += 0.02 * np.sign(W[0, 0])
  batch = Batch(np.arange(4), x, np.zeros(4, np.int32), np.ones(4, bool))
  (recipe,) = eot.eot(0.1, num_steps=10, num_draws=0)
  target = deployed.Target(linear, fixed, W)
  verdicts = evaluation.attack(
    target, (recipe,), 'linf', 0.1, jax.random.key(0), batch
  )
  assert (verdicts.draws != 0).all()
  same = evaluation.attack(
    target, (recipe,), 'linf', 0.1, jax.random.key(1), batch
  )
  assert (same.draws != 0).all()  # whatever the evaluation's own key


def test_paper_b_is_satisfied_with_a_lead_of_50():
  (recipe,) = eot.paper_b_cw(8 / 255)
  assert recipe.name == 'paper_b_cw'
  assert recipe.loss(jnp.array([-60.0, 0.0]), 0) == -50
  assert recipe.loss(jnp.array([-40.0, 0.0]), 0) == -40


def test_the_strongest_ensemble_has_steps_and_restarts_of_its_optimizers():
  for recipe in eot.strongest(0.1, num_steps=40, num_restarts=3):
    step_size = 0.0125 if recipe.optimizer is adam else 0.01
    assert recipe.step_size == pytest.approx(step_size)
    assert recipe.num_restarts == 3


def test_the_average_and_the_restarts_of_a_recipe_are_those_asked_for():
  (recipe,) = eot.eot(0.1, average='probability', num_restarts=2)
  assert (recipe.average, recipe.num_restarts) == ('probability', 2)

"""One optimiser step, resumption, devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import checkpoints, training
from rdefense.data import gather
from rdefense.defenses import Defense, binning, identity, nearest_code
from rdefense.parallel import layout
from tests.training.toy import (
  ARRAYS,
  BATCH,
  LINEAR,
  NUM,
  RECIPE,
  batch_of,
  fresh,
  steps,
)


def test_the_loss_falls_and_the_toy_problem_is_learnt():
  tx = optax.adam(0.05)
  update = training.updater(LINEAR, tx, identity())
  state, losses = steps(update, fresh(tx), 0, 60)
  assert losses[0] == pytest.approx(np.log(2), abs=0.02)
  assert np.mean(losses[-5:]) < 0.35
  batch = gather(ARRAYS, np.arange(NUM))
  _, metrics = update(
    state, jax.random.key(1), batch.index, batch.image, batch.label
  )
  assert metrics['accuracy'] >= 0.9


def test_images_of_integers_are_refused():
  tx = optax.sgd(0.1)
  update = training.updater(LINEAR, tx, identity())
  batch = gather(ARRAYS, np.arange(8))
  grey = np.round(255 * batch.image).astype(np.uint8)
  with pytest.raises(ValueError, match='dtype uint8, .*data.to_unit'):
    update(fresh(tx), jax.random.key(1), batch.index, grey, batch.label)


@pytest.mark.parametrize('adversarial', [False, True], ids=['nat', 'adv'])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, adversarial):
  tx = optax.adam(0.05)
  update = training.updater(LINEAR, tx, binning(4))
  attack = None
  if adversarial:
    attack = training.attacker(LINEAR, binning(4), RECIPE)
  whole, losses = steps(update, fresh(tx), 0, 6, attack)
  half, before = steps(update, fresh(tx), 0, 3, attack)
  checkpoints.save(tmp_path, 3, half)
  loaded = checkpoints.load(tmp_path, fresh(tx))
  resumed, after = steps(update, loaded, int(loaded.step), 6, attack)
  chex.assert_trees_all_equal(resumed, whole)
  assert before + after == losses
  assert int(resumed.step) == 6


@pytest.mark.parametrize('devices', [1, 2])
def test_one_device_equals_eight(devices):
  tx = optax.sgd(0.1)
  states = []
  for where in (layout(jax.devices()[:devices]), layout()):
    update = training.updater(LINEAR, tx, binning(4), where=where)
    attack = training.attacker(LINEAR, binning(4), RECIPE, where=where)
    states.append(steps(update, fresh(tx), 0, 4, attack)[0].params)
  # The mean over the batch is summed in another order.
  chex.assert_trees_all_close(*states, rtol=1e-5, atol=1e-6)


def test_training_on_discretized_images_sees_only_codes():
  tx = optax.sgd(0.1)
  codes = np.array([[0.2], [0.7]], np.float32)
  defense = nearest_code(codes)
  batch, key = batch_of(0), jax.random.key(1)
  discretized = jax.vmap(lambda x: defense.apply(None, x))(batch.image)
  discretized = np.asarray(discretized)
  assert set(np.unique(discretized)) == set(codes.ravel())

  def params(defense, images):
    update = training.updater(LINEAR, tx, defense)
    state, _ = update(fresh(tx), key, batch.index, images, batch.label)
    return state.params

  behind = params(defense, batch.image)
  chex.assert_trees_all_close(behind, params(identity(), discretized))
  raw = params(identity(), batch.image)
  assert not np.allclose(behind['w'], raw['w'], atol=1e-4)


def test_the_surrogate_is_not_trained_on():
  def broken(key, x):
    return x * jnp.nan

  update = training.updater(
    LINEAR, optax.sgd(0.1), Defense(binning(4).apply, broken)
  )
  state, _ = steps(update, fresh(optax.sgd(0.1)), 0, 1)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_sum_is_the_mean_times_the_batch():
  grads = {}
  for reduction in ('mean', 'sum'):
    tx = optax.sgd(1.0)
    update = training.updater(LINEAR, tx, identity(), reduction)
    state, losses = steps(update, fresh(tx), 0, 1)
    start = fresh(tx).params
    grads[reduction] = jax.tree.map(lambda a, b: a - b, state.params, start)
    assert losses[0] == pytest.approx(np.log(2), abs=0.02)  # always the mean
  scaled = jax.tree.map(lambda a: BATCH * a, grads['mean'])
  chex.assert_trees_all_close(grads['sum'], scaled, rtol=1e-4, atol=1e-5)


def test_an_unknown_reduction_is_an_error():
  with pytest.raises(ValueError, match="'median' is neither 'mean' nor 'sum'"):
    training.updater(LINEAR, optax.sgd(0.1), identity(), 'median')


def test_noise_in_training_depends_on_the_step_and_the_example():
  seen = []

  def spy(key, x):
    jax.debug.callback(lambda a: seen.append(float(a)), jax.random.uniform(key))
    return x

  update = training.updater(LINEAR, optax.sgd(0.1), Defense(spy, spy))
  state, key, batch = fresh(optax.sgd(0.1)), jax.random.key(1), batch_of(0)
  for _ in range(2):
    state, _ = update(state, key, batch.index, batch.image, batch.label)
  jax.effects_barrier()
  assert len(set(seen)) == 2 * BATCH

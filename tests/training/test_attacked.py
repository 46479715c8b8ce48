"""The attack of adversarial training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import training
from rdefense.defenses import gaussian, identity
from tests.training.toy import (
  BATCH,
  LINEAR,
  RECIPE,
  SHAPE,
  apply,
  batch_of,
  fresh,
  steps,
)


def test_adversarial_training_lowers_the_adversarial_loss():
  tx = optax.adam(0.05)
  update = training.updater(LINEAR, tx, identity())
  attack = training.attacker(LINEAR, identity(), RECIPE)
  _, losses = steps(update, fresh(tx), 0, 60, attack)
  assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize('eps', [0.0, 0.05, 0.3])
def test_adversarial_images_are_the_worst_corner_of_the_ball(eps):
  """On a linear classifier the worst image is known in closed form."""
  recipe = RECIPE._replace(num_steps=3, step_size=1.0)
  attack = training.attacker(LINEAR, identity(), recipe)
  params = {
    'w': jnp.asarray(np.random.default_rng(1).normal(size=(2, 9)), jnp.float32),
    'b': jnp.zeros(2),
  }
  batch = batch_of(0)
  z = attack(params, jax.random.key(2), batch, eps)
  toward = np.sign(params['w'][1] - params['w'][0]).reshape(SHAPE)
  sign = np.where(batch.label == 1, -1, 1)[:, None, None, None] * toward
  np.testing.assert_allclose(
    z, np.clip(batch.image + eps * sign, 0, 1), atol=1e-6
  )


def test_the_attack_takes_as_many_steps_as_the_recipe_says():
  """From a clean start, one step of 0.25 eps goes exactly that far."""
  params = fresh(optax.sgd(0.1)).params
  batch = batch_of(0)._replace(image=np.full((BATCH, *SHAPE), 0.5, np.float32))
  for num_steps in (1, 2, 3):
    recipe = RECIPE._replace(start='clean', num_steps=num_steps, step_size=0.25)
    attack = training.attacker(LINEAR, identity(), recipe)
    z = attack(params, jax.random.key(2), batch, 0.2)
    np.testing.assert_allclose(np.abs(z - 0.5), 0.05 * num_steps, atol=1e-6)


def test_other_parameters_and_radii_are_not_compiled_again():
  traces = []

  def counted(params, x):
    traces.append(None)
    return apply(params, x)

  attack = training.attacker(LINEAR._replace(apply=counted), identity(), RECIPE)
  params = fresh(optax.sgd(0.1)).params
  key = jax.random.key(2)
  first = attack(params, key, batch_of(0), 0.05)
  compiled = len(traces)
  other = attack(
    jax.tree.map(lambda a: -a, params),
    jax.random.fold_in(key, 1),
    batch_of(0),
    0.2,
  )
  assert len(traces) == compiled > 0
  assert not np.allclose(first, other)


def test_gradients_are_averaged_over_as_many_draws_as_the_recipe_says():
  noisy, params = gaussian(0.5), fresh(optax.sgd(0.1)).params
  bent = LINEAR._replace(apply=lambda params, x: apply(params, jnp.tanh(4 * x)))
  recipe = RECIPE._replace(num_steps=1, start='clean')

  def attacked(**options):
    attack = training.attacker(bent, noisy, recipe._replace(**options))
    return attack(params, jax.random.key(2), batch_of(0), 0.1)

  one, many = attacked(num_draws=1), attacked(num_draws=12)
  assert (one != many).any()
  for chunk in (4, 12):
    at_once = attacked(num_draws=12, chunk=chunk)
    assert (at_once == many).mean() > 0.98  # signs of sums in another order
  with pytest.raises(ValueError, match='chunk=5 .* does not divide its 12'):
    attacked(num_draws=12, chunk=5)

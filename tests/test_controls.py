"""Defenses that are known to be broken break, whole pipelines of them.

An attack that left these standing would say nothing of the others. Carlini et
al. 2019, https://arxiv.org/abs/1902.06705, section 5.
"""

import jax
import jax.numpy as jnp
import optax
import pytest

from rdefense import (
  api,
  attacks,
  data,
  defenses,
  losses,
  models,
  threats,
  training,
)
from rdefense.parallel import layout

EPS, NUM_IMAGES = 0.2, 100
BROKEN = {
  'bit_depth': lambda: defenses.bit_depth(8),
  'binning': lambda: defenses.binning(16),
  'jpeg': lambda: defenses.jpeg(1.0),
  'total_variation': defenses.total_variation,
  'thermometer': lambda: defenses.thermometer(16),
}


def natural(network, defense, key):
  """Parameters after 200 steps behind a defense."""
  train, tx = data.load('digits', 'train'), optax.adam(2e-3)
  key_init, key_train = jax.random.split(key)
  seen = jax.eval_shape(defense.apply, key_init, jnp.zeros((8, 8, 1)))
  state = training.initial(network, tx, key_init, jnp.zeros(seen.shape))
  one_device = layout(jax.local_devices()[:1])
  update = training.updater(network, tx, defense, where=one_device)
  for step in range(200):
    rows = data.training_batch_indices(0, step, len(train.images), 128)
    batch = data.gather(train, rows)
    state, _ = update(state, key_train, batch.index, batch.image, batch.label)
  return state.params


@pytest.mark.slow
@pytest.mark.parametrize('name', BROKEN)
@pytest.mark.parametrize('backward', ['bpda', 'surrogate'])
def test_what_is_known_to_be_broken_breaks(name, backward, key):
  network, defense = models.digits_cnn(), BROKEN[name]()
  params = natural(network, defense, key)
  test = data.load('digits', 'test')
  x, y = data.to_unit(test.images[:NUM_IMAGES]), test.labels[:NUM_IMAGES]
  logits_fn = lambda image: network.apply(params, image)
  accuracy = api.accuracy(logits_fn, defense)
  key_clean, key_attack, key_judge = jax.random.split(jax.random.key(1), 3)
  assert accuracy(key_clean, x, y) > 0.8
  attack = api.attack(
    logits_fn, defense, threats.linf(EPS), losses.margin,
    attacks.sign(EPS / 8), num_steps=20, backward=backward,
  )  # fmt: skip
  assert accuracy(key_judge, attack(key_attack, x, y), y) <= 0.1

"""A linear classifier that learns which end of an image is brighter."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import build, training
from rdefense.data import Arrays, gather, training_batch_indices
from rdefense.models import Classifier

SHAPE, NUM, BATCH = (3, 3, 1), 64, 16


def init(key, x):
  return {
    'w': 0.01 * jax.random.normal(key, (2, x.size)),
    'b': jnp.zeros(2),
  }


def apply(params, x):
  return params['w'] @ x.ravel() + params['b']


LINEAR = Classifier(init, apply, 2)


def make_arrays():
  """Class 1 is the brighter one of an image's first and last row."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (NUM, *SHAPE), np.uint8)
  labels = images[:, 0].mean((1, 2)) > images[:, -1].mean((1, 2))
  return Arrays(images, labels.astype(np.int32), 2, 'toy')


ARRAYS = make_arrays()
RECIPE = build.training_recipe(
  {'name': 'pgd', 'num_steps': 2, 'step_size': 0.7, 'alpha': 10.0}
)


def batch_of(step):
  return gather(ARRAYS, training_batch_indices(0, step, NUM, BATCH))


def fresh(tx):
  x = jnp.zeros(SHAPE)
  return training.initial(LINEAR, tx, jax.random.key(0), x)


def steps(update, state, first, last, attack=None):
  key, losses = jax.random.key(1), []
  for step in range(first, last):
    batch = batch_of(step)
    images = batch.image
    if attack:
      attack_key = jax.random.fold_in(jax.random.key(2), step)
      images = attack(state.params, attack_key, batch, 0.05)
    state, metrics = update(state, key, batch.index, images, batch.label)
    losses.append(float(metrics['loss']))
  return state, losses

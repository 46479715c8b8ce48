"""Training on bounds of all reachable discretizations."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import training
from rdefense.certify.reachable import box, reachable
from rdefense.data import gather
from rdefense.defenses import nearest_code
from rdefense.models import Classifier
from tests.training.toy import (
  ARRAYS,
  BATCH,
  LINEAR,
  SHAPE,
  apply,
  batch_of,
  fresh,
)

CODES = np.float32([[0.0], [1.0]])


def certified_steps(update, state, count, eps, weight):
  for step in range(count):
    batch = batch_of(step)
    state, metrics = update(state, batch.image, batch.label, eps, weight)
    jax.block_until_ready(metrics)  # CPU devices wait for each other by step
  return state, metrics


def test_certified_training_raises_the_certified_share():
  tx = optax.adam(0.05)
  update = training.certified_updater(LINEAR, tx, CODES)
  _, natural = certified_steps(update, fresh(tx), 60, 0.1, 1.0)
  state, certified = certified_steps(update, fresh(tx), 60, 0.1, 0.2)
  assert certified['certified'] >= natural['certified']
  assert certified['certified'] <= certified['accuracy']
  assert state.step == 60


def test_attacked_codes_are_the_worst_of_a_linear_network():
  tx, eps = optax.sgd(0.1), 0.2
  update = training.certified_updater(LINEAR, tx, CODES, attacked=True)
  start, batch = fresh(tx), batch_of(0)

  def worst(image, label):
    low, high = np.clip([image - eps, image + eps], 0, 1).reshape(2, -1)
    sets = [
      [float(c) for c in (0, 1) if (low <= 0.5 if c == 0 else high >= 0.5)]
      for low, high in zip(low, high, strict=True)
    ]
    corners = jnp.array(list(itertools.product(*sets))).reshape(-1, *SHAPE)
    logits = jax.vmap(apply, (None, 0))(start.params, corners)
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, jnp.full(len(corners), label)
    ).max()

  expected = np.mean(list(map(worst, batch.image, batch.label)))
  _, metrics = certified_steps(update, fresh(tx), 1, eps, 0.5)
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-5)


def test_at_eps_0_certified_training_is_natural_training_behind_t():
  tx = optax.sgd(0.1)
  # Away from the middle, where a pixel has both codes.
  images = np.where(np.abs(ARRAYS.images - 127.5) < 2, 0, ARRAYS.images)
  batch = gather(ARRAYS._replace(images=images), np.arange(BATCH))
  plain = training.updater(LINEAR, tx, nearest_code(CODES))
  bounded = training.certified_updater(LINEAR, tx, CODES)
  expected, _ = plain(
    fresh(tx), jax.random.key(1), batch.index, batch.image, batch.label
  )
  got, metrics = bounded(fresh(tx), batch.image, batch.label, 0.0, 0.3)
  chex.assert_trees_all_close(got.params, expected.params, atol=1e-6)
  assert metrics['certified'] == metrics['accuracy']


def test_norms_reach_the_boxes_of_training():
  rng = np.random.default_rng(0)
  codes = rng.random((5, 3), np.float32)
  x = rng.random((256, 2, 2, 3), np.float32)
  net = Classifier(
    lambda key, x: {'w': jax.random.normal(key, (2, x.size))},
    lambda params, x: params['w'] @ x.ravel(),
    2,
  )
  y = np.zeros(256, np.int32)
  tx = optax.sgd(0.0)
  found = {}
  for norm in ('linf', 'l1'):
    state = training.initial(net, tx, jax.random.key(0), x[0])
    w = np.array(state.params['w'])
    _, metrics = training.certified_updater(net, tx, codes, norm)(
      state, x, y, 0.03, 0.5
    )
    proved = []
    for image in x:
      low, high = (
        np.asarray(e).ravel()
        for e in box(reachable(image, codes, 0.03, norm), codes)
      )
      up, down = np.maximum(w, 0), np.minimum(w, 0)
      least, most = up @ low + down @ high, up @ high + down @ low
      proved.append(least[0] >= most[1])
    assert metrics['certified'] == pytest.approx(np.mean(proved))
    found[norm] = np.mean(proved)
  assert found['linf'] != found['l1']


LOGITS = Classifier(
  lambda key, x: {'w': jax.random.normal(key, (2, x.size))},
  lambda params, x: params['w'] @ x.ravel(), 2,
)  # fmt: skip


@pytest.mark.parametrize('weight', [1.0, 0.3, 0.0])
def test_the_certified_loss_is_its_formula_on_a_linear_network(weight):
  """Intervals bound each logit at a corner of its own."""
  codes, eps, tx = np.float32([[0.0], [1.0]]), 0.05, optax.sgd(1.0)
  rng = np.random.default_rng(0)
  x = rng.uniform(size=(16, 3, 3, 1)).astype(np.float32)
  start = training.initial(LOGITS, tx, jax.random.key(0), x[0])
  w = jnp.array(start.params['w'])  # a copy: the state is donated
  low, high, z = (
    (np.clip(v, 0, 1) > 0.5).reshape(16, -1).astype(np.float32)
    for v in (x - eps, x + eps, x)
  )
  y = np.asarray(z @ w.T).argmax(1).astype(np.int32)
  y[:4] = 1 - y[:4]
  cross_entropy = optax.softmax_cross_entropy_with_integer_labels

  def worst(w):
    up, down = jnp.maximum(w, 0), jnp.minimum(w, 0)
    least, most = low @ up.T + high @ down.T, high @ up.T + low @ down.T
    own = np.arange(2) == y[:, None]
    return jnp.where(own, least, most)  # of the label's logit, of another's

  def loss(w):
    natural, certified = cross_entropy(z @ w.T, y), cross_entropy(worst(w), y)
    return (weight * natural + (1 - weight) * certified).mean()

  expected = w - jax.grad(loss)(w)
  proved = (worst(w).argmax(1) == y).mean()
  update = training.certified_updater(LOGITS, tx, codes)
  state, metrics = update(start, x, y, eps, weight)
  np.testing.assert_allclose(state.params['w'], expected, atol=1e-5)
  assert metrics['certified'] == proved
  assert 0 < metrics['certified'] < metrics['accuracy'] == 0.75

"""One optimiser step, the attack of adversarial training, resumption."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import build, checkpoints, training
from rdefense.certify.reachable import box, reachable
from rdefense.data import Arrays, gather, training_batch_indices
from rdefense.defenses import Defense, binning, identity, nearest_code
from rdefense.models import Classifier
from rdefense.parallel import layout

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


def test_adversarial_training_lowers_the_adversarial_loss():
  tx = optax.adam(0.05)
  update = training.updater(LINEAR, tx, identity())
  attack = training.attacker(LINEAR, identity(), RECIPE)
  _, losses = steps(update, fresh(tx), 0, 60, attack)
  assert np.mean(losses[-5:]) < 0.9 * losses[0]


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


LINEAR = Classifier(
  lambda key, x: {'w': jax.random.normal(key, (2, x.size))},
  lambda params, x: params['w'] @ x.ravel(), 2,
)  # fmt: skip


@pytest.mark.parametrize('weight', [1.0, 0.3, 0.0])
def test_the_certified_loss_is_its_formula_on_a_linear_network(weight):
  """Intervals bound each logit at a corner of its own."""
  codes, eps, tx = np.float32([[0.0], [1.0]]), 0.05, optax.sgd(1.0)
  rng = np.random.default_rng(0)
  x = rng.uniform(size=(16, 3, 3, 1)).astype(np.float32)
  start = training.initial(LINEAR, tx, jax.random.key(0), x[0])
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
  update = training.certified_updater(LINEAR, tx, codes)
  state, metrics = update(start, x, y, eps, weight)
  np.testing.assert_allclose(state.params['w'], expected, atol=1e-5)
  assert metrics['certified'] == proved
  assert 0 < metrics['certified'] < metrics['accuracy'] == 0.75

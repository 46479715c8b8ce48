"""Attacks through the face of the library: right, seeded, on mean draws."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import api, attacks, defenses, losses, threats
from tests.api.linear import (
  CODES,
  IMAGES,
  LABELS,
  NOISY,
  W,
  logits_fn,
  make_attack,
)


def test_an_attack_finds_the_worst_corner_of_a_linear_classifier(key):
  # Two classes, so that the margin is linear: its minimum is a corner.
  w = W[0] - W[1]
  logit = (w * IMAGES).sum((1, 2, 3))
  run = api.attack(
    lambda x: jnp.stack([(w * x).sum(), 0.0]),
    defenses.identity(),
    threats.linf(0.01),
    losses.margin,
    attacks.steepest('linf', 0.01),
    num_steps=3,
    num_restarts=2,
  )
  z = run(key, IMAGES, (logit < 0).astype(int))
  attacked = (w * z).sum((1, 2, 3)) * np.sign(logit)
  expected = np.abs(logit) - 0.01 * np.abs(w).sum()
  corner = np.abs(attacked - expected) < 1e-5
  assert (corner | (attacked < 0)).all()  # it stops once it has won
  assert corner.any()
  assert (attacked < np.abs(logit)).all()
  assert np.abs(z - IMAGES).max() <= 0.01 + 2**-24


def test_attacked_images_lose_accuracy_and_stay_in_the_threat(key):
  defense = defenses.binning(9)
  key_attack, key_judge = jax.random.split(key)
  z = make_attack(defense, backward='identity', num_steps=8)(
    key_attack, IMAGES, LABELS
  )
  assert z.shape == IMAGES.shape and z.dtype == np.float32
  assert np.abs(z - IMAGES).max() <= 0.1 + 2**-24
  accuracy = api.accuracy(logits_fn, defense)
  clean = accuracy(jax.random.clone(key_judge), IMAGES, LABELS)
  assert accuracy(key_judge, z, LABELS) < clean


def test_without_a_chain_squares_are_searched_in_the_ball(key):
  defense = defenses.binning(9)
  z = make_attack(defense, tx=None, num_steps=60)(key, IMAGES, LABELS)
  assert np.abs(z - IMAGES).max() <= 0.1 + 2**-24
  accuracy = api.accuracy(logits_fn, defense)
  judge = jax.random.key(1)
  assert accuracy(judge, z, LABELS) < accuracy(judge, IMAGES, LABELS)
  noisy = make_attack(NOISY, tx=None, num_steps=3, num_draws=4)
  assert np.isfinite(noisy(jax.random.clone(key), IMAGES, LABELS)).all()


def test_the_same_key_gives_the_same_images_and_no_image_is_changed(key):
  run, before = make_attack(start='random'), IMAGES.copy()
  first = run(key, IMAGES, LABELS)
  again = run(jax.random.clone(key), IMAGES, LABELS)
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(IMAGES, before)


def test_any_optax_chain_is_an_attack(key):
  run = api.attack(
    logits_fn,
    defenses.binning(9),
    threats.l2(0.5),
    losses.cross_entropy,
    optax.adam(0.05),
    num_steps=3,
    backward='surrogate',
    start='clean',
  )
  z = run(key, IMAGES, LABELS)
  gap = np.sqrt(((z - IMAGES).astype(np.float64) ** 2).sum((1, 2, 3)))
  assert (gap <= 0.5 * (1 + 1e-5)).all() and gap.max() > 0


def test_a_randomised_defense_is_attacked_on_the_mean_of_its_draws():
  """Noise of standard deviation 1 hides weights of some tenths."""
  run = make_attack(NOISY, num_steps=3, num_draws=200, start='clean')
  z = run(jax.random.key(0), IMAGES, LABELS)
  best = make_attack(num_steps=3, start='clean')
  # Linear logits: the true gradient does not depend on the noise, but which
  # class is second does, so the corner is that of the most frequent one.
  assert np.abs(z - IMAGES).max() <= 0.1 + 6e-8
  margins = [
    np.mean([losses.margin(logits_fn(a), y) for a, y in zip(images, LABELS)])
    for images in (IMAGES, z, best(jax.random.key(0), IMAGES, LABELS))
  ]
  assert margins[1] < margins[0] - 0.5 * (margins[0] - margins[2])


@pytest.mark.parametrize(
  'defense',
  [
    NOISY,
    defenses.chain(defenses.gaussian(0.02), defenses.nearest_code(CODES)),
  ],
  ids=['noise', 'codes behind noise'],
)
def test_a_randomised_defense_is_not_attacked_on_its_luckiest_draw(
  defense, key
):
  """Behind codes, noise makes nothing of a black image."""
  images = np.concatenate([np.zeros_like(IMAGES[:1]), IMAGES])
  with pytest.raises(ValueError, match='num_draws=0 is for a deterministic'):
    make_attack(defense)(key, images, [0, *LABELS])


@pytest.mark.parametrize('target', [1, 2])
def test_an_attack_towards_a_class_makes_it_win(target, key):
  network = lambda x: jnp.append(0.0, x.ravel() - 0.6)
  images = np.full((2, 1, 2, 1), 0.5, np.float32)
  z = api.attack(
    network,
    defenses.identity(),
    threats.linf(0.3),
    losses.towards_class(losses.margin, target),
    attacks.sign(0.05),
    num_steps=6,
    start='clean',
  )(key, images, [0, 0])
  classes = api.predict(network, defenses.identity())
  assert classes(jax.random.key(1), z).tolist() == [target, target]


def test_the_average_that_is_asked_for_is_descended_on(key):
  """A draw that has lost for good weighs less in a mean of probabilities."""
  curved = lambda x: 8 * jnp.tanh(logits_fn(x))

  def found(average):
    run = make_attack(
      defenses.gaussian(0.5),
      num_steps=3,
      logits_fn=curved,
      threat=threats.l2(0.5),
      loss=losses.cross_entropy,
      tx=attacks.steepest('l2', 0.2),
      start='clean',
      num_draws=8,
      average=average,
    )
    return run(jax.random.clone(key), IMAGES, LABELS)

  assert not np.allclose(found('loss'), found('log_probability'), atol=1e-3)


def test_every_restart_is_tried(key):
  """A landscape with several basins: eight starts do better than one."""
  hills = lambda x: jnp.stack([1.5 + jnp.cos(20 * x).sum(), 0.0])
  images = np.full((30, 1, 1, 1), 0.5, np.float32)

  def least(num_restarts):
    run = api.attack(
      hills,
      defenses.identity(),
      threats.linf(0.4),
      losses.margin,
      attacks.sign(0.0),
      num_steps=0,
      num_restarts=num_restarts,
    )
    z = run(jax.random.clone(key), images, np.zeros(30, int))
    return np.cos(20 * z).mean()

  assert least(8) < least(1) - 0.5


def test_what_is_wrong_without_an_attack_stays_as_it_is(key):
  """From a random start an attack might put it right."""
  half = lambda x: 20 * jnp.stack([x.mean() - 0.5, 0.5 - x.mean()])
  images = np.full((20, 1, 1, 1), 0.49, np.float32)
  images[::2] = 0.51
  run = api.attack(
    half, defenses.identity(), threats.linf(0.005), losses.margin,
    attacks.sign(0.001), num_steps=1,
  )  # fmt: skip
  z = run(key, images, np.zeros(20, int))
  assert (z[1::2] == images[1::2]).all()
  assert (z[::2] != images[::2]).all()

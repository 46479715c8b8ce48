"""Simulated draws against what can be said of them without Algorithm 1."""

import jax
import numpy as np
import pytest

from rdefense.analysis import guarantee, simulation
from rdefense.analysis.idealized import blocks, make_model, sample
from rdefense.defenses.discretize import nearest_code

FOUR = make_model([[0], [80], [160], [240]], 80, sigma=1.5)
PLANE = make_model([[0, 0], [0, 200], [200, 0]], 200, sigma=2.0)
NU = 3.0


def label(skeleton):
  return skeleton.sum((1, 2)) > 24


def classify(images):
  return images.sum((1, 2, 3)) > 80 * 24


@pytest.mark.parametrize('model', [FOUR, PLANE], ids=['line', 'plane'])
def test_codes_of_independent_pixels_are_found(model, key):
  sampler = blocks(len(model.codes), 16, 1)
  assert simulation.lemma_1(key, model, sampler, 8, NU, 5).all()


def test_a_code_that_no_image_has_is_not_found(key):
  drawn = []
  constant = blocks(4, 8, 8)

  def sampler(key, num_images):
    skeleton = constant(key, num_images)
    drawn.append(len(np.unique(skeleton)) == 4)
    return skeleton

  found = simulation.lemma_1(key, FOUR, sampler, 6, NU, 40)
  # Six images miss one of four codes in 62% of draws.
  assert 0.1 < np.mean(drawn) < 0.7
  assert found.tolist() == drawn


def test_learned_codes_are_the_peaks_of_the_histogram(key):
  key_skeleton, key_noise = jax.random.split(key)
  skeleton = blocks(4, 16, 4)(key_skeleton, 10)
  images = sample(key_noise, FOUR, skeleton)
  # Far from each other, codes cannot interfere: each is its own mode.
  modes = [
    np.bincount(images[..., 0][skeleton == i]).argmax() for i in range(4)
  ]
  learned = simulation.learned_codes(images, 4, NU)
  assert sorted(learned[:, 0].tolist()) == modes


def test_settled_images_are_those_that_no_attacker_moves(key):
  eps = 38  # of 40 levels to the next code's border, so noise decides
  sampler, num_test = blocks(4, 3, 1), 30
  seen = {}

  def keep(skeleton):
    seen['skeleton'] = skeleton
    return label(skeleton)

  draws = simulation.proposition_1(
    jax.random.clone(key), FOUR, sampler, 300, NU, 1, num_test, eps, classify,
    keep,
  )  # fmt: skip
  assert draws.approximated.all()
  # The same keys again, by hand, and an attacker who goes to every border.
  *_, key_left = jax.random.split(jax.random.fold_in(key, 0), 3)
  key_skeleton, key_noise = jax.random.split(key_left)
  skeleton = sampler(key_skeleton, num_test)
  np.testing.assert_array_equal(skeleton, seen['skeleton'])
  images = sample(key_noise, FOUR, skeleton).astype(int)
  pixels = images[..., 0]
  nearest = lambda v: np.abs(v[..., None] - FOUR.codes[:, 0]).argmin(-1)
  low, high = np.clip(pixels - eps, 0, 255), np.clip(pixels + eps, 0, 255)
  still = (nearest(low) == skeleton) & (nearest(high) == skeleton)
  # At 40 levels T ties; `reachable` counts the border to both sides.
  tied = (np.abs(low - FOUR.codes[skeleton, 0]) == 40) | (
    np.abs(high - FOUR.codes[skeleton, 0]) == 40
  )
  expected = (still & ~tied).all((1, 2))
  assert 0 < expected.sum() < num_test
  np.testing.assert_array_equal(draws.settled[0], expected)


def test_within_five_nu_the_answer_is_that_of_the_skeleton(key):
  sampler = blocks(3, 4, 1)
  truth = make_model([[0, 0], [0, 200], [200, 0]], 200, sigma=2.0)
  assert 200 > guarantee.required_separation(NU)
  answers = {}

  def keep(images):
    answers['seen'] = images
    return images[..., 1].mean((1, 2)) > 100

  def label(skeleton):
    answers['skeleton'] = skeleton
    return (skeleton == 1).sum((1, 2)) > 5

  draws = simulation.proposition_1(
    key, truth, sampler, 200, NU, 1, 25, 5 * NU, keep, label
  )
  assert draws.settled.all()
  # T gives codes within nu of the skeleton's, and F is asked about those: it
  # wants more of the second code than the label does, so some are wrong.
  learned, skeleton = answers['seen'], answers['skeleton']
  off = np.abs(learned - truth.codes[skeleton]).max()
  assert off <= NU
  right = (learned[..., 1].mean((1, 2)) > 100) == (
    (skeleton == 1).sum((1, 2)) > 5
  )
  np.testing.assert_array_equal(draws.right[0], right)
  assert 0 < right.sum() < 25


def test_attacks_beyond_the_separation_settle_nothing(key):
  draws = simulation.proposition_1(
    key, FOUR, blocks(4, 8, 1), 30, NU, 1, 10, 80, classify, label
  )
  assert draws.approximated.all()
  assert not draws.settled.any() and not draws.right.any()


def test_without_codes_nothing_is_right(key):
  draws = simulation.proposition_1(
    key, FOUR, blocks(4, 8, 8), 1, NU, 3, 4, 1, classify, label
  )
  assert not draws.approximated.any()
  assert draws.right.shape == (3, 4) and not draws.right.any()


def test_what_is_reached_is_what_the_defense_gives(key):
  skeleton = blocks(4, 4, 1)(jax.random.fold_in(key, 0), 3)
  images = sample(jax.random.fold_in(key, 1), FOUR, skeleton)
  allowed = simulation._reached(images, FOUR.codes, 0)
  assert (allowed.sum(-1) == 1).all()
  defense = nearest_code(FOUR.codes / 255)
  for image, found in zip(images, allowed, strict=True):
    given = np.rint(255 * defense.apply(key, image / np.float32(255)))
    np.testing.assert_array_equal(FOUR.codes[found.argmax(-1)], given)


def test_a_negative_radius_is_refused(key):
  with pytest.raises(ValueError, match='eps=-1 must be at least 0'):
    simulation.proposition_1(
      key, FOUR, blocks(4, 8, 1), 1, NU, 1, 1, -1, classify, label
    )

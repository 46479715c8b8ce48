"""What is known of a coin is what the evaluation says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import controlled_truth
from experiments.controlled_truth import EPS, Size
from rdefense.data import to_unit


@pytest.fixture(scope='module')
def measured():
  return controlled_truth.measure(Size(images=1000, part=50))


def test_a_defense_that_errs_by_chance_alone_is_told_so(measured):
  """True accuracy 90%, whatever the attacker does or is lucky with."""
  told, truth = measured[0]['one_query']
  assert truth == 90.0
  assert told.total == 1000
  assert told.low <= 90.0 <= told.high
  assert told.high - told.low < 4.5


def test_rules_come_to_what_the_binomial_law_says(measured):
  for told, truth in measured[0].values():
    assert told.low <= truth <= told.high
  assert measured[0]['majority_of_20'].truth > 99.9
  # What running flags over three queries would say.
  assert measured[0]['best_of_3'].tally.percent < 80


def test_intervals_of_parts_hold_the_truth_as_often_as_they_say(measured):
  _, held = measured
  assert held.total == 20
  assert held.correct >= 17  # a binomial law allows fewer once in a thousand


def test_no_attack_of_the_radius_can_fool_the_classifier():
  """Every corner of the ball of both images, without the coin."""
  target = controlled_truth.pipeline()
  for x, label in zip(*_two_images(), strict=True):
    for sign in (-1, 1):
      logits = target.apply((), jnp.clip(x + sign * EPS, 0, 1))
      assert logits.argmax() == label


def test_the_coin_shows_negatives_in_one_draw_of_ten(key):
  defense = controlled_truth.pipeline().defend(None, 1.0)
  (x, _), _ = _two_images()
  seen = jax.vmap(defense.apply, (0, None))(jax.random.split(key, 4000), x)
  negative = np.asarray(seen[:, 0, 0, 0] != x[0, 0, 0])
  assert abs(negative.mean() - 0.1) < 3.3 * np.sqrt(0.09 / 4000)


def _two_images():
  arrays = controlled_truth.coin_images(2)
  return to_unit(arrays.images), arrays.labels

"""What the report says of randomised defenses, read back."""

import numpy as np
import pytest

from rdefense import counting, document, randomness


def tally(percent):
  return {'percent': percent, 'low': percent - 5.0, 'high': percent + 5.0}


def told(conditions, kind='randomized'):
  settings = {'noise': {'kind': kind, 'conditions': conditions}}
  return document.markdown(randomness.blocks(settings))


def test_nothing_is_said_where_nothing_is_random():
  assert not randomness.blocks(
    {'jpeg': {'kind': 'transformed', 'conditions': {'clean': tally(90.0)}}}
  )


def test_all_rules_of_the_same_draws_are_shown():
  draws = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
  rows = {'verdict/draws': draws, 'label': np.ones(4, int)}
  rows |= {'verdict/predicted': draws[:, 0]}
  text = told({'clean': counting.summarize(rows, 'verdict')})
  assert 'one query 50.00%' in text
  assert 'majority of 3 75.00%' in text
  assert 'best of 3 25.00%' in text
  assert '58.33' in text  # 7 of 12 draws


@pytest.mark.parametrize(
  'percent, words',
  [(0.0, 'the attack works'), (60.0, 'not due to randomness')],
)
def test_a_frozen_defense_has_to_fall(percent, words):
  assert words in told({'eps0.1/frozen': tally(percent)})


def test_one_budget_is_spent_twice_and_the_stronger_is_named():
  text = told(
    {
      'eps0.1/eot20x40': tally(70.0),
      'eps0.1/eot1x800': tally(55.0),
      'eps0.1/sweep64': tally(50.0),
    }
  )
  assert 'eot1x800 leaves 55.0%, eot20x40 70.0%: eot1x800 is stronger' in text
  assert '800 steps of 1 draws: 800 gradients' in text
  assert '64 draws a step' in text


@pytest.mark.parametrize(
  'few, many, said',
  [
    (55.0, 70.0, 'eot1x800 is stronger'),
    (70.0, 55.0, 'eot20x40 is stronger'),
    (55.0, 64.0, 'not told apart'),  # 50 to 60, and 59 to 69
  ],
)
def test_the_stronger_of_one_budget_is_named(few, many, said):
  text = told({'eps0.1/eot20x40': tally(many), 'eps0.1/eot1x800': tally(few)})
  assert said in text

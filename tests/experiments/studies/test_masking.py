"""Images that a search breaks and descent does not."""

import numpy as np
import pytest

from experiments.studies.conditions import Condition
from experiments.studies.counterparts import Verdicts
from experiments.studies.masking import hidden
from rdefense.attacks import autoattack, recipes

SEARCH, DESCENT = autoattack.square(5), recipes.fgsm(0.1)
# Condition: its radius, its recipes, examples and which of them are right.
ROWS = {
  'clean': (0.0, (), [0, 1, 2, 3, 4], [1, 1, 1, 1, 0]),
  'eps0.1/adaptive': (0.1, DESCENT, [0, 1, 2], [1, 1, 0]),
  'eps0.1/paper_a': (0.1, DESCENT, [0, 1, 2, 3, 4], [1, 0, 1, 1, 0]),
  'eps0.2/paper_a': (0.2, DESCENT, [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]),
  'eps0.1/square': (0.1, SEARCH, [0, 1, 3, 4, 5], [0, 0, 1, 0, 0]),
}


def measured(*names, **changes):
  """`hidden` of these conditions, the first of them changed."""
  chosen, found = {}, {}
  for name in names:
    eps, made, examples, right = ROWS[name]
    chosen[name] = Condition(name, made, eps, None)
    found[name] = Verdicts(np.array(examples), np.array(right, bool))
  chosen[names[0]] = chosen[names[0]]._replace(**changes)
  return hidden(chosen, found)


def test_images_count_that_withstand_all_descent_at_that_radius():
  """Of 0, 1, 3, 4, which both have seen, 0 and 3 stand; 0 falls to it."""
  assert measured(*ROWS) == {'eps0.1/square': {'standing': 2, 'broken': 1}}


@pytest.mark.parametrize(
  'changes', [{}, {'source': 'nat'}, {'given': 'x.npy'}, {'frozen': True}]
)
def test_images_made_for_another_pipeline_say_nothing_of_this_one(changes):
  found = measured('eps0.1/adaptive', 'eps0.1/square', 'clean', **changes)
  own = {'eps0.1/square': {'standing': 2, 'broken': 2}}
  assert found == ({} if changes else own)


def test_without_a_search_nothing_is_told():
  assert measured('eps0.1/adaptive', 'eps0.1/paper_a', 'clean') == {}

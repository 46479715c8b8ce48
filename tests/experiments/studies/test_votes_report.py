"""What the report says of votes: which rules, and what may go wrong."""

import numpy as np
import pytest

from experiments.studies import votes, votes_report
from rdefense import counting, vote_certification

TALLY = counting.tally(np.arange(10) < 7)._asdict()


def a_setting(rules):
  return {
    'description': 'a threshold',
    'clean': TALLY,
    'num_votes': 100,
    'delta': 0.001,
    'conditions': {
      'eps0.1': {
        'eps': 0.1,
        'bounds': dict.fromkeys(rules, TALLY),
        'votes_needed': 12,
        'attacked': {
          'paper_b': {'one_query': TALLY, 'wrong': 1, 'wrong_at_most': 2.5}
        },
      }
    },
  }


@pytest.mark.parametrize(
  'dataset, coded', [('mnist', True), ('nips17', False), ('digits', False)]
)
def test_only_on_mnist_are_the_authors_followed(dataset, coded):
  """Their other script has another rule (PROTOCOL B4)."""
  rules = votes._rules(dataset)
  assert ('as_coded' in rules) == coded
  assert {'as_coded', *rules} == {*vote_certification.RULES}
  blocks, _ = votes_report.blocks({'plain': a_setting(rules)}, {}, 1)
  ((_, header, (row,)),) = (b for b in blocks if b[0] == 'table')
  assert ('as in the authors’ script (unsound)' in header) == coded
  assert len(header) == len(row)
  assert 'majority wrong: 1 (expected at most 2.50)' in row[-1]

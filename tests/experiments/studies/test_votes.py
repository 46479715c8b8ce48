"""What the report says of votes: which rules, and what may go wrong."""

import numpy as np
import pytest

from experiments.studies import votes
from rdefense import counting, files, records, vote_certification

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
  blocks, _ = votes.blocks({'plain': a_setting(rules)}, {}, 1)
  ((_, header, (row,)),) = (b for b in blocks if b[0] == 'table')
  assert ('as in the authors’ script (unsound)' in header) == coded
  assert len(header) == len(row)
  assert 'majority wrong: 1 (expected at most 2.50)' in row[-1]


def test_an_attack_just_begun_is_passed_over(tmp_path):
  """Its folder is claimed before there is a row."""
  where = tmp_path / 'records' / 'noise' / 'eps0.1'
  files.write_json(where / 'begun' / 'config.json', {})
  records.write_shard(
    where / 'made', 0,
    {'index': np.arange(2), 'label': np.array([1, 1], np.int32),
     'verdict/predicted': np.array([1, 0], np.int32),
     'verdict/draws': np.array([[1], [0]], np.int32)},
  )  # fmt: skip
  proved = {'index': np.arange(2), 'certificate/best': np.array([0.1, -0.1])}
  found = votes._attacked(tmp_path, 'noise', 'eps0.1', proved, 2, 0.001)
  assert found.keys() == {'made'}

"""What is found of votes beside attacks: those that are whole."""

import numpy as np

from experiments.studies import votes
from rdefense import files, records


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

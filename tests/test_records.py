"""Shards of rows, and resumption."""

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from rdefense import records


def rows(indices):
  indices = np.asarray(indices)
  return {
    'index': indices.astype(np.int64),
    'label': (indices % 10).astype(np.int32),
    'clean/predicted': np.where(indices % 4 == 0, -1, indices % 10).astype(
      np.int32
    ),
    'clean/margin': (indices / 7).astype(np.float32),
  }


def test_shards_come_back_bit_for_bit_sorted_by_index(tmp_path):
  order = np.random.default_rng(0).permutation(40)
  for number, part in enumerate(np.split(order, 5)):
    path = records.write_shard(tmp_path, number, rows(part))
  assert path.name == 'shard-00004.npz'
  table = records.read(tmp_path)
  for name, column in rows(np.arange(40)).items():
    np.testing.assert_array_equal(table[name], column)
    assert table[name].dtype == column.dtype


def test_a_folder_may_be_called_what_looks_like_a_pattern(tmp_path):
  records.write_shard(tmp_path / 'run[1]', 0, rows(range(3)))
  assert records.completed(tmp_path / 'run[1]') == {0}
  assert records.read(tmp_path / 'run[1]')['index'].tolist() == [0, 1, 2]


def test_a_killed_run_resumes_where_it_stood(tmp_path):
  parts = np.split(np.arange(12), 4)
  for number in (0, 2):
    records.write_shard(tmp_path, number, rows(parts[number]))
  missing = set(range(4)) - records.completed(tmp_path)
  assert missing == {1, 3}
  for number in missing:
    records.write_shard(tmp_path, number, rows(parts[number]))
  assert records.read(tmp_path)['index'].tolist() == list(range(12))
  assert records.completed(tmp_path / 'never made') == set()


def test_kill_between_writing_and_renaming_leaves_no_shard(tmp_path):
  script = (
    'import os, sys\n'
    'import numpy as np\n'
    'from rdefense import records\n'
    'os.replace = lambda *_: os._exit(9)\n'
    'records.write_shard(sys.argv[1], 1, {"index": np.arange(3)})\n'
  )
  records.write_shard(tmp_path, 0, {'index': np.arange(3)})
  root = Path(__file__).parents[1]
  done = subprocess.run(
    [sys.executable, '-c', script, str(tmp_path)],
    cwd=root,
    check=False,
  )
  assert done.returncode == 9
  assert len(list(tmp_path.iterdir())) == 2, 'the temporary file is left'
  assert records.completed(tmp_path) == {0}
  assert records.read(tmp_path)['index'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
  'damage',
  [
    lambda data: data[: len(data) // 2],
    lambda data: data[:-1],
    lambda data: b'',
    lambda data: b'not an archive at all',
    lambda data: data[:60] + bytes([data[60] ^ 255]) + data[61:],
  ],
  ids=['half', 'last byte', 'empty', 'other', 'flipped bit'],
)
def test_damaged_shard_is_named_with_its_cure(tmp_path, damage):
  path = records.write_shard(tmp_path, 3, rows(range(50)))
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError) as error:
    records.read(tmp_path)
  message = str(error.value)
  assert str(path) in message
  assert 'truncated' in message
  assert 'delete' in message
  assert 'only its examples' in message
  path.unlink()
  assert records.completed(tmp_path) == set()


def test_missing_shard_is_not_called_truncated(tmp_path):
  with pytest.raises(FileNotFoundError):
    records.read_shard(tmp_path / 'shard-00000.npz')


def test_index_twice_names_the_index_and_both_shards(tmp_path):
  records.write_shard(tmp_path, 0, rows([0, 1, 2]))
  records.write_shard(tmp_path, 1, rows([2, 3]))
  with pytest.raises(
    ValueError, match='index 2 .*shard-00000.npz, shard-00001.npz'
  ):
    records.read(tmp_path)


def test_shards_with_other_columns_are_refused(tmp_path):
  records.write_shard(tmp_path, 0, rows([0]))
  records.write_shard(
    tmp_path, 1, rows([1]) | {'eps0.3/pgd/predicted': np.array([1])}
  )
  with pytest.raises(ValueError, match='eps0.3/pgd/predicted'):
    records.read(tmp_path)


def test_nothing_evaluated_is_said(tmp_path):
  with pytest.raises(ValueError, match='no shards'):
    records.read(tmp_path)


@pytest.mark.parametrize(
  'columns, number, word',
  [
    ({'label': np.arange(3)}, 0, 'index'),
    ({'index': np.arange(3), 'label': np.arange(4)}, 0, 'label'),
    ({'index': np.arange(3), 'label': np.int32(4)}, 0, 'label'),
    ({'index': np.arange(3)}, -1, 'number'),
  ],
)
def test_bad_shards_are_refused(tmp_path, columns, number, word):
  with pytest.raises(ValueError, match=word):
    records.write_shard(tmp_path, number, columns)
  assert not list(tmp_path.iterdir())

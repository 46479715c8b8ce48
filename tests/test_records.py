"""Shards, resumption, claims, JSON and the environment."""

import os
from pathlib import Path
import re
import subprocess
import sys

import jax.numpy as jnp
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


def test_failed_rename_keeps_the_old_file_and_no_litter(tmp_path, monkeypatch):
  path = records.write_bytes(tmp_path / 'a.json', b'old')

  def refuse(*_):
    raise OSError('disk is full')

  monkeypatch.setattr(os, 'replace', refuse)
  with pytest.raises(OSError, match='full'):
    records.write_bytes(path, b'new')
  assert path.read_bytes() == b'old'
  assert os.listdir(tmp_path) == ['a.json']


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


def test_tally_counts_in_percent():
  tally = records.tally(np.arange(200) < 150)
  assert tally[:3] == (150, 200, 75.0)
  # scipy.stats.binomtest(150, 200).proportion_ci(method='exact'), in percent
  assert (tally.low, tally.high) == pytest.approx((68.40, 80.84), abs=0.01)


@pytest.mark.parametrize(
  'correct', [np.array([], bool), np.array([0, 1]), np.ones((2, 2), bool)]
)
def test_tally_refuses_what_is_not_a_vector_of_booleans(correct):
  with pytest.raises(ValueError):
    records.tally(correct)


def test_summary_is_recomputed_from_rows():
  table = rows(range(8)) | {
    'clean/gradients': np.full(8, 2**30, np.int32),
    'clean/seconds': np.full(8, 0.5, np.float32),
    'clean/broken_by': np.array([-1, -1, 0, 2, 2, -1, -1, -1], np.int32),
  }
  summary = records.summarize(table, 'clean')
  assert (summary['correct'], summary['total']) == (6, 8)
  assert summary['gradients'] == 2**33, 'a sum in int32 would overflow'
  assert summary['seconds'] == 4.0
  assert summary['broken_by'] == {'-1': 5, '0': 1, '2': 2}
  with pytest.raises(ValueError, match="'eps0.3/pgd'.*clean"):
    records.summarize(table, 'eps0.3/pgd')


def test_json_is_the_same_whatever_the_order_and_the_scalars(tmp_path):
  one = records.write_json(
    tmp_path / 'one.json',
    {
      'b': np.float32(0.5),
      'a': [np.int64(3), (1, 2)],
      'c': jnp.arange(2),
      'd': Path('x'),
    },
  )
  two = records.write_json(
    tmp_path / 'two.json', {'d': 'x', 'c': [0, 1], 'a': [3, [1, 2]], 'b': 0.5}
  )
  assert one.read_bytes() == two.read_bytes()
  assert records.read_json(one) == {
    'a': [3, [1, 2]],
    'b': 0.5,
    'c': [0, 1],
    'd': 'x',
  }


def test_json_refuses_what_json_cannot_say(tmp_path):
  with pytest.raises(ValueError, match='x.json'):
    records.write_json(tmp_path / 'x.json', {'loss': float('nan')})
  with pytest.raises(TypeError, match='function'):
    records.write_json(tmp_path / 'x.json', {'f': lambda: 0})
  assert not (tmp_path / 'x.json').exists()


def test_truncated_json_is_named(tmp_path):
  path = records.write_json(tmp_path / 'x.json', {'a': 1})
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(ValueError, match='x.json is not valid JSON'):
    records.read_json(path)


def test_environment_is_complete_and_plain(tmp_path):
  about = records.environment()
  records.write_json(tmp_path / 'environment.json', about)
  assert set(about['packages']) >= {
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'numpy',
    'scipy',
    'rdefense',
  }
  assert about['packages']['numpy'] == np.__version__
  assert about['devices'] >= 1
  assert re.match(r'\d{4}-\d\d-\d\dT.*\+00:00$', about['date'])
  assert (about['commit'] is None) == (about['dirty'] is None)


def test_copy_inside_anothers_checkout_has_no_commit(tmp_path, monkeypatch):
  def git(*arguments):
    subprocess.run(
      [
        'git',
        '-C',
        tmp_path,
        '-c',
        'user.name=a',
        '-c',
        'user.email=a@b.c',
        *arguments,
      ],
      check=True,
      capture_output=True,
    )

  package = tmp_path / 'rdefense' / 'records.py'
  package.parent.mkdir()
  package.write_text('pass\n')
  git('init')
  git('commit', '--allow-empty', '-m', 'another project')
  monkeypatch.setattr(records, '__file__', str(package))
  assert records.environment()['commit'] is None
  git('add', '.')
  git('commit', '-m', 'ours')
  about = records.environment()
  assert re.fullmatch('[0-9a-f]{40}', about['commit'])
  assert about['dirty'] is False
  (tmp_path / 'run.json').write_text('{}')
  assert records.environment()['dirty'] is False, 'untracked files are no edit'
  package.write_text('changed\n')
  assert records.environment()['dirty'] is True


def test_workdir_belongs_to_its_first_config(tmp_path):
  config = {'attack': {'eps': 0.3, 'steps': (40, 100)}, 'seed': np.int32(0)}
  records.claim(tmp_path / 'run', config)
  records.claim(tmp_path / 'run', config)
  stored = (tmp_path / 'run' / 'config.json').read_bytes()
  other = {'attack': {'eps': 0.1, 'steps': (40, 100)}, 'seed': 1}
  with pytest.raises(ValueError) as error:
    records.claim(tmp_path / 'run', other)
  message = str(error.value)
  assert 'attack.eps is 0.3 there and 0.1 here' in message
  assert 'another --workdir' in message
  assert 'a workdir that belongs to another config' in message
  assert (tmp_path / 'run' / 'config.json').read_bytes() == stored


@pytest.mark.parametrize(
  'changed, text',
  [
    ({'a': 1, 'b': {'c': 2}}, 'b.c is absent there and 2 here'),
    ({'a': 1, 'b': {}, 'z': None}, 'z is absent there and None here'),
    ({'b': {}}, 'a is 1 there and absent here'),
  ],
)
def test_added_and_removed_keys_belong_to_another_config(
  tmp_path, changed, text
):
  records.claim(tmp_path, {'a': 1, 'b': {}})
  with pytest.raises(ValueError, match=text):
    records.claim(tmp_path, changed)

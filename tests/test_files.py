"""Files are whole or absent; JSON is the same for the same objects."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import files, provenance, records
from rdefense.defenses import codebooks


def test_failed_rename_keeps_the_old_file_and_no_litter(tmp_path, monkeypatch):
  path = files.write_bytes(tmp_path / 'a.json', b'old')

  def refuse(*_):
    raise OSError('disk is full')

  monkeypatch.setattr(os, 'replace', refuse)
  with pytest.raises(OSError, match='full'):
    files.write_bytes(path, b'new')
  assert path.read_bytes() == b'old'
  assert os.listdir(tmp_path) == ['a.json']


def test_json_is_the_same_whatever_the_order_and_the_scalars(tmp_path):
  one = files.write_json(
    tmp_path / 'one.json',
    {
      'b': np.float32(0.5),
      'a': [np.int64(3), (1, 2)],
      'c': jnp.arange(2),
      'd': Path('x'),
    },
  )
  two = files.write_json(
    tmp_path / 'two.json', {'d': 'x', 'c': [0, 1], 'a': [3, [1, 2]], 'b': 0.5}
  )
  assert one.read_bytes() == two.read_bytes()
  assert files.read_json(one) == {
    'a': [3, [1, 2]],
    'b': 0.5,
    'c': [0, 1],
    'd': 'x',
  }


def test_json_refuses_what_json_cannot_say(tmp_path):
  with pytest.raises(ValueError, match='x.json'):
    files.write_json(tmp_path / 'x.json', {'loss': float('nan')})
  with pytest.raises(TypeError, match='function'):
    files.write_json(tmp_path / 'x.json', {'f': lambda: 0})
  assert not (tmp_path / 'x.json').exists()


def test_truncated_json_is_named(tmp_path):
  path = files.write_json(tmp_path / 'x.json', {'a': 1})
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(ValueError, match='x.json is not valid JSON'):
    files.read_json(path)


def test_a_workdir_may_be_in_a_bucket(bucket):
  path = files.write_json(f'{bucket}/deep/a.json', {'eps': 0.5})
  assert str(path) == 'gs://workdirs/run/deep/a.json'
  files.write_json(path, {'eps': 0.25})
  assert files.read_json(path) == {'eps': 0.25}
  provenance.claim(bucket, {'eps': 0.1})
  with pytest.raises(ValueError, match='another config: eps is 0.1 there'):
    provenance.claim(bucket, {'eps': 0.2})
  book = codebooks.grid(2, 1)
  codebooks.save(f'{bucket}/codebook.npz', book)
  np.testing.assert_array_equal(
    codebooks.load(f'{bucket}/codebook.npz').codes, book.codes
  )
  for number in (1, 0):
    rows = {'index': np.arange(3) + 3 * number, 'label': np.zeros(3, int)}
    records.write_shard(f'{bucket}/records/clean', number, rows)
  assert records.completed(f'{bucket}/records/clean') == {0, 1}
  assert records.read(f'{bucket}/records/clean')['index'].tolist() == [
    *range(6)
  ]


def test_what_matches_is_found_whatever_the_folder_is_called(bucket, tmp_path):
  for folder in (f'{bucket}/[a]*', tmp_path / '[a]*'):
    assert files.matching(folder, '*') == []
    for name in ('b/2.html', 'b/1.html', 'a/3.html', 'a/x/4.html', '5.html'):
      files.write_bytes(f'{folder}/{name}', b'')
    found = files.matching(folder, '*/*.html')
    assert [str(path.relative_to(folder)) for path in found] == [
      'a/3.html', 'b/1.html', 'b/2.html'
    ]  # fmt: skip
    assert [path.name for path in files.matching(folder, '*')] == [
      '5.html', 'a', 'b'
    ]  # fmt: skip

"""Files are whole or absent; JSON is the same for the same objects."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import files


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

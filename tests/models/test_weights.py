"""Files of named tensors: what is put where, and what is refused."""

import jax
import numpy as np
import pytest

from rdefense.models.weights import fill, read_npz

SHAPES = {
  'a': {'kernel': jax.ShapeDtypeStruct((2, 3), np.float32)},
  'b': {'bias': jax.ShapeDtypeStruct((3,), np.float32)},
}
NAMES = {('a', 'kernel'): 'w', ('b', 'bias'): 'v'}
TENSORS = {'w': np.arange(6.0).reshape(2, 3), 'v': np.ones(3)}


def test_tensors_go_where_their_names_say():
  filled = fill(SHAPES, TENSORS, NAMES, 'x.npz')
  np.testing.assert_array_equal(filled['a']['kernel'], TENSORS['w'])
  np.testing.assert_array_equal(filled['b']['bias'], TENSORS['v'])
  assert {leaf.dtype for leaf in jax.tree.leaves(filled)} == {
    np.dtype(np.float32)
  }


@pytest.mark.parametrize(
  'change, message',
  [
    ({'v': None}, r'x\.npz lacks the tensor v \(b/bias\)'),
    ({'w': np.ones((3, 2))}, r'w of shape \(3, 2\), but a/kernel .*\(2, 3\)'),
    ({'v': np.full(3, np.nan)}, 'NaN or infinite values in v'),
    ({'u': np.ones(1), 't': np.ones(1)}, r'has t \(2 such\)'),
  ],
  ids=['missing', 'misshapen', 'nan', 'unknown'],
)
def test_what_does_not_fit_is_named(change, message):
  tensors = {**TENSORS, **change}
  tensors = {k: v for k, v in tensors.items() if v is not None}
  with pytest.raises(ValueError, match=message):
    fill(SHAPES, tensors, NAMES, 'x.npz')


def test_npz_is_read_whole(tmp_path):
  path = tmp_path / 'x.npz'
  np.savez(path, **TENSORS)
  read = read_npz(path)
  assert set(read) == {'w', 'v'}
  np.testing.assert_array_equal(read['w'], TENSORS['w'])


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match='none.npz is not a file'):
    read_npz(tmp_path / 'none.npz')


@pytest.mark.parametrize(
  'damage',
  [
    lambda data: data[: len(data) // 2],
    lambda data: data[:300] + b'\0' * 64 + data[364:],
    lambda data: b'',
    lambda data: b'not an archive',
  ],
  ids=['truncated', 'overwritten', 'empty', 'text'],
)
def test_a_damaged_file_is_named(tmp_path, damage):
  path = tmp_path / 'x.npz'
  np.savez_compressed(path, w=np.random.default_rng(0).normal(size=200))
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=r'x\.npz cannot be read as \.npz'):
    read_npz(path)

"""Grids, what a codebook may hold, and codebooks on disk."""

import itertools
import os

import numpy as np
import pytest

from rdefense import checks
from rdefense.defenses import codebooks, density


@pytest.mark.parametrize('size, channels', [(2, 1), (3, 3), (16, 1), (256, 1)])
def test_grid(size, channels):
  book = codebooks.grid(size, channels)
  axis = [t / (size - 1) for t in range(size)]
  expected = list(itertools.product(axis, repeat=channels))
  # One rounding of the level and one of the product, in float32.
  np.testing.assert_allclose(book.codes, expected, rtol=2**-22)
  assert book.codes.dtype == np.float32 and not book.counts.any()
  checks.check_codes(book.codes)


def test_save_and_load(tmp_path):
  images = np.uint8([0, 0, 9, 255]).reshape(1, 2, 2, 1)
  book = density.density(images, 3, 1 / 255)
  path = tmp_path / 'codes.npz'
  codebooks.save(path, codebooks.grid(2, 1))
  codebooks.save(path, book)
  back = codebooks.load(path)
  np.testing.assert_array_equal(back.codes, book.codes)
  np.testing.assert_array_equal(back.counts, book.counts)
  assert back.codes.dtype == np.float32 and back.counts.dtype == np.int64
  assert back.provenance == book.provenance
  assert back.provenance['method'] == 'density'
  assert back.provenance['num_pixels'] == 4
  assert os.listdir(tmp_path) == ['codes.npz']


def test_load_refuses_broken_files(tmp_path):
  path = tmp_path / 'codes.npz'
  with pytest.raises(ValueError, match='missing'):
    codebooks.load(path)
  codebooks.save(path, codebooks.grid(4, 3))
  whole = path.read_bytes()
  for size in (0, 10, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match='not a whole codebook file'):
      codebooks.load(path)
  flipped = bytearray(whole)
  flipped[len(whole) // 3] ^= 255
  path.write_bytes(bytes(flipped))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)
  np.savez(path, codes=np.zeros((2, 1), np.float32))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)
  with path.open('wb') as file:
    np.save(file, np.zeros(3))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path):
  path = tmp_path / 'codes.npz'
  book = codebooks.grid(2, 1)
  codebooks.save(path, book)
  with pytest.raises(TypeError):
    codebooks.save(path, book._replace(provenance={'key': object()}))
  assert os.listdir(tmp_path) == ['codes.npz']
  assert codebooks.load(path).provenance == book.provenance


@pytest.mark.parametrize(
  'levels, channels, match',
  [
    (1, 1, 'levels=1'),
    (257, 1, 'levels=257'),
    (2, 0, 'channels=0'),
    (200, 4, 'channels=4'),
  ],
)
def test_bad_grids(levels, channels, match):
  with pytest.raises(ValueError, match=match):
    codebooks.grid(levels, channels)

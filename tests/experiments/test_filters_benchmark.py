"""The benchmark of filters: its images and refusals; never a time."""

import importlib.util

import numpy as np
import pytest

from experiments import filters_benchmark


@pytest.fixture
def no_data(monkeypatch, tmp_path):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))


def test_images_truncate_and_round_to_the_same_bytes(no_data, capsys):
  x = filters_benchmark.load_images(3)
  assert x.shape == (3, 32, 32, 3) and x.dtype == np.float32
  assert 'Blurred noise instead of CIFAR-10' in capsys.readouterr().out
  assert 0 < x.min() and x.max() < 1 and x.std() > 0.1
  scaled = np.float32(255) * x
  np.testing.assert_array_equal(np.uint8(scaled), np.rint(scaled))


def test_filters_that_differ_are_not_compared():
  same = np.zeros((2, 3))
  filters_benchmark.check_same('filter', same, same)
  with pytest.raises(RuntimeError, match='filter differs from ours by 0.1'):
    filters_benchmark.check_same('filter', same, same + 0.1)


def test_without_art_the_extra_is_named():
  if importlib.util.find_spec('art') is not None:
    pytest.skip('ART is installed')
  with pytest.raises(ValueError, match=r'ART is not installed: .*\[compare\]'):
    filters_benchmark.measure(filters_benchmark.QUICK)

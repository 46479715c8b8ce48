"""Counted pixels of whole datasets, and of a small set of blobs."""

import numpy as np
import pytest

from rdefense import data
from rdefense.defenses.colors import colors_from_histogram, colors_from_images


def _counted(name, data_dir):
  if not (data_dir / name).is_dir():
    pytest.skip(f'no {name} in {data_dir}')
  return colors_from_images(data.load(name, 'train', data_dir).images)


@pytest.fixture(scope='session')
def mnist(data_dir):
  """Colours of the 60,000 training images."""
  return _counted('mnist', data_dir)


@pytest.fixture(scope='session')
def fashion(data_dir):
  """Colours of the 60,000 training images."""
  return _counted('fashion_mnist', data_dir)


@pytest.fixture(scope='session')
def cifar(data_dir):
  """Colours of the 50,000 training images, from a stored histogram."""
  path = data_dir.parent / 'cifar10_train_colours.npz'
  if not path.is_file():
    pytest.skip(f'no {path.name} beside {data_dir}')
  with np.load(path) as file:
    packed = np.cumsum(file['step'].astype(np.int64))
    counts = file['count'].astype(np.int64)
  values = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
  return colors_from_histogram(values.astype(np.uint8), counts)


@pytest.fixture(scope='session')
def blobs():
  """Some 900 distinct colours in 25 clusters, weighted."""
  rng = np.random.default_rng(0)
  centres = rng.integers(20, 236, (25, 3))
  pixels = centres[rng.integers(25, size=20_000)]
  pixels = np.rint(pixels + rng.normal(0, 0.6, pixels.shape)).astype(np.uint8)
  return colors_from_images(pixels.reshape(20, 10, 100, 3))

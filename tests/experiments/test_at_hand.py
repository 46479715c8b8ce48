"""Figures of a part of a data set say so; those of the whole say nothing."""

import numpy as np
import pytest

from experiments import at_hand
from rdefense import data


def test_each_split_is_counted(monkeypatch):
  def load(name, split):
    images = np.zeros((3 if split == 'train' else 2, 1, 1, 1), np.uint8)
    return data.Arrays(images, np.zeros(len(images), np.int32), 10, name)

  monkeypatch.setattr(data, 'load', load)
  assert at_hand.count('mnist') == {'train': 3, 'test': 2}
  assert at_hand.count('digits') == at_hand.count('nips17') == {}


@pytest.mark.parametrize('name', at_hand.OFFICIAL)
def test_a_whole_data_set_has_no_caveat(name):
  assert at_hand.caveats(name, at_hand.OFFICIAL[name]) == {}


def test_a_part_names_what_is_missing_alone():
  ((heading, text),) = at_hand.caveats(
    'cifar10', {'train': 30_000, 'test': 10_000}
  ).items()
  assert heading == 'A part of the data set'
  assert text.startswith('30,000 of 50,000 train images of cifar10 were')
  assert 'test' not in text


def test_mnist_is_here_in_whole(data_dir, monkeypatch):
  if not any(data_dir.glob('mnist/*/dataset_info.json')):
    pytest.skip(f'mnist is not prepared in {data_dir}')
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  assert at_hand.count('mnist') == at_hand.OFFICIAL['mnist']

"""Figures of a part of a data set say so; those of the whole say nothing."""

import pytest

from experiments.studies import at_hand
from rdefense import data


def test_each_split_is_counted(monkeypatch, tmp_path):
  def rows(split, folder):
    assert folder == data.gtsrb_directory()
    return [(tmp_path, 0)] * (3 if split == 'train' else 2)

  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))  # nothing is prepared
  monkeypatch.setattr(data, 'gtsrb_rows', rows)
  assert at_hand.count('gtsrb') == {'train': 3, 'test': 2}
  assert at_hand.count('digits') == at_hand.count('nips17') == {}


def test_who_only_judges_needs_no_training_images(monkeypatch, tmp_path):
  def rows(split, folder):
    if split == 'train':
      raise ValueError('a table is missing')
    return [(folder, 0)] * 2

  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  monkeypatch.setattr(data, 'gtsrb_rows', rows)
  assert at_hand.count('gtsrb') == {'test': 2}
  assert at_hand.missing('gtsrb', {'test': 2}) == {'test': (2, 12_630)}


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

"""The images a config asks for."""

import numpy as np
import pytest

from rdefense import build


def test_an_unknown_dataset_lists_choices():
  config = {'name': 'nonsense', 'train_examples': 0}
  with pytest.raises(ValueError, match='digits, mnist'):
    build.dataset(config, 'train')


@pytest.mark.parametrize('count, expected', [(0, 1297), (17, 17)])
def test_a_dataset_is_cut_to_its_first_examples(count, expected):
  config = {'name': 'digits', 'train_examples': count, 'test_examples': 3}
  arrays = build.dataset(config, 'train')
  assert len(arrays.images) == len(arrays.labels) == expected
  whole = build.dataset(config | {'train_examples': 0}, 'train')
  np.testing.assert_array_equal(arrays.images, whole.images[:expected])
  assert arrays.num_classes == 10


def test_what_is_held_out_of_training_is_the_rest_of_it():
  config = {'name': 'digits', 'train_examples': 1200, 'test_examples': 0}
  whole = build.dataset(config | {'train_examples': 0}, 'train')
  held = build.dataset(config, 'held_out')
  np.testing.assert_array_equal(held.images, whole.images[1200:])
  np.testing.assert_array_equal(held.labels, whole.labels[1200:])


@pytest.mark.parametrize('count', [0, 2])
def test_final_images_are_cut_as_test_images_are(monkeypatch, count):
  asked = []
  monkeypatch.setattr(
    'rdefense.builders.datasets.load', lambda *args, **rest: asked.append(rest)
  )
  config = {'name': 'nips17', 'train_examples': 5, 'test_examples': count}
  build.dataset(config, 'final')
  assert asked == [{'count': count}]


@pytest.mark.parametrize('count', [0, 1297])
def test_nothing_held_out_is_said(count):
  with pytest.raises(ValueError, match=f'train_examples={count} of 1297'):
    build.dataset({'name': 'digits', 'train_examples': count}, 'held_out')


def test_a_negative_number_of_examples_is_named_as_in_the_config():
  config = {'name': 'digits', 'train_examples': -3}
  with pytest.raises(ValueError, match='train_examples=-3 must be at least 0'):
    build.dataset(config, 'train')


def test_an_unknown_split_lists_choices():
  with pytest.raises(ValueError, match="'heldout' .*train, test, held_out"):
    build.dataset({'name': 'digits', 'train_examples': 9}, 'heldout')

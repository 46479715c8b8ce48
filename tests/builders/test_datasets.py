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

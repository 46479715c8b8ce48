"""What a data set's figures were made with."""

import pytest

from configs import cifar10
from experiments.published import setups


def counted(**images):
  return {
    f'{dataset}/images/{split}': {'value': n, 'examples': None}
    for dataset, counts in images.items()
    for split, n in counts.items()
  }


def test_images_that_are_missing_are_told():
  results = counted(cifar10={'train': 30_000})
  for group in ('cifar10', 'cifar10_train'):
    text = setups.said(group, ['small'], results)
    assert text.startswith(
      'At hand: 30,000 of 50,000 train and all 10,000 test images. '
    )
  assert 'all 50,000 train' in setups.said('cifar10', ['small'], {})
  results = {'nips17/a/b': {'examples': 120}, 'mnist/a/b': {'examples': 999}}
  text = setups.said('nips17', ['small'], results)
  assert text.startswith('Judged on 120 images at most. ')


def test_a_preset_is_told_by_its_config_and_beside_the_papers():
  text = setups.said('cifar10', ['small'], {})
  small, paper = text.partition('Preset ')[2].split('; ')
  for words, preset in ((small, 'small'), (paper, 'paper')):
    config = cifar10.get_config(preset)
    assert words.startswith(
      f'`{preset}`: `wide_resnet` (units {config.model.units}, '
      f'width {config.model.width}), trained in '
      f'{config.runs.nat.num_steps:,} (`adv`, `nat`)'
    )
    assert words.rstrip('.').endswith('steps of 128 images')


@pytest.mark.parametrize('group', sorted(setups._STUDIES))
def test_every_study_is_told(group):
  text = setups.said(group, ['small'], {})
  assert '`small`: ' in text and '`paper`: ' in text and text.endswith('.')


def test_what_is_no_study_needs_no_words():
  assert setups.said('benchmark', ['full'], {}) == ''

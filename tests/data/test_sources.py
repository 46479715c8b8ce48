import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rdefense.data.sources import (
  NAMES,
  PREPARED_NAMES,
  data_directory,
  load,
  to_unit,
)

# Counts by class of the official sets, 0 to 9.
MNIST_TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
MNIST_TRAIN_COUNTS = [
  *(5923, 6742, 5958, 6131, 5842),
  *(5421, 5918, 6265, 5851, 5949),
]

REPO = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def _load(name, split, data_dir):
  return load(name, split, data_dir)


def _load_or_skip(name, split, data_dir):
  if not any(pathlib.Path(data_dir).glob(f'{name}/*/dataset_info.json')):
    pytest.skip(f'{name} is not prepared in {data_dir}')
  return _load(name, split, os.fspath(data_dir))


def _digest(arrays):
  data = arrays.images.tobytes() + arrays.labels.tobytes()
  return hashlib.md5(data).hexdigest()


def _mean_and_std(arrays):
  # Over a histogram: float64 copies of the large sets cost seconds.
  counts = np.bincount(arrays.images.ravel(), minlength=256)
  values = np.arange(256) / 255
  mean = np.average(values, weights=counts)
  return mean, np.sqrt(np.average((values - mean) ** 2, weights=counts))


def _check_layout(arrays, name, shape):
  assert arrays.name == name
  assert arrays.images.shape == shape
  assert arrays.images.dtype == np.uint8
  assert arrays.labels.shape == shape[:1]
  assert arrays.labels.dtype == np.int32
  assert arrays.num_classes == 10
  assert set(arrays.labels) == set(range(10))


# Frozen: whoever changes the split changes every figure made from it.
@pytest.mark.parametrize(
  'split, size, digest',
  [
    ('train', 1297, '8dc0eca9c41c872cd546ef72b7509be3'),
    ('test', 500, 'f52845488897b420fc25b8a5e9eb2581'),
  ],
)
def test_digits_split_is_fixed(split, size, digest):
  arrays = load('digits', split)
  _check_layout(arrays, 'digits', (size, 8, 8, 1))
  assert _digest(arrays) == digest


def test_digits_splits_partition_the_scaled_originals():
  from sklearn import datasets

  digits = datasets.load_digits()
  scaled = {v: round(v * 255 / 16) for v in range(17)}
  images = np.vectorize(scaled.get)(digits.images.astype(int))
  expected = sorted(
    (image.astype(np.uint8).tobytes(), label)
    for image, label in zip(images, digits.target)
  )
  train, test = load('digits', 'train'), load('digits', 'test')
  actual = sorted(
    (image.tobytes(), label)
    for arrays in (train, test)
    for image, label in zip(arrays.images, arrays.labels)
  )
  assert actual == expected


def test_digits_needs_no_directory(tmp_path):
  arrays = load('digits', 'test', tmp_path / 'absent')
  np.testing.assert_array_equal(arrays.images, load('digits', 'test').images)


# The counts are the official ones; the digests freeze the pixels and the order
# of the files prepared by tensorflow-datasets 4.9 (mnist and fashion_mnist
# 3.0.1).
@pytest.mark.parametrize(
  'name, split, counts, moments, digest',
  [
    (
      'mnist',
      'test',
      MNIST_TEST_COUNTS,
      (0.1325, 0.3105),
      '7e808e74e35817856b151d8a562d5c1f',
    ),
    pytest.param(
      'mnist',
      'train',
      MNIST_TRAIN_COUNTS,
      (0.1307, 0.3081),
      'a54d59b5fad9aa93751c3618b95cad3d',
      marks=pytest.mark.slow,
    ),
    (
      'fashion_mnist',
      'train',
      [6000] * 10,
      (0.2860, 0.3530),
      'f29dc4c2520380b4319ea98fb2c069ff',
    ),
    (
      'fashion_mnist',
      'test',
      [1000] * 10,
      (0.2868, 0.3524),
      '719d4587b66552cc56d9274d9e77e93b',
    ),
  ],
  ids=['mnist-test', 'mnist-train', 'fashion-train', 'fashion-test'],
)
def test_28x28_sets_are_the_official_ones(
  data_dir, name, split, counts, moments, digest
):
  arrays = _load_or_skip(name, split, data_dir)
  _check_layout(arrays, name, (sum(counts), 28, 28, 1))
  np.testing.assert_array_equal(np.bincount(arrays.labels), counts)
  # Four digits: published for the train splits, measured here for the tests.
  np.testing.assert_allclose(_mean_and_std(arrays), moments, atol=5e-5)
  assert _digest(arrays) == digest


def test_cifar10_test_has_colours_and_balanced_classes(data_dir):
  arrays = _load_or_skip('cifar10', 'test', data_dir)
  _check_layout(arrays, 'cifar10', (10_000, 32, 32, 3))
  np.testing.assert_array_equal(np.bincount(arrays.labels), [1000] * 10)
  # Published test means by channel (red, green, blue), to three digits; a few
  # images of a development copy may be JPEG-decoded, which moves them by less.
  means = arrays.images.mean(axis=(0, 1, 2)) / 255
  np.testing.assert_allclose(means, [0.494, 0.485, 0.450], atol=1e-3)


def test_images_agree_with_the_decoding_of_tensorflow_datasets(data_dir):
  import tensorflow_datasets as tfds

  arrays = _load_or_skip('cifar10', 'test', data_dir)
  source = tfds.data_source(
    'cifar10', split='test', data_dir=os.fspath(data_dir), download=False
  )
  for i in (0, 1, 999, 1000, 5_432, 9_999):  # Around the borders of a read.
    np.testing.assert_array_equal(arrays.images[i], source[i]['image'])
    assert arrays.labels[i] == source[i]['label']


def test_loading_imports_no_tensorflow(data_dir):
  name = next(
    (n for n in PREPARED_NAMES if (pathlib.Path(data_dir) / n).is_dir()), None
  )
  if name is None:
    pytest.skip(f'no dataset is prepared in {data_dir}')
  program = (
    'import sys\n'
    'from rdefense.data.sources import load\n'
    'load("digits", "test")\n'
    f'load({name!r}, "test", {os.fspath(data_dir)!r})\n'
    'assert "tensorflow_datasets" in sys.modules\n'
    'assert "tensorflow" not in sys.modules\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', program], cwd=REPO, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == '' and done.stderr == ''


@pytest.mark.parametrize('count', [1, 1_000, 1_001, 10**6])
def test_the_first_examples_are_those_of_the_whole(data_dir, count):
  whole = _load_or_skip('mnist', 'test', data_dir)
  arrays = load('mnist', 'test', data_dir, count)
  np.testing.assert_array_equal(arrays.images, whole.images[:count])
  np.testing.assert_array_equal(arrays.labels, whole.labels[:count])
  assert arrays[2:] == whole[2:]


def test_a_negative_count_is_refused():
  with pytest.raises(ValueError, match='count=-1 must be at least 0'):
    load('digits', 'test', count=-1)


def test_unknown_name_lists_the_choices():
  with pytest.raises(ValueError, match="fashion_mnist.*got 'minst'") as info:
    load('minst', 'train')
  assert all(name in str(info.value) for name in NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_unknown_split_lists_the_choices(name):
  with pytest.raises(ValueError, match="train, test; got 'validation'"):
    load(name, 'validation')


@pytest.mark.parametrize('name', PREPARED_NAMES)
def test_unprepared_dataset_says_what_to_do(name, tmp_path):
  with pytest.raises(ValueError) as info:
    load(name, 'test', tmp_path)
  message = str(info.value)
  assert f'{name} is not prepared in {tmp_path}' in message
  assert f'python -m experiments.prepare_data --name={name}' in message
  assert 'TFDS_DATA_DIR' in message
  assert not any(tmp_path.iterdir())


def _copy_without_records(data_dir, tmp_path):
  if not (pathlib.Path(data_dir) / 'mnist').is_dir():
    pytest.skip(f'mnist is not prepared in {data_dir}')
  for source in pathlib.Path(data_dir).glob('mnist/*/*.json'):
    target = tmp_path / source.relative_to(data_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)  # Without the mode: it may be read-only.
  return tmp_path


def test_incomplete_dataset_says_what_to_do(data_dir, tmp_path):
  directory = _copy_without_records(data_dir, tmp_path)
  with pytest.raises(ValueError, match='mnist in .* files are missing'):
    load('mnist', 'test', directory)


def _without_test_split(text):
  info = json.loads(text)
  info['splits'] = [s for s in info['splits'] if s['name'] != 'test']
  return json.dumps(info)


@pytest.mark.parametrize(
  'damage',
  [lambda text: '', lambda text: text[: len(text) // 2], _without_test_split],
  ids=['empty', 'truncated', 'no-split'],
)
def test_damaged_description_says_what_to_do(data_dir, tmp_path, damage):
  directory = _copy_without_records(data_dir, tmp_path)
  (info,) = directory.glob('mnist/*/dataset_info.json')
  info.write_text(damage(info.read_text()))
  with pytest.raises(ValueError, match='mnist in .* files are .*damaged'):
    load('mnist', 'test', directory)


def test_tfrecord_dataset_says_what_to_do(data_dir, tmp_path):
  directory = _copy_without_records(data_dir, tmp_path)
  (info,) = directory.glob('mnist/*/dataset_info.json')
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(ValueError, match='prepared as TFRecord'):
    load('mnist', 'test', directory)


def test_directory_follows_argument_then_environment_then_home(monkeypatch):
  monkeypatch.setenv('HOME', '/home/someone')
  monkeypatch.setenv('TFDS_DATA_DIR', '/from/environment')
  assert data_directory('~/mine') == pathlib.Path('/home/someone/mine')
  assert data_directory() == pathlib.Path('/from/environment')
  monkeypatch.setenv('TFDS_DATA_DIR', '')
  home = pathlib.Path('/home/someone/tensorflow_datasets')
  assert data_directory() == home
  monkeypatch.delenv('TFDS_DATA_DIR')
  assert data_directory() == home


def test_load_reads_the_environment_at_each_call(tmp_path, monkeypatch):
  for folder in (tmp_path / 'one', tmp_path / 'two'):
    monkeypatch.setenv('TFDS_DATA_DIR', os.fspath(folder))
    with pytest.raises(ValueError, match=f'not prepared in {folder}'):
      load('mnist', 'test')


def test_to_unit_is_the_rounded_float32_product():
  values = np.arange(256, dtype=np.uint8)
  unit = to_unit(values)
  assert unit.dtype == np.float32
  assert unit[0] == 0 and unit[-1] == 1
  # A product of 8 and 24 significant bits is exact in float64, so that rounding
  # it once is what float32 arithmetic must give.
  factor = np.float64(np.float32(1 / 255))
  expected = np.float32(values.astype(np.float64) * factor)
  np.testing.assert_array_equal(unit, expected)
  # The quotient is another number: the two must not be mixed.
  assert (unit != values / np.float32(255)).any()
  np.testing.assert_array_equal(np.round(unit * 255), values)


def test_to_unit_keeps_the_shape_and_its_argument():
  images = np.full((2, 3, 4, 1), 7, np.uint8)
  assert to_unit(images).shape == (2, 3, 4, 1)
  assert images.dtype == np.uint8 and (images == 7).all()


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int32, bool])
def test_to_unit_refuses_other_types(dtype):
  with pytest.raises(ValueError, match=f'uint8.*got {np.dtype(dtype)}'):
    to_unit(np.zeros((1, 2, 2, 1), dtype))

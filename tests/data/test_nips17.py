"""NIPS-2017 images: a written folder, the real one, and its preparation."""

import csv
import os
import shutil

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from rdefense.data import load
from rdefense.data.nips17 import (
  load_nips17,
  nips17_builder,
  nips17_directory,
)

LABELS = {'b': 1000, 'a': 1, 'c': 306}  # in this order, not sorted


def pixels(label):
  rng = np.random.default_rng(label)
  return rng.integers(0, 256, (299, 299, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
  """A folder of the competition with three images."""
  (tmp_path / 'images').mkdir()
  with open(tmp_path / 'images.csv', 'w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['ImageId', 'URL', 'TrueLabel', 'TargetClass'])
    for name, label in LABELS.items():
      table.writerow([name, f'https://example.org/{name},1.jpg', label, 7])
      image = Image.fromarray(pixels(label))
      image.save(tmp_path / 'images' / f'{name}.png', compress_level=1)
  return tmp_path


def test_images_and_labels_are_read_in_the_order_of_the_table(folder):
  arrays = load_nips17(folder)
  assert arrays.name == 'nips17' and arrays.num_classes == 1001
  assert arrays.labels.dtype == np.int32
  assert arrays.labels.tolist() == list(LABELS.values())
  expected = np.stack([pixels(label) for label in LABELS.values()])
  assert arrays.images.dtype == np.uint8
  np.testing.assert_array_equal(arrays.images, expected)


def test_the_first_images_are_read_and_no_others(folder):
  whole = load_nips17(folder)
  (folder / 'images' / f'{list(LABELS)[-1]}.png').write_bytes(b'')
  for count in (1, 2):
    arrays = load_nips17(folder, count)
    np.testing.assert_array_equal(arrays.images, whole.images[:count])
    np.testing.assert_array_equal(arrays.labels, whole.labels[:count])
  with pytest.raises(ValueError, match='count=-1 must be at least 0'):
    load_nips17(folder, -1)


def edit(path, old, new):
  path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
  'damage, message',
  [
    (
      lambda d: (d / 'images' / 'a.png').unlink(),
      r'a\.png is missing \(1 of 3 images\)',
    ),
    (
      lambda d: (d / 'images' / 'a.png').write_bytes(b'no image'),
      r'a\.png cannot be read as an image',
    ),
    (
      lambda d: os.truncate(d / 'images' / 'c.png', 5000),
      r'c\.png cannot be read as an image',
    ),
    (
      lambda d: Image.new('L', (299, 299)).save(d / 'images' / 'a.png'),
      r'a\.png has shape \(299, 299\) .*\(299, 299, 3\)',
    ),
    (
      lambda d: Image.new('RGB', (224, 224)).save(d / 'images' / 'b.png'),
      r'b\.png has shape \(224, 224, 3\)',
    ),
    (
      lambda d: edit(d / 'images.csv', 'TrueLabel', 'Label'),
      r'images\.csv has no column TrueLabel',
    ),
    (
      lambda d: edit(d / 'images.csv', 'ImageId', 'Image'),
      r'images\.csv has no column ImageId',
    ),
    (
      lambda d: edit(d / 'images.csv', ',1000,', ',1001,'),
      "b the TrueLabel '1001', .* from 1 to 1000",
    ),
    (
      lambda d: edit(d / 'images.csv', ',306,', ',tench,'),
      "c the TrueLabel 'tench'",
    ),
    (
      lambda d: edit(d / 'images.csv', ',306,7', ''),
      "c the TrueLabel '', .*truncated",
    ),
    (
      lambda d: (d / 'images.csv').write_text('ImageId,TrueLabel\n'),
      'lists no images',
    ),
    (lambda d: (d / 'images.csv').unlink(), r'images\.csv is missing'),
  ],
  ids=[
    *('absent', 'text', 'truncated', 'grey', 'small', 'no-label', 'no-id'),
    *('label-1001', 'label-name', 'short-row', 'no-rows', 'no-table'),
  ],
)
def test_a_folder_that_is_not_whole_is_named(folder, damage, message):
  damage(folder)
  with pytest.raises(ValueError, match=message):
    load_nips17(folder)


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(ValueError, match='none is not a folder: set NIPS17_DIR'):
    load_nips17(tmp_path / 'none')


def test_the_folder_is_named_or_lies_beside_the_datasets(monkeypatch, tmp_path):
  monkeypatch.delenv('NIPS17_DIR', raising=False)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  assert nips17_directory() == tmp_path / 'nips17'
  assert nips17_directory(tmp_path / 'x' / 'y') == tmp_path / 'x' / 'nips17'
  monkeypatch.setenv('NIPS17_DIR', str(tmp_path / 'named'))
  assert nips17_directory(tmp_path) == tmp_path / 'named'


def test_the_final_images_have_a_folder_of_their_own(folder, monkeypatch):
  monkeypatch.delenv('NIPS17_DIR', raising=False)
  monkeypatch.delenv('NIPS17_FINAL_DIR', raising=False)
  root = folder / 'root'
  here = root / 'tfds'
  message = 'nips17_final is not a folder: .* NIPS17_FINAL_DIR'
  with pytest.raises(ValueError, match=message):
    load('nips17', 'final', here)
  shutil.copytree(folder / 'images', root / 'nips17_final' / 'images')
  (root / 'nips17_final' / 'images.csv').write_text('ImageId,TrueLabel\na,7\n')
  monkeypatch.setenv('NIPS17_DIR', str(folder))
  assert load('nips17', 'test', here).labels.tolist() == list(LABELS.values())
  assert load('nips17', 'final', here).labels.tolist() == [7]
  with pytest.raises(ValueError, match="'test' and 'final'; got 'train'"):
    load('nips17', 'train', here)
  monkeypatch.setenv('NIPS17_FINAL_DIR', str(folder))
  assert load('nips17', 'final', here, count=2).labels.tolist() == [1000, 1]
  with pytest.raises(ValueError, match="'train' is unknown.*: test, final"):
    nips17_directory(here, 'train')
  with pytest.raises(ValueError, match="train, test; got 'final'"):
    load('mnist', 'final', here)


def test_the_named_folder_is_read_by_default(folder, monkeypatch):
  monkeypatch.setenv('NIPS17_DIR', str(folder))
  assert len(load_nips17().labels) == 3


def test_prepared_images_are_those_of_the_folder(folder, tmp_path):
  builder = nips17_builder(tmp_path / 'prepared')
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=folder)
  )
  source = builder.as_data_source('test')
  assert source.dataset_info.features['label'].num_classes == 1001
  rows = {row['id'].decode(): row for row in source}
  assert {name: row['label'] for name, row in rows.items()} == LABELS
  for name, label in LABELS.items():
    np.testing.assert_array_equal(rows[name]['image'], pixels(label))


def test_preparing_names_what_is_wrong_with_the_folder(folder, tmp_path):
  (folder / 'images' / 'a.png').write_bytes(b'no image')
  builder = nips17_builder(tmp_path / 'prepared')
  with pytest.raises(ValueError, match=r'a\.png cannot be read'):
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=folder)
    )
  assert not builder.is_prepared()


def test_the_development_images_are_read(data_dir):
  folder = data_dir.parent / 'nips17'
  if not folder.is_dir():
    pytest.skip(f'no images: {folder} is not a folder')
  arrays = load_nips17(folder)
  with open(folder / 'images.csv', encoding='utf-8', newline='') as file:
    rows = list(csv.reader(file))
  column = {name: i for i, name in enumerate(rows[0])}
  assert arrays.images.shape == (len(rows) - 1, 299, 299, 3)
  assert 1 <= arrays.labels.min() and arrays.labels.max() <= 1000
  for i in (0, len(rows) // 2, len(rows) - 2):
    row = rows[i + 1]
    assert arrays.labels[i] == int(row[column['TrueLabel']])
    path = folder / 'images' / f'{row[column["ImageId"]]}.png'
    with Image.open(path) as image:
      np.testing.assert_array_equal(arrays.images[i], image.convert('RGB'))

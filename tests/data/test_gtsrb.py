"""Traffic signs: written archives, the real ones, and their preparation."""

import os
import shutil

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from experiments import prepare_data
from rdefense.data.gtsrb import (
  ARCHIVES,
  gtsrb_builder,
  gtsrb_directory,
  gtsrb_rows,
  load_gtsrb,
)
from rdefense.data.sources import load

TRAINING = 'GTSRB/Final_Training/Images'
TEST = 'GTSRB/Final_Test/Images'
COLUMNS = 'Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId'


def picture(height, width, low=100):
  rng = np.random.default_rng([height, width])
  return rng.integers(low, 256, (height, width, 3), np.uint8)


def sampled(value, other):
  """64x64, of which 32x32 takes the `value`s: every second pixel, from 1."""
  pixels = np.full((64, 64, 3), other, np.uint8)
  pixels[1::2, 1::2] = value
  return pixels


AT_50 = sampled(50, other=0)
BELOW_50 = sampled(50, other=255)
BELOW_50[-1, -1, 2] = 49

# Not in the order of the names: that of the tables counts.
TRAIN_IMAGES = {
  label: {'00000_00000.ppm': picture(25 + label, 60 - label)}
  for label in range(43)
}
TRAIN_IMAGES[5] = {'b.ppm': picture(32, 32), 'a.ppm': picture(15, 250)}
TRAIN_IMAGES[7] = {'below.ppm': BELOW_50, 'at.ppm': AT_50}
TEST_IMAGES = {
  '00002.ppm': (42, picture(20, 31)),
  '00003.ppm': (9, BELOW_50),
  '00000.ppm': (7, AT_50),
  '00001.ppm': (0, picture(33, 64)),
}


def nearest(pixels):
  """The pixel under the centre of each of 32x32 cells, in integers."""
  height, width, _ = pixels.shape
  odd = 2 * np.arange(32) + 1
  return pixels[odd * height // 64][:, odd * width // 64]


def expected(split):
  if split == 'train':
    listed = [
      (pixels, label, f'{label:05d}/{name}')
      for label, images in TRAIN_IMAGES.items()
      for name, pixels in images.items()
    ]
  else:
    listed = [(p, label, name) for name, (label, p) in TEST_IMAGES.items()]
  kept = [row for row in listed if row[0] is not BELOW_50]
  return np.stack([nearest(p) for p, _, _ in kept]), *list(zip(*kept))[1:]


def write_folder(folder, table, rows):
  """Images, and their table as the archives have it."""
  folder.mkdir(parents=True)
  lines = [COLUMNS]
  for name, pixels, label in rows:
    Image.fromarray(pixels).save(folder / name)
    height, width, _ = pixels.shape
    lines.append(f'{name};{width};{height};5;6;24;25;{label}')
  table.write_text('\r\n'.join([*lines, '']))


def write_archives(directory):
  for label, images in TRAIN_IMAGES.items():
    folder = directory / TRAINING / f'{label:05d}'
    rows = [(name, pixels, label) for name, pixels in images.items()]
    write_folder(folder, folder / f'GT-{label:05d}.csv', rows)
  rows = [
    (name, pixels, label) for name, (label, pixels) in TEST_IMAGES.items()
  ]
  write_folder(directory / TEST, directory / 'GT-final_test.csv', rows)


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
  """A folder with the archives extracted, as `gtsrb` beside `tfds`."""
  directory = tmp_path_factory.mktemp('data') / 'gtsrb'
  write_archives(directory)
  return directory


@pytest.fixture
def folder(archives, tmp_path):
  """A copy to damage."""
  return shutil.copytree(archives, tmp_path / 'gtsrb')


def check(arrays, split):
  images, labels, _ = expected(split)
  assert arrays.name == 'gtsrb' and arrays.num_classes == 43
  assert arrays.images.dtype == np.uint8 and arrays.labels.dtype == np.int32
  assert arrays.labels.tolist() == list(labels)
  np.testing.assert_array_equal(arrays.images, images)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_images_are_resized_filtered_and_in_the_order_of_the_tables(
  archives, split
):
  check(load_gtsrb(split, archives), split)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_the_first_images_are_read_and_no_others(folder, split):
  images, labels, _ = expected(split)
  for count in (1, len(images) - 1, len(images), 1_000):
    arrays = load_gtsrb(split, folder, count)
    np.testing.assert_array_equal(arrays.images, images[:count])
    assert arrays.labels.tolist() == list(labels)[:count]
  last, _ = gtsrb_rows(split, folder)[-1]
  last.write_bytes(b'')
  assert len(load_gtsrb(split, folder, 1).images) == 1
  with pytest.raises(ValueError, match='cannot be read as an image'):
    load_gtsrb(split, folder)
  with pytest.raises(ValueError, match='count=-1 must be at least 0'):
    load_gtsrb(split, folder, -1)


def test_the_written_images_lie_around_the_limit():
  # Before resizing they are on its other side.
  limit = 50 * 32 * 32 * 3
  assert nearest(AT_50).sum() == limit and AT_50.mean() < 50
  assert nearest(BELOW_50).sum() == limit - 1 and BELOW_50.mean() > 50


def test_labels_of_test_images_may_lie_among_them(folder):
  (folder / 'GT-final_test.csv').rename(folder / TEST / 'GT-final_test.csv')
  check(load_gtsrb('test', folder), 'test')


def edit(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new))


CLASS_7 = f'{TRAINING}/00007'
TABLE_7 = f'{CLASS_7}/GT-00007.csv'


@pytest.mark.parametrize(
  'split, damage, message',
  [
    (
      'train',
      lambda d: shutil.rmtree(d / CLASS_7),
      r'00007/GT-00007\.csv is missing: extract GTSRB_Final_Training',
    ),
    (
      'train',
      lambda d: (d / TABLE_7).unlink(),
      r'00007/GT-00007\.csv is missing: extract GTSRB_Final_Training',
    ),
    (
      'train',
      lambda d: (d / CLASS_7 / 'at.ppm').unlink(),
      r'00007/at\.ppm is missing \(1 of 2 images that GT-00007\.csv lists\)',
    ),
    (
      'train',
      lambda d: edit(d / TABLE_7, ';7', ';8'),
      r"00007\.csv gives below\.ppm the ClassId '8', which is not 7",
    ),
    (
      'train',
      lambda d: (d / CLASS_7 / 'below.ppm').write_bytes(b'no image'),
      r'00007/below\.ppm cannot be read as an image',
    ),
    (
      'train',
      lambda d: (d / CLASS_7 / 'at.ppm').write_bytes(b'P6\n'),
      r'00007/at\.ppm cannot be read as an image',
    ),
    (
      'train',
      lambda d: (d / CLASS_7 / 'at.ppm').write_bytes(b'P6 99999 99999 255\n'),
      r'00007/at\.ppm cannot be read as an image',
    ),
    (
      'test',
      lambda d: os.truncate(d / TEST / '00002.ppm', 500),
      r'Images/00002\.ppm cannot be read as an image',
    ),
    (
      'test',
      lambda d: Image.new('L', (9, 9)).save(d / TEST / '00000.ppm'),
      r'00000\.ppm is in mode L',
    ),
    (
      'test',
      lambda d: shutil.rmtree(d / TEST),
      r'Images/00002\.ppm is missing \(4 of 4 images',
    ),
    (
      'test',
      lambda d: (d / 'GT-final_test.csv').unlink(),
      r'GT-final_test\.csv is missing: extract GTSRB_Final_Test_GT\.zip',
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';42', ';43'),
      "00002.ppm the ClassId '43', which is not an integer from 0 to 42",
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';42', ';-1'),
      "00002.ppm the ClassId '-1', which is not an integer from 0 to 42",
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';42', ';4.2'),
      "00002.ppm the ClassId '4.2'",
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';25;42', ''),
      "00002.ppm the ClassId '', .*truncated",
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';ClassId', ''),
      r'GT-final_test\.csv has no column ClassId',
    ),
    (
      'test',
      lambda d: edit(d / 'GT-final_test.csv', ';', ','),
      r'has no column Filename: .*semicolons',
    ),
    (
      'test',
      lambda d: (d / 'GT-final_test.csv').write_bytes(b'\xff\x00\xfe'),
      r'GT-final_test\.csv has no column Filename',
    ),
    (
      'test',
      lambda d: (d / 'GT-final_test.csv').write_text(f'{COLUMNS}\r\n'),
      r'GT-final_test\.csv lists no images',
    ),
  ],
  ids=[
    *('no-class', 'no-table', 'absent', 'other-class', 'text', 'no-header'),
    *('vast', 'truncated', 'grey', 'no-images', 'no-labels', 'label-43'),
    *('label--1', 'label-4.2', 'short-row', 'no-column', 'commas', 'no-text'),
    'no-rows',
  ],
)
def test_a_folder_that_is_not_whole_is_named(folder, split, damage, message):
  damage(folder)
  with pytest.raises(ValueError, match=message):
    load_gtsrb(split, folder)


def test_a_missing_folder_is_named(tmp_path):
  message = 'none is not a folder: set GTSRB_DIR .*prepare_data --name=gtsrb'
  with pytest.raises(ValueError, match=message):
    load_gtsrb('train', tmp_path / 'none')


def test_an_unknown_split_lists_the_choices(archives):
  with pytest.raises(ValueError, match="train, test; got 'validation'"):
    load_gtsrb('validation', archives)


def test_the_folder_is_named_or_lies_beside_the_datasets(monkeypatch, tmp_path):
  monkeypatch.delenv('GTSRB_DIR', raising=False)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  assert gtsrb_directory() == tmp_path / 'gtsrb'
  assert gtsrb_directory(tmp_path / 'x' / 'y') == tmp_path / 'x' / 'gtsrb'
  monkeypatch.setenv('GTSRB_DIR', str(tmp_path / 'named'))
  assert gtsrb_directory(tmp_path) == tmp_path / 'named'


def test_what_is_prepared_is_read_before_the_folder(folder, monkeypatch):
  monkeypatch.delenv('GTSRB_DIR', raising=False)
  data_dir = folder.parent / 'tfds'
  check(load('gtsrb', 'test', data_dir), 'test')
  assert not data_dir.exists()
  prepared = prepare_data.prepare('gtsrb', data_dir)
  shutil.rmtree(folder)
  for split in ('train', 'test'):
    check(load('gtsrb', split, data_dir), split)
  assert prepare_data.prepare('gtsrb', data_dir) == prepared
  source = gtsrb_builder(data_dir).as_data_source('train')
  assert source.dataset_info.features['label'].num_classes == 43
  names = tuple(row['id'].decode() for row in source)
  assert names == expected('train')[2]

  (records,) = data_dir.glob('gtsrb/*/gtsrb-test.array_record*')
  os.truncate(records, records.stat().st_size - 1000)
  with pytest.raises(ValueError, match='gtsrb in .* files are .*damaged'):
    load('gtsrb', 'test', data_dir)


def test_archives_are_downloaded_where_there_is_no_folder(
  archives, tmp_path, monkeypatch
):
  # Each archive is extracted into a folder of its own.
  folders = {part: tmp_path / part for part in ARCHIVES}
  shutil.copytree(archives / TRAINING, folders['train'] / TRAINING)
  shutil.copytree(archives / TEST, folders['test'] / TEST)
  folders['labels'].mkdir()
  shutil.copy(archives / 'GT-final_test.csv', folders['labels'])
  asked = []

  def download_and_extract(self, urls):
    asked.append(urls)
    return folders

  monkeypatch.setattr(
    tfds.download.DownloadManager, 'download_and_extract', download_and_extract
  )
  gtsrb_builder(tmp_path / 'tfds').download_and_prepare()
  (urls,) = asked
  assert all(url.startswith('https://') for url in urls.values())
  names = {part: url.rpartition('/')[2] for part, url in urls.items()}
  assert names == ARCHIVES
  check(load('gtsrb', 'test', tmp_path / 'tfds'), 'test')


def test_preparing_names_what_is_wrong_with_the_folder(folder, monkeypatch):
  monkeypatch.setenv('GTSRB_DIR', str(folder))
  data_dir = folder.parent / 'tfds'
  (folder / TEST / '00002.ppm').write_bytes(b'no image')
  with pytest.raises(ValueError, match=r'00002\.ppm cannot be read'):
    prepare_data.prepare('gtsrb', data_dir)
  assert not gtsrb_builder(data_dir).is_prepared()


def test_preparing_without_archives_or_tensorflow_says_so(
  tmp_path, monkeypatch
):
  monkeypatch.setenv('GTSRB_DIR', str(tmp_path / 'none'))
  monkeypatch.setattr(
    prepare_data, '_NEEDED_TO_PREPARE', ('no_such_module', 'os')
  )
  with pytest.raises(
    ModuleNotFoundError, match='needs no_such_module: .* extract .*/none$'
  ):
    prepare_data.prepare('gtsrb', tmp_path / 'tfds')


# A development copy may hold a part of the 39,209 and 12,630 images: the counts
# before and after the filter are those of one that does.
@pytest.mark.parametrize(
  'split, listed, kept', [('train', 1_118, 802), ('test', 1_290, 919)]
)
def test_the_archives_are_read(data_dir, split, listed, kept):
  folder = data_dir.parent / 'gtsrb'
  if not folder.is_dir():
    pytest.skip(f'no images: {folder} is not a folder')
  rows = gtsrb_rows(split, folder)
  arrays = load_gtsrb(split, folder)
  assert arrays.images.shape == (len(arrays.labels), 32, 32, 3)
  assert set(arrays.labels) == set(range(43))
  assert arrays.images.mean(axis=(1, 2, 3)).min() >= 50
  if len(rows) == listed:
    assert len(arrays.labels) == kept
  bright = (
    (nearest(pixels), label)
    for pixels, label in ((np.asarray(Image.open(p)), y) for p, y in rows)
    if nearest(pixels).mean() >= 50
  )
  for i, (pixels, label) in zip(range(100), bright):
    np.testing.assert_array_equal(arrays.images[i], pixels)
    assert arrays.labels[i] == label

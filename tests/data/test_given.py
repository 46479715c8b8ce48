"""Images made elsewhere: arrays and folders of PNG, and what is refused."""

import numpy as np
from PIL import Image
import pytest

from rdefense.data import Arrays, batches, load_given

EPS = 8 / 255
NAMES = ('b', 'a', 'c')  # in this order, not sorted


@pytest.fixture
def clean():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (3, 5, 4, 3), np.uint8)
  return Arrays(images, np.array([1, 0, 2], np.int32), 3, 'toy')


def moved(clean, levels):
  noise = np.random.default_rng(1).choice([-levels, levels], clean.images.shape)
  return np.clip(clean.images + noise, 0, 255).astype(np.uint8)


def save(folder, images):
  for name, image in zip(NAMES, images, strict=True):
    Image.fromarray(image).save(folder / f'{name}.png')


def test_a_folder_is_read_in_the_order_of_the_names(clean, tmp_path):
  images = moved(clean, 8)
  save(tmp_path, images)
  given = load_given(tmp_path, clean, 'linf', EPS, NAMES)
  np.testing.assert_array_equal(given.images, images)
  assert given.labels is clean.labels and given.name == 'toy'
  (batch,) = batches(given, 3)
  np.testing.assert_array_equal(batch.image, images * np.float32(1 / 255))


def test_gray_images_have_one_channel(clean, tmp_path):
  gray = clean._replace(images=clean.images[..., :1])
  save(tmp_path, gray.images[..., 0])
  given = load_given(tmp_path, gray, 'linf', 0.0, NAMES)
  np.testing.assert_array_equal(given.images, gray.images)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
def test_an_array_keeps_its_values(dtype, clean, tmp_path):
  images = moved(clean, 8)
  if dtype != np.uint8:  # between two grey levels
    images = np.clip(clean.images / 255 + 0.9 * EPS, 0, 1).astype(dtype)
  np.save(tmp_path / 'made.npy', images)
  given = load_given(tmp_path / 'made.npy', clean, 'linf', EPS)
  (batch,) = batches(given, 3)
  expected = images / 255 if dtype == np.uint8 else images
  np.testing.assert_allclose(batch.image, expected, atol=1e-7)
  assert batch.image.dtype == np.float32


@pytest.mark.parametrize(
  'norm, order', [('linf', np.inf), ('l2', 2), ('l1', 1)]
)
def test_what_is_further_away_is_refused(norm, order, clean, tmp_path):
  images = clean.images.copy()
  images[2] = moved(clean, 8)[2]
  np.save(tmp_path / 'made.npy', images)
  away = (images[2].astype(float) - clean.images[2]).ravel() / 255
  eps = np.linalg.norm(away, order)
  assert len(load_given(tmp_path / 'made.npy', clean, norm, eps).images) == 3
  words = f'image 2 is {eps:.4g} away from its original in {norm}'
  with pytest.raises(ValueError, match=words):
    load_given(tmp_path / 'made.npy', clean, norm, 0.99 * eps)


def test_a_file_that_does_not_fit_is_named(clean, tmp_path):
  path = tmp_path / 'made.npy'

  def refused(words, path=path, names=NAMES):
    with pytest.raises(ValueError, match=words):
      load_given(path, clean, 'linf', EPS, names)

  refused('made.npy is neither a folder of images nor a .npy file')
  path.write_bytes(b'PK')
  refused('made.npy cannot be read')
  np.save(path, clean.images[:2])
  refused(r'shape \(2, 5, 4, 3\).*\(3, 5, 4, 3\): were they made from other')
  np.save(path, clean.images.astype(np.float32))
  refused('made.npy: images span .* divide by 255')
  refused('no names to look for in it', tmp_path, ())
  save(tmp_path, clean.images)
  (tmp_path / 'a.png').unlink()
  refused(r'a.png is missing \(1 of 3 images\)', tmp_path)
  (tmp_path / 'a.png').write_bytes(b'no image')
  refused('a.png cannot be read as an image', tmp_path)
  Image.fromarray(clean.images[1][:3]).save(tmp_path / 'a.png')
  refused(r'a.png has shape \(3, 4, 3\) of uint8', tmp_path)
  with pytest.raises(ValueError, match="norm='linfty' is unknown"):
    load_given(tmp_path, clean, 'linfty', EPS, NAMES)
  for eps, words in ((8, 'eps=8 is larger than 1'), (-1, 'must be at least 0')):
    with pytest.raises(ValueError, match=words):
      load_given(tmp_path, clean, 'linf', eps, NAMES)

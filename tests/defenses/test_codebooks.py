"""Counting of pixels, Algorithm 1, grids, and codebooks on disk."""

import itertools
import os

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from rdefense.defenses import codebooks


def tfds_images(data_dir, name):
  if not (data_dir / name).is_dir():
    pytest.skip(f'no {name} in {data_dir}')
  tfds = pytest.importorskip('tensorflow_datasets')
  source = tfds.data_source(
    name, split='train', data_dir=str(data_dir), download=False
  )
  return np.stack([row['image'] for row in source])


@pytest.fixture(scope='module')
def mnist(data_dir):
  return codebooks.colors_from_images(tfds_images(data_dir, 'mnist'))


@pytest.fixture(scope='module')
def fashion(data_dir):
  return codebooks.colors_from_images(tfds_images(data_dir, 'fashion_mnist'))


@pytest.fixture(scope='module')
def cifar(data_dir):
  path = data_dir.parent / 'cifar10_train_colours.npz'
  if not path.is_file():
    pytest.skip(f'no {path.name} beside {data_dir}')
  with np.load(path) as file:
    packed = np.cumsum(file['step'].astype(np.int64))
    counts = file['count'].astype(np.int64)
  values = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
  return codebooks.colors_from_histogram(values.astype(np.uint8), counts)


def levels(codebook):
  grey = np.rint(255 * codebook.codes).astype(int)
  np.testing.assert_array_equal(
    codebook.codes, grey.astype(np.float32) * np.float32(1 / 255)
  )
  return grey.tolist()


def images_of(max_channels=3, top=255):
  shapes = st.tuples(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, max_channels),
  )
  return shapes.flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, top))
  )


def literal_algorithm_1(images, num_codes, reach, rho):
  """The paper's loop over a list of pixels, recounted in every round."""
  pixels = [
    tuple(int(level) for level in pixel)
    for pixel in images.reshape(-1, images.shape[-1])
  ]
  picked = []
  while pixels and len(picked) < num_codes:
    density = {v: sum(rho(p, v) for p in pixels) for v in dict.fromkeys(pixels)}
    top = max(density.values())
    code = next(v for v in density if np.isclose(density[v], top, rtol=1e-12))
    picked.append(code)
    pixels = [
      p for p in pixels if max(abs(a - b) for a, b in zip(p, code)) > reach
    ]
  return [list(code) for code in picked]


@given(images_of())
@settings(max_examples=30, deadline=None)
def test_colors_agree_with_a_plain_count(images):
  colors = codebooks.colors_from_images(images)
  pixels = [tuple(p) for p in images.reshape(-1, images.shape[-1]).tolist()]
  distinct = sorted(set(pixels))
  assert [tuple(v) for v in colors.values.tolist()] == distinct
  assert colors.counts.tolist() == [pixels.count(v) for v in distinct]
  assert colors.first.tolist() == [pixels.index(v) for v in distinct]


@pytest.mark.parametrize('channels', [1, 2])
def test_histogram_path_agrees_with_sorting(channels):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 200, (70_000, channels), dtype=np.uint8)
  packed, first, counts = codebooks._histogram(pixels, chunk=9_999)
  expected = np.unique(pixels, axis=0, return_index=True, return_counts=True)
  np.testing.assert_array_equal(
    codebooks._unpack(packed, channels), expected[0]
  )
  np.testing.assert_array_equal(first, expected[1])
  np.testing.assert_array_equal(counts, expected[2])


@given(images_of(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_histogram_is_the_same_for_permuted_images_and_weights(images, random):
  order = list(range(len(images)))
  random.shuffle(order)
  colors = codebooks.colors_from_images(images)
  moved = codebooks.colors_from_images(images[order])
  np.testing.assert_array_equal(colors.values, moved.values)
  np.testing.assert_array_equal(colors.counts, moved.counts)
  rows = list(range(len(colors.counts)))
  random.shuffle(rows)
  weighted = codebooks.colors_from_histogram(
    colors.values[rows], colors.counts[rows]
  )
  np.testing.assert_array_equal(colors.values, weighted.values)
  np.testing.assert_array_equal(colors.counts, weighted.counts)


@given(images_of(top=12), st.integers(2, 6), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_density_agrees_with_the_literal_algorithm(images, num_codes, reach):
  book = codebooks.density(images, num_codes, reach / 255)
  assert levels(book) == literal_algorithm_1(
    images, num_codes, reach, lambda p, v: p == v
  )


@given(
  images_of(max_channels=2, top=12),
  st.integers(1, 4),
  st.sampled_from(['box', 'gaussian']),
)
@settings(max_examples=40, deadline=None)
def test_smooth_densities_agree_with_the_literal_algorithm(
  images, width, kernel
):
  def box(p, v):
    return max(abs(a - b) for a, b in zip(p, v)) <= width

  def gaussian(p, v):
    return np.exp(-sum((a - b) ** 2 for a, b in zip(p, v)) / (2 * width**2))

  # Symmetric images tie exactly in h, and sums in floats then differ in the
  # last bit: compare the densities there, and the codes for whole counts.
  rho = {'box': box, 'gaussian': gaussian}[kernel]
  book = codebooks.density(images, 4, 3 / 255, kernel, width / 255)
  expected = literal_algorithm_1(images, 4, 3, rho)
  if kernel == 'box':
    assert levels(book) == expected
  pixels = images.reshape(-1, images.shape[-1]).astype(int)
  np.testing.assert_allclose(
    book.provenance['densities'][0],
    sum(rho(p, expected[0]) for p in pixels),
    rtol=1e-12,
  )


@pytest.mark.parametrize('kernel', ['box', 'gaussian'])
def test_smooth_densities_of_untied_colours(kernel):
  rng = np.random.default_rng(3)
  images = rng.integers(0, 40, (1, 12, 12, 3), dtype=np.uint8)
  width = 5

  def rho(p, v):
    apart = np.abs(np.subtract(p, v))
    if kernel == 'box':
      return float(apart.max() <= width)
    return float(np.exp(-(apart @ apart) / (2 * width**2)))

  book = codebooks.density(images, 5, 6 / 255, kernel, width / 255)
  assert levels(book) == literal_algorithm_1(images, 5, 6, rho)


@given(images_of(max_channels=1), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_density_codes_are_apart_and_cover_all(images, reach):
  book = codebooks.density(images, 300, reach / 255)
  grey = np.array(levels(book))
  apart = np.abs(grey[:, None] - grey[None]).max(-1)
  assert (apart[~np.eye(len(grey), dtype=bool)] > reach).all()
  pixels = images.reshape(-1, 1).astype(int)
  assert np.abs(pixels[:, None] - grey[None]).max(-1).min(1).max() <= reach


@pytest.mark.parametrize('reach', range(1, 256))
def test_radius_is_inclusive_at_whole_levels(reach):
  images = np.uint8([0, 0, reach]).reshape(1, 1, 3, 1)
  for radius in (reach / 255, np.float32(reach / 255), 1 / 255 * reach):
    assert levels(codebooks.density(images, 2, radius)) == [[0]]
  below = codebooks.density(images, 2, (reach - 0.01) / 255)
  assert levels(below) == [[0], [reach]]


def test_ties_go_to_the_first_pixel():
  images = np.uint8([[9, 200], [200, 9], [90, 90]]).reshape(3, 1, 2, 1)
  assert levels(codebooks.density(images, 3, 1 / 255)) == [[9], [200], [90]]
  assert levels(codebooks.density(images[::-1], 3, 1 / 255)) == [
    [90],
    [200],
    [9],
  ]


@pytest.mark.slow  # decodes 60,000 images
def test_mnist_density(mnist):
  counted = dict(zip(mnist.values[:, 0].tolist(), mnist.counts.tolist()))
  expected = {
    0: 38_045_844,
    253: 1_513_207,
    254: 801_557,
    252: 653_888,
    255: 314_282,
    251: 117_808,
  }
  assert {level: counted[level] for level in expected} == expected
  assert levels(codebooks.density(mnist, 3, 0.3)) == [[0], [253], [128]]
  for radius in (0.5, 0.6):
    book = codebooks.density(mnist, 3, radius)
    assert levels(book) == [[0], [253]]
    assert book.counts.tolist() == [38_045_844, 1_513_207]


@pytest.mark.slow  # decodes 60,000 images
def test_fashion_density(fashion):
  counted = dict(zip(fashion.values[:, 0].tolist(), fashion.counts.tolist()))
  expected = {0: 23_616_498, 1: 477_616, 255: 379_088, 222: 173_532}
  assert {level: counted[level] for level in expected} == expected
  # The 55,000 first images give these codes too (PROTOCOL A3).
  book = codebooks.density(fashion, 5, 0.2)
  assert levels(book) == [[0], [255], [202], [150], [85]]


def test_cifar_density(cifar):
  assert len(cifar.counts) == 4_554_653
  assert cifar.counts.sum() == 51_200_000
  book = codebooks.density(cifar, 300, 16 / 255)
  assert levels(book)[:6] == [[v] * 3 for v in (255, 0, 192, 238, 19, 216)]
  assert book.counts[:6].tolist() == [
    368_073,
    59_081,
    7_073,
    6_624,
    5_148,
    4_800,
  ]
  assert len(book.codes) == 300
  codebooks.check_codes(book.codes)


@pytest.mark.parametrize('size, channels', [(2, 1), (3, 3), (16, 1), (256, 1)])
def test_grid(size, channels):
  book = codebooks.grid(size, channels)
  axis = [t / (size - 1) for t in range(size)]
  expected = list(itertools.product(axis, repeat=channels))
  # One rounding of the level and one of the product, in float32.
  np.testing.assert_allclose(book.codes, expected, rtol=2**-22)
  assert book.codes.dtype == np.float32 and not book.counts.any()
  codebooks.check_codes(book.codes)


def test_all_pixels_are_in_range_and_as_loaders_scale_them():
  levels_ = np.arange(256, dtype=np.uint8)
  pixels = codebooks.pixel_units(levels_)
  np.testing.assert_array_equal(
    pixels, levels_.astype(np.float32) * np.float32(1 / 255)
  )
  assert pixels.dtype == np.float32 and pixels[-1] == 1


def test_save_and_load(tmp_path):
  images = np.uint8([0, 0, 9, 255]).reshape(1, 2, 2, 1)
  book = codebooks.density(images, 3, 1 / 255)
  path = tmp_path / 'codes.npz'
  codebooks.save(path, codebooks.grid(2, 1))
  codebooks.save(path, book)
  back = codebooks.load(path)
  np.testing.assert_array_equal(back.codes, book.codes)
  np.testing.assert_array_equal(back.counts, book.counts)
  assert back.codes.dtype == np.float32 and back.counts.dtype == np.int64
  assert back.provenance == book.provenance
  assert back.provenance['method'] == 'density'
  assert back.provenance['num_pixels'] == 4
  assert os.listdir(tmp_path) == ['codes.npz']


def test_load_refuses_broken_files(tmp_path):
  path = tmp_path / 'codes.npz'
  with pytest.raises(ValueError, match='missing'):
    codebooks.load(path)
  codebooks.save(path, codebooks.grid(4, 3))
  whole = path.read_bytes()
  for size in (0, 10, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match='not a whole codebook file'):
      codebooks.load(path)
  flipped = bytearray(whole)
  flipped[len(whole) // 3] ^= 255
  path.write_bytes(bytes(flipped))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)
  np.savez(path, codes=np.zeros((2, 1), np.float32))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)
  with path.open('wb') as file:
    np.save(file, np.zeros(3))
  with pytest.raises(ValueError, match='not a whole codebook file'):
    codebooks.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path):
  path = tmp_path / 'codes.npz'
  book = codebooks.grid(2, 1)
  codebooks.save(path, book)
  with pytest.raises(TypeError):
    codebooks.save(path, book._replace(provenance={'key': object()}))
  assert os.listdir(tmp_path) == ['codes.npz']
  assert codebooks.load(path).provenance == book.provenance


@pytest.mark.parametrize(
  'codes, match',
  [
    (np.zeros((0, 3)), 'at least one'),
    (np.zeros(3), 'one code a row'),
    ([[0.0], [np.nan]], 'NaN'),
    ([[0.0], [255.0]], 'divide by 255'),
    ([[-0.1], [0.5]], 'span'),
    ([[0.5, 0.5], [0.5, 0.5]], 'duplicates'),
  ],
)
def test_check_codes(codes, match):
  with pytest.raises(ValueError, match=match):
    codebooks.check_codes(codes)


IMAGES = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)


@pytest.mark.parametrize(
  'call, match',
  [
    (lambda: codebooks.density(IMAGES / 255, 2, 0.1), 'pass the uint8 images'),
    (lambda: codebooks.density(IMAGES[:0], 2, 0.1), 'non-empty'),
    (lambda: codebooks.density(IMAGES[0], 2, 0.1), r'\[N, H, W, C\]'),
    (lambda: codebooks.density(IMAGES.reshape(1, 1, 3, 4), 2, 0.1), 'channels'),
    (lambda: codebooks.density(IMAGES, 1, 0.1), 'num_codes=1'),
    (lambda: codebooks.density(IMAGES, 2, 0), 'radius=0'),
    (lambda: codebooks.density(IMAGES, 2, float('nan')), 'radius=nan'),
    (lambda: codebooks.density(IMAGES, 2, 16), r'radius=16'),
    (lambda: codebooks.density(IMAGES, 2, 0.1, 'cosine'), "'cosine'"),
    (lambda: codebooks.density(IMAGES, 2, 0.1, 'box'), 'bandwidth=None'),
    (lambda: codebooks.density(IMAGES, 2, 0.1, bandwidth=0.1), 'no meaning'),
    (lambda: codebooks.colors_from_histogram([[0.5]], [1]), 'uint8'),
    (lambda: codebooks.colors_from_histogram(np.uint8([[5]]), [0]), 'all 0'),
    (
      lambda: codebooks.colors_from_histogram(np.uint8([[5]]), [0.5]),
      'integers',
    ),
    (lambda: codebooks.grid(1, 1), 'levels=1'),
    (lambda: codebooks.grid(257, 1), 'levels=257'),
    (lambda: codebooks.grid(2, 0), 'channels=0'),
    (lambda: codebooks.grid(200, 4), 'channels=4'),
  ],
)
def test_bad_input(call, match):
  with pytest.raises(ValueError, match=match):
    call()

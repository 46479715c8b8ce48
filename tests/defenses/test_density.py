"""Algorithm 1, against the paper's loop over a list of pixels."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from rdefense import checks
from rdefense.defenses import density


def images_of(max_channels=3, top=255):
  shapes = hnp.array_shapes(min_dims=4, max_dims=4, max_side=4).map(
    lambda shape: (*shape[:3], 1 + shape[3] % max_channels)
  )
  return shapes.flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, top))
  )


def levels(codebook):
  grey = np.rint(255 * codebook.codes).astype(int)
  np.testing.assert_array_equal(
    codebook.codes, grey.astype(np.float32) * np.float32(1 / 255)
  )
  return grey.tolist()


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


@given(images_of(top=12), st.integers(2, 6), st.integers(1, 6))
@settings(max_examples=25)
def test_density_agrees_with_the_literal_algorithm(images, num_codes, reach):
  book = density.density(images, num_codes, reach / 255)
  assert levels(book) == literal_algorithm_1(
    images, num_codes, reach, lambda p, v: p == v
  )


@given(
  images_of(max_channels=2, top=12),
  st.integers(1, 4),
  st.sampled_from(['box', 'gaussian']),
)
@settings(max_examples=40)
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
  book = density.density(images, 4, 3 / 255, kernel, width / 255)
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
@pytest.mark.parametrize(
  'channels', [2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_smooth_densities_of_untied_colours(kernel, channels):
  rng = np.random.default_rng(3)
  images = rng.integers(0, 40, (1, 12, 12, channels), dtype=np.uint8)
  width = 5

  def rho(p, v):
    apart = np.abs(np.subtract(p, v))
    if kernel == 'box':
      return float(apart.max() <= width)
    return float(np.exp(-(apart @ apart) / (2 * width**2)))

  book = density.density(images, 5, 6 / 255, kernel, width / 255)
  assert levels(book) == literal_algorithm_1(images, 5, 6, rho)


@given(images_of(max_channels=1), st.integers(1, 60))
@settings(max_examples=30)
def test_density_codes_are_apart_and_cover_all(images, reach):
  book = density.density(images, 300, reach / 255)
  grey = np.array(levels(book))
  apart = np.abs(grey[:, None] - grey[None]).max(-1)
  assert (apart[~np.eye(len(grey), dtype=bool)] > reach).all()
  pixels = images.reshape(-1, 1).astype(int)
  assert np.abs(pixels[:, None] - grey[None]).max(-1).min(1).max() <= reach


@pytest.mark.parametrize('reach', range(1, 256))
def test_radius_is_inclusive_at_whole_levels(reach):
  images = np.uint8([0, 0, reach]).reshape(1, 1, 3, 1)
  for radius in (reach / 255, np.float32(reach / 255), 1 / 255 * reach):
    assert levels(density.density(images, 2, radius)) == [[0]]
  below = density.density(images, 2, (reach - 0.01) / 255)
  assert levels(below) == [[0], [reach]]


def test_ties_go_to_the_first_pixel():
  images = np.uint8([[9, 200], [200, 9], [90, 90]]).reshape(3, 1, 2, 1)
  assert levels(density.density(images, 3, 1 / 255)) == [[9], [200], [90]]
  assert levels(density.density(images[::-1], 3, 1 / 255)) == [
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
  assert levels(density.density(mnist, 3, 0.3)) == [[0], [253], [128]]
  for radius in (0.5, 0.6):
    book = density.density(mnist, 3, radius)
    assert levels(book) == [[0], [253]]
    assert book.counts.tolist() == [38_045_844, 1_513_207]


@pytest.mark.slow  # decodes 60,000 images
def test_fashion_density(fashion):
  counted = dict(zip(fashion.values[:, 0].tolist(), fashion.counts.tolist()))
  expected = {0: 23_616_498, 1: 477_616, 255: 379_088, 222: 173_532}
  assert {level: counted[level] for level in expected} == expected
  # The 55,000 first images give these codes too (PROTOCOL A3).
  book = density.density(fashion, 5, 0.2)
  assert levels(book) == [[0], [255], [202], [150], [85]]


def test_cifar_density(cifar):
  assert len(cifar.counts) == 4_554_653
  assert cifar.counts.sum() == 51_200_000
  book = density.density(cifar, 300, 16 / 255)
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
  checks.check_codes(book.codes)


IMAGES = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)


@pytest.mark.parametrize(
  'arguments, match',
  [
    ((IMAGES / 255, 2, 0.1), 'pass the uint8 images'),
    ((IMAGES, 1, 0.1), 'num_codes=1'),
    ((IMAGES, 2, 0), 'radius=0'),
    ((IMAGES, 2, float('nan')), 'radius=nan'),
    ((IMAGES, 2, 16), 'radius=16'),
    ((IMAGES, 2, 0.1, 'cosine'), "'cosine'"),
    ((IMAGES, 2, 0.1, 'box'), 'bandwidth=None'),
    ((IMAGES, 2, 0.1, 'box', 8), 'bandwidth=8, .*divide grey levels by 255'),
    ((IMAGES, 2, 0.1, 'gaussian', 0.0), 'bandwidth=0.0, expected above 0'),
    ((IMAGES, 2, 0.1, 'identity', 0.1), 'no meaning'),
  ],
)
def test_bad_input(arguments, match):
  with pytest.raises(ValueError, match=match):
    density.density(*arguments)

"""JPEG against Pillow, to the bit, and against SciPy's DCT in float64."""

import io

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from rdefense.defenses.jpeg import jpeg, jpeg_as_coded, quantization_tables

KEY = jax.random.key(0)


def smooth_bytes(seed, shape, blur=1.5):
  """A random image, uint8, over the whole range; `blur` 0 is noise."""
  x = np.random.default_rng(seed).uniform(size=shape)
  x = gaussian_filter(x, (blur, blur, 0))
  return np.uint8(np.rint(255 * (x - x.min()) / (x.max() - x.min())))


def as_image(x):
  return np.asarray(x, np.float32) / np.float32(255)


# ----------------------------------------------------------------- Pillow


def pillow(x, **options):
  file = io.BytesIO()
  Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).save(
    file, 'JPEG', **options
  )
  return np.asarray(Image.open(file)).reshape(x.shape)


def check_pillow(x, ours, **options):
  """Exact: everything but the last division by 255 is in whole numbers."""
  apply = jax.jit(jpeg(**ours).apply)
  got = 255 * np.asarray(apply(KEY, as_image(x)), np.float64)
  np.testing.assert_allclose(got, pillow(x, **options), atol=1e-4)


@pytest.mark.parametrize(
  'shape, quality, subsampling',
  [
    ((32, 32, 3), 75, '4:2:0'),
    ((28, 28, 3), 50, '4:2:0'),
    ((33, 21, 3), 95, '4:2:0'),  # odd sizes, blocks cut at both ends
    ((17, 3, 3), 90, '4:2:0'),  # libjpeg repeats chrominance of width 2
    ((9, 6, 3), 100, '4:2:0'),
    ((1, 1, 3), 1, '4:2:0'),
    ((33, 21, 3), 95, '4:4:4'),
  ],
  ids=str,
)
def test_colour_is_pillows_to_the_bit(shape, quality, subsampling):
  same = {'quality': quality, 'subsampling': subsampling}
  check_pillow(smooth_bytes(quality, shape), same, **same)


@pytest.mark.parametrize('quality', [1, 75])
def test_grey_is_pillows_to_the_bit(quality):
  x = smooth_bytes(quality, (28, 28, 1))
  check_pillow(x, {'quality': quality}, quality=quality)


@pytest.mark.parametrize('quality', [1, 100])
def test_black_and_white_noise_is_pillows_to_the_bit(quality):
  # The largest coefficients there are, and samples far outside of bytes.
  x = 255 * np.random.default_rng(0).integers(0, 2, (64, 64, 3), np.uint8)
  check_pillow(x, {'quality': quality}, quality=quality)


@pytest.mark.parametrize('scale', [0.5, 2.0])
def test_scaled_tables_are_pillows_with_the_same_tables(scale):
  tables = [t.ravel().tolist() for t in quantization_tables(scale=scale)]
  x = smooth_bytes(3, (40, 24, 3))
  check_pillow(x, {'scale': scale}, qtables=tables, subsampling='4:2:0')


def test_tables_of_every_quality_are_pillows():
  for quality in range(1, 101):
    file = io.BytesIO()
    Image.new('RGB', (8, 8)).save(file, 'JPEG', quality=quality)
    theirs = Image.open(file).quantization
    np.testing.assert_array_equal(
      quantization_tables(quality).reshape(2, 64), [theirs[0], theirs[1]]
    )


def test_a_factor_multiplies_the_tables_of_quality_50():
  base = quantization_tables(50)
  np.testing.assert_array_equal(quantization_tables(scale=1), base)
  np.testing.assert_array_equal(quantization_tables(scale=4), 4 * base)
  assert quantization_tables(scale=1e-3).tolist() == np.ones_like(base).tolist()


def test_the_encoder_sees_bytes():
  x = np.random.default_rng(1).uniform(size=(16, 16, 3)).astype(np.float32)
  apply = jax.jit(jpeg(50).apply)
  np.testing.assert_array_equal(
    apply(KEY, x), apply(KEY, as_image(np.rint(255 * x)))
  )
  out = 255 * np.asarray(apply(KEY, x), np.float64)
  np.testing.assert_allclose(out, np.rint(out), atol=1e-4)


# ------------------------------------------- real numbers, SciPy in float64


def hard(v):
  return np.rint(v)


def soft(v):
  return np.rint(v) + (v - np.rint(v)) ** 3


WEIGHTS = np.array(
  [[0.299, 0.587, 0.114], [-0.16874, -0.33126, 0.5], [0.5, -0.41869, -0.08131]]
)


def blocks_coded(plane, table, rounding):
  """A plane through the quantised DCT, block by block."""
  height, width = plane.shape
  padded = np.pad(plane, ((0, -height % 8), (0, -width % 8)), 'edge')
  out = np.zeros_like(padded)
  for i in range(0, padded.shape[0], 8):
    for j in range(0, padded.shape[1], 8):
      block = dctn(padded[i : i + 8, j : j + 8] - 128, norm='ortho')
      block = rounding(block / table) * table
      out[i : i + 8, j : j + 8] = idctn(block, norm='ortho') + 128
  return out[:height, :width]


def triangles(plane, height, width):
  """Chrominance interpolated to twice its size, sample by sample."""
  out = np.zeros((height, width))
  for i, j in np.ndindex(out.shape):
    for di, a in ((i // 2, 3), (i // 2 + (1 if i % 2 else -1), 1)):
      for dj, b in ((j // 2, 3), (j // 2 + (1 if j % 2 else -1), 1)):
        di = min(max(di, 0), plane.shape[0] - 1)
        dj = min(max(dj, 0), plane.shape[1] - 1)
        out[i, j] += a * b / 16 * plane[di, dj]
  return out


def codec(
  x,
  tables,
  rounding=hard,
  halved=True,
  fancy=True,
  symmetric=False,
  rescale=False,
):
  """JPEG of one image in float64, with no rounding but `rounding`."""
  height, width, num_channels = x.shape
  x = 255 * np.asarray(x, np.float64)
  if symmetric:
    unit = 16 if halved and num_channels == 3 else 8
    ends = ((0, -height % unit), (0, -width % unit), (0, 0))
    x = np.pad(x, ends, 'symmetric')
  rows, columns = x.shape[:2]
  if num_channels == 1:
    out = blocks_coded(x[..., 0], tables[0], rounding)[..., None]
  else:
    y, *chroma = np.moveaxis(x @ WEIGHTS.T + [0, 128, 128], -1, 0)
    planes = [blocks_coded(y, tables[0], rounding)]
    for p in chroma:
      if halved:
        # Right of the image, its last column; below, its last means.
        p = np.pad(p, ((0, rows % 2), (0, -columns % 16)), 'edge')
        p = (p[::2, ::2] + p[::2, 1::2] + p[1::2, ::2] + p[1::2, 1::2]) / 4
      p = blocks_coded(p, tables[1], rounding)
      if halved:
        p = p[: (rows + 1) // 2, : (columns + 1) // 2]
        if fancy:
          p = triangles(p, rows, columns)
        else:
          p = np.kron(p, np.ones((2, 2)))[:rows, :columns]
      planes.append(p)
    y, cb, cr = planes[0], planes[1] - 128, planes[2] - 128
    out = np.stack(
      [y + 1.402 * cr, y - 0.34414 * cb - 0.71414 * cr, y + 1.772 * cb], -1
    )
  out = out[:height, :width] / 255
  if rescale:
    low, high = min(out.min(), 0), max(out.max(), 1)
    return (out - low) / (high - low)
  return np.clip(out, 0, 1)


# Weights of colour in steps of 2^-16 differ from the decimals above by up to
# 8e-6; so do the results, after sums, but where a coefficient lies within
# 1e-3 of where it is rounded (then by far more; not with these images).
CLOSE = {'rtol': 0, 'atol': 1e-4}

VARIANTS = {
  'default': ({}, {}),
  'full_chroma': ({'subsampling': '4:4:4'}, {'halved': False}),
  'box': ({'upsampling': 'box'}, {'fancy': False}),
  'symmetric': ({'padding': 'symmetric'}, {'symmetric': True}),
  'rescale': ({'rescale': True}, {'rescale': True}),
}


@pytest.mark.parametrize(
  'variant, side', [(v, 'apply') for v in VARIANTS] + [('default', 'surrogate')]
)
def test_real_samples_are_scipys(variant, side):
  ours, theirs = VARIANTS[variant]
  x = np.random.default_rng(7).uniform(size=(19, 26, 3)).astype(np.float32)
  defense = jpeg(scale=2, samples='real', **ours)
  got = jax.jit(getattr(defense, side))(KEY, x)
  rounding = hard if side == 'apply' else soft
  expected = codec(x, quantization_tables(scale=2), rounding, **theirs)
  np.testing.assert_allclose(got, expected, **CLOSE)


@pytest.mark.parametrize('padding', ['edge', 'symmetric'])
def test_grey_real_samples_are_scipys(padding):
  x = np.random.default_rng(8).uniform(size=(13, 9, 1)).astype(np.float32)
  got = jax.jit(jpeg(60, samples='real', padding=padding).apply)(KEY, x)
  expected = codec(x, quantization_tables(60), symmetric=padding == 'symmetric')
  np.testing.assert_allclose(got, expected, **CLOSE)


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_paper_bs_code_has_transposed_tables_and_rescales(side):
  x = np.random.default_rng(9).uniform(size=(20, 20, 3)).astype(np.float32)
  got = jax.jit(getattr(jpeg_as_coded(), side))(KEY, x)
  tables = quantization_tables(scale=4).transpose(0, 2, 1)
  expected = codec(
    x,
    tables,
    hard if side == 'apply' else soft,
    fancy=False,
    symmetric=True,
    rescale=True,
  )
  np.testing.assert_allclose(got, expected, **CLOSE)


def test_the_surrogate_is_apply_where_coefficients_are_whole():
  # What was decoded without clipping has whole multiples as coefficients.
  x = 0.4 + 0.2 * np.random.default_rng(3).uniform(size=(16, 16, 1))
  apply, surrogate = (jax.jit(fn) for fn in jpeg(40, samples='real'))
  decoded = apply(KEY, jnp.float32(x))
  assert 0 < decoded.min() and decoded.max() < 1 and decoded.std() > 0.01
  # Float32 sums of 64 products, twice.
  np.testing.assert_allclose(surrogate(KEY, decoded), decoded, atol=1e-5)
  np.testing.assert_allclose(apply(KEY, decoded), decoded, atol=1e-5)


@pytest.mark.parametrize('num_channels', [1, 3])
def test_the_gradient_of_the_surrogate_is_its_finite_difference(num_channels):
  rng = np.random.default_rng(num_channels)
  x = rng.uniform(0.3, 0.7, (8, 9, num_channels)).astype(np.float32)
  w = rng.normal(size=x.shape)
  surrogate = jpeg(80).surrogate
  loss = lambda x: (surrogate(KEY, x) * w.astype(np.float32)).sum()
  got = jax.jit(jax.grad(loss))(x)
  tables = quantization_tables(80)
  f = lambda x: (codec(x, tables, soft) * w).sum()
  step, wide = 1e-6, x.astype(np.float64)
  for _ in range(6):
    direction = rng.normal(size=x.shape)
    up, down = f(wide + step * direction), f(wide - step * direction)
    slope = (got * direction).sum()
    # Weights of colour as above, times the slopes of sixty cubics.
    np.testing.assert_allclose(
      slope, (up - down) / (2 * step), rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize('num_channels', [1, 3])
def test_flat_images_stay_and_gradients_are_finite(num_channels):
  defense = jpeg(90)
  apply = jax.jit(defense.apply)
  gradient = jax.jit(jax.grad(lambda x: defense.surrogate(KEY, x).sum()))
  for value in (0.0, 0.5, 1.0):
    x = jnp.full((16, 16, num_channels), value)
    # The nearest byte, and half of the coefficient's step of 3 / 8.
    np.testing.assert_allclose(apply(KEY, x), x, atol=1.01 / 255)
    assert np.isfinite(gradient(x)).all()


# -------------------------------------------------------------- bad inputs


@pytest.mark.parametrize(
  'options, message',
  [
    ({'quality': 0}, 'quality=0 .*from 1 to 100'),
    ({'quality': 101}, 'quality=101 '),
    ({'quality': 0.75}, 'quality=0.75 '),
    ({'quality': 50.5}, 'quality=50.5 .*whole'),
    ({'scale': 0}, 'scale=0 .*positive'),
    ({'scale': -4.0}, 'scale=-4.0 '),
    ({'subsampling': '4:2:2'}, "subsampling='4:2:2'.*4:2:0, 4:4:4"),
    ({'upsampling': 'cubic'}, "upsampling='cubic'.*fancy, box"),
    ({'padding': 'zeros'}, "padding='zeros'.*edge, symmetric"),
    ({'samples': 'int'}, "samples='int'.*bytes, real"),
  ],
  ids=str,
)
def test_bad_arguments_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    jpeg(**options)


def test_a_bad_factor_of_paper_bs_code_is_named():
  with pytest.raises(ValueError, match='scale=0 '):
    jpeg_as_coded(0)


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_other_numbers_of_channels_are_refused(side):
  with pytest.raises(ValueError, match='2 channels; JPEG has 1.*or 3'):
    getattr(jpeg(), side)(KEY, jnp.zeros((8, 8, 2)))

"""JPEG compression and decompression: what the codec loses, not its bits.

An image is turned into luminance and chrominance, chrominance is halved
(4:2:0), the DCT coefficients of 8x8 blocks are rounded to multiples of a
table, and everything is undone. The lossless coding of those multiples is
left out. By default the result is that of Pillow's encoder and decoder (that
is, libjpeg's) on 8-bit images, to the last bit.

>>> import jax, jax.numpy as jnp
>>> x = jnp.full((8, 8, 1), 100 / 255).at[3, 4].set(102 / 255)
>>> out = jax.jit(jpeg(quality=50).apply)(jax.random.key(0), x)
>>> round(float(out.min()) * 255), round(float(out.max()) * 255)
(100, 100)

References:
  ITU-T T.81 (JPEG), 1992; T.871 (JFIF), 2011.
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586, section 6.
"""

import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.defenses.base import Defense, checked
from rdefense.defenses.jpeg_blocks import (
  FIXED,
  REAL,
  SOFT,
  Arithmetic,
  quantization_tables,
  through_blocks,
)
from rdefense.types import Array, Key

__all__ = ['jpeg', 'jpeg_as_coded', 'quantization_tables']

# JFIF's weights as libjpeg has them, whole multiples of 2^-16: float32 sums of
# them times bytes are exact, whatever their order.
_LUMA = (19595 / 2**16, 38470 / 2**16, 7471 / 2**16)  # 0.299, 0.587, 0.114
_CB = (-11059 / 2**16, -21709 / 2**16, 0.5)  # -0.1687, -0.3313
_CR = (0.5, -27439 / 2**16, -5329 / 2**16)  # -0.4187, -0.0813
_FROM_CB = (0, -22554 / 2**16, 116130 / 2**16)  # 0, -0.34414, 1.772
_FROM_CR = (91881 / 2**16, -46802 / 2**16, 0)  # 1.402, -0.71414, 0


def jpeg(
  quality: int = 75,
  scale=None,
  subsampling: str = '4:2:0',
  upsampling: str = 'fancy',
  padding: str = 'edge',
  samples: str = 'bytes',
  rescale: bool = False,
) -> Defense:
  """What decoding makes of an encoded image.

  The surrogate replaces the rounding of coefficients by
  round(v) + (v - round(v))^3 (paper B's code) and computes the rest with real
  numbers: the cubic on samples too would be flat at every byte.

  Args:
    quality: from 1 to 100, see `quantization_tables`.
    scale: a plain factor on the tables of annex K in place of `quality`.
    subsampling: of chrominance, `4:2:0` (means of 2x2) or `4:4:4` (none).
    upsampling: `fancy` interpolates chrominance by triangles as libjpeg's
      decoder does (not where it is at most two pixels wide), `box` repeats.
    padding: up to whole blocks. `edge` repeats the last row and column, as
      libjpeg; `symmetric` mirrors the image at them, as paper B's code.
    samples: `bytes` encodes round(255 x) in libjpeg's fixed point and gives
      bytes over 255; `real` rounds coefficients only.
    rescale: an image that leaves [0, 1] is mapped back by its minimum and
      maximum rather than clipped. Paper B's code takes those of a batch; a
      defense sees one image, so these are the image's own.

  Returns:
    A `Defense` on images of one or three channels; the key is not used.

  Raises:
    ValueError: unless quality is whole and in 1 .. 100 and scale > 0, on an
      unknown choice, and (when traced) on other numbers of channels.
  """
  tables = quantization_tables(quality, scale)
  return _jpeg(tables, subsampling, upsampling, padding, samples, rescale)


def jpeg_as_coded(scale=4.0) -> Defense:
  """JPEG as paper B's code has it.

  Symmetric padding, repeated chrominance, real samples, rescaling in place of
  clipping (by the image, not by the batch as there), and the tables of annex
  K *transposed*, which changes that of luminance.

  Args:
    scale: factor on the tables.

  Returns:
    A `Defense`; the key is not used.

  Raises:
    ValueError: unless scale > 0.
  """
  tables = quantization_tables(scale=scale).transpose(0, 2, 1)
  return _jpeg(tables, '4:2:0', 'box', 'symmetric', 'real', True)


def _jpeg(
  tables: np.ndarray,
  subsampling: str,
  upsampling: str,
  padding: str,
  samples: str,
  rescale: bool,
) -> Defense:
  checks.check_choice('subsampling', subsampling, ('4:2:0', '4:4:4'))
  checks.check_choice('upsampling', upsampling, ('fancy', 'box'))
  checks.check_choice('padding', padding, ('edge', 'symmetric'))
  checks.check_choice('samples', samples, ('bytes', 'real'))

  def code(x: Array, arithmetic: Arithmetic) -> Array:
    height, width, num_channels = x.shape
    if num_channels not in (1, 3):
      raise ValueError(
        f'image has {num_channels} channels; JPEG has 1 (grey) or 3 (RGB): '
        'put it before an encoding that adds channels.'
      )
    halved = subsampling == '4:2:0' and num_channels == 3
    x = arithmetic.store(255 * x, 0.5)
    if padding == 'symmetric':
      unit = 16 if halved else 8
      ends = [(0, -height % unit), (0, -width % unit), (0, 0)]
      x = jnp.pad(x, ends, 'symmetric')
    if num_channels == 1:
      luma = through_blocks(x[None, ..., 0], tables[0], arithmetic)
      out = luma[0, ..., None]
    else:
      luma, chroma = _to_ycc(x, arithmetic)
      _, rows, columns = luma.shape
      luma = through_blocks(luma, tables[0], arithmetic)
      if halved:
        chroma = _halve(chroma, arithmetic)
      chroma = through_blocks(chroma, tables[1], arithmetic)
      if halved:
        chroma = chroma[:, : -(-rows // 2), : -(-columns // 2)]
        fancy = upsampling == 'fancy' and chroma.shape[2] > 2
        double = _interpolate if fancy else _repeat
        chroma = double(chroma, arithmetic)[:, :rows, :columns]
      out = _to_rgb(luma, chroma, arithmetic)
    out = out[:height, :width] / 255
    if rescale:
      low, high = jnp.minimum(out.min(), 0), jnp.maximum(out.max(), 1)
      return (out - low) / (high - low)
    return jnp.clip(out, 0, 1)

  def apply(key: Key, x: Array) -> Array:
    del key
    return code(x, FIXED if samples == 'bytes' else REAL)

  def surrogate(key: Key, x: Array) -> Array:
    del key
    return code(x, SOFT)

  return checked(apply, surrogate)


def _to_ycc(x: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
  """Luminance `[1, H, W]` and chrominance `[2, H, W]`."""
  r, g, b = x[..., 0], x[..., 1], x[..., 2]
  mix = lambda w: w[0] * r + w[1] * g + w[2] * b
  luma = arithmetic.store(mix(_LUMA), 0.5)[None]
  chroma = jnp.stack([mix(_CB), mix(_CR)]) + 128
  return luma, arithmetic.store(chroma, 32767 / 2**16)


def _to_rgb(luma: Array, chroma: Array, arithmetic: Arithmetic) -> Array:
  y, cb, cr = luma[0], chroma[0] - 128, chroma[1] - 128
  weights = jnp.asarray([_FROM_CB, _FROM_CR], jnp.float32).reshape(2, 1, 1, 3)
  colour = weights[0] * cb[..., None] + weights[1] * cr[..., None]
  # Stored y is whole, so the sum is rounded as its second term would be.
  return arithmetic.store(y[..., None] + colour, 0.5)


def _halve(planes: Array, arithmetic: Arithmetic) -> Array:
  """Means of 2x2 pixels.

  As in libjpeg, whole columns of blocks are filled before the means (with
  the last pixels), whole rows of blocks after them (with the last means).
  """
  _, height, width = planes.shape
  p = jnp.pad(planes, [(0, 0), (0, height % 2), (0, -width % 16)], 'edge')
  above, below = p[:, ::2], p[:, 1::2]
  rows = above[..., ::2] + above[..., 1::2]
  means = (rows + below[..., ::2] + below[..., 1::2]) / 4
  # libjpeg rounds halves down in even columns and up in odd ones.
  odd = jnp.arange(means.shape[2]).reshape(1, 1, -1) % 2
  return arithmetic.store(means, 0.25 + 0.25 * odd)


def _repeat(planes: Array, arithmetic: Arithmetic) -> Array:
  del arithmetic
  n, height, width = planes.shape
  twice = planes.reshape(n, height, 1, width, 1)
  twice = jnp.broadcast_to(twice, (n, height, 2, width, 2))
  return twice.reshape(n, 2 * height, 2 * width)


def _interpolate(planes: Array, arithmetic: Arithmetic) -> Array:
  """Triangles: three quarters of the nearer and one of the farther sample."""
  n, height, width = planes.shape
  p = jnp.pad(planes, [(0, 0), (1, 1), (1, 1)], 'edge')
  near = 3 * p[:, 1:-1]
  p = jnp.stack([near + p[:, :-2], near + p[:, 2:]], 2)
  p = p.reshape(n, 2 * height, -1)
  near = 3 * p[:, :, 1:-1]
  # libjpeg adds 8 and 7 before it drops the remainder of 16.
  left = arithmetic.store((near + p[:, :, :-2]) / 16, 0.5)
  right = arithmetic.store((near + p[:, :, 2:]) / 16, 7 / 16)
  return jnp.stack([left, right], 3).reshape(n, 2 * height, 2 * width)

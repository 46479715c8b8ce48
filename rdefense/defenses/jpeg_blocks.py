"""The lossy part of JPEG: the DCT of 8x8 blocks, and its quantisation.

The DCT is orthonormal, D = M / sqrt(8) with

  M_0n = 1,   M_un = sqrt(2) cos((2 n + 1) u pi / 16),

so that blocks are transformed by M X M^T / 8 and back by M^T C M / 8.
libjpeg does so in whole numbers: M is round(2^13 M), and results are rounded
after the rows and after the columns, to eighths in the end; so does FIXED.

>>> quantization_tables(quality=75)[:, 0, :4].tolist()
[[8, 6, 5, 8], [9, 9, 12, 24]]

References:
  ITU-T T.81 (JPEG), 1992, annexes A and K.
  Loeffler, Ligtenberg, Moschytz, Practical fast 1-D DCT algorithms with 11
  multiplications, 1989 (libjpeg's, hence the last digit of its constants).
  Shin, Song, JPEG-resistant adversarial images, 2017 (the soft rounding).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.types import Array

__all__ = [
  'FIXED',
  'REAL',
  'SOFT',
  'Arithmetic',
  'quantization_tables',
  'through_blocks',
]

# T.81, annex K: rows are vertical, columns horizontal frequencies.
_LUMINANCE = """
  16  11  10  16  24  40  51  61    12  12  14  19  26  58  60  55
  14  13  16  24  40  57  69  56    14  17  22  29  51  87  80  62
  18  22  37  56  68 109 103  77    24  35  55  64  81 104 113  92
  49  64  78  87 103 121 120 101    72  92  95  98 112 100 103  99"""
_CHROMINANCE = """
  17  18  24  47  99  99  99  99    18  21  26  66  99  99  99  99
  24  26  56  99  99  99  99  99    47  66  99  99  99  99  99  99
  99  99  99  99  99  99  99  99    99  99  99  99  99  99  99  99
  99  99  99  99  99  99  99  99    99  99  99  99  99  99  99  99"""
_TABLES = np.array([_LUMINANCE.split(), _CHROMINANCE.split()], int)
_TABLES = _TABLES.reshape(2, 8, 8)

_M = np.sqrt(2) * np.cos(
  np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)
).astype(np.float32)
_M[0] = 1

# 2^13 M as libjpeg's factors make it; the right halves mirror the left ones.
_LEFT = np.array(
  [
    [8192, 8192, 8192, 8192],
    [11363, 9633, 6437, 2260],
    [10703, 4433, -4433, -10703],
    [9633, -2259, -11362, -6436],
    [8192, -8192, -8192, 8192],
    [6437, -11362, 2261, 9633],
    [4433, -10704, 10704, -4433],
    [2260, -6436, 9633, -11363],
  ],
  np.int32,
)
_MIRROR = np.array([1, -1] * 4, np.int32)[:, None] * _LEFT[:, ::-1]
_FIXED = np.concatenate([_LEFT, _MIRROR], 1)


class Arithmetic(NamedTuple):
  """How coefficients and samples are computed.

  Attributes:
    forward: samples less 128 -> eight times their coefficients.
    quantize: (those, table) -> multiples of the table.
    inverse: coefficients -> samples less 128.
    store: (samples, bias) -> samples; `bias` is what libjpeg adds before it
      drops the fraction.
  """

  forward: Callable[[Array], Array]
  quantize: Callable[[Array, Array], Array]
  inverse: Callable[[Array], Array]
  store: Callable[[Array, Array | float], Array]


def quantization_tables(quality: int = 75, scale=None) -> np.ndarray:
  """The tables of T.81, annex K, scaled by libjpeg's rule or by a factor.

  libjpeg's percentage is 5000 // quality below 50 and 200 - 2 quality from
  there on; entries are rounded and kept in 1 .. 255.

  Args:
    quality: from 1 to 100.
    scale: where given, a plain factor in place of `quality`; entries are
      rounded, 1 at least. Paper B's "ratio 4" is 4.

  Returns:
    Luminance and chrominance, `[2, 8, 8]`, int64, in grey levels.

  Raises:
    ValueError: unless quality is whole and in 1 .. 100, and scale > 0.
  """
  if not 1 <= quality <= 100 or quality != int(quality):
    raise ValueError(
      f'quality={quality} must be a whole number from 1 to 100, as libjpeg '
      'counts (a factor on the tables is `scale`).'
    )
  if scale is not None:
    checks.check_positive('scale', scale, ': it multiplies the tables')
    return np.maximum(np.rint(scale * _TABLES), 1).astype(np.int64)
  percent = 5000 // int(quality) if quality < 50 else 200 - 2 * int(quality)
  return np.clip((_TABLES * percent + 50) // 100, 1, 255).astype(np.int64)


def _along_rows(v: Array, matrix: np.ndarray) -> Array:
  """X matrix, of every block X in `[n, 8, W]`."""
  blocks = jnp.matmul(v.reshape(-1, 8), matrix, precision='highest')
  return blocks.reshape(v.shape)


def _along_columns(matrix: np.ndarray, v: Array) -> Array:
  """matrix X, of every block X in `[n, 8, W]`."""
  return jnp.einsum('ui,niw->nuw', matrix, v, precision='highest')


def _drop(v: Array, bits: int) -> Array:
  """v / 2^bits, rounded, halves up; int32."""
  return (v + (1 << (bits - 1))) >> bits


def _forward_fixed(v: Array) -> Array:
  rows = _drop(_along_rows(v.astype(jnp.int32), _FIXED.T), 11)
  columns = _drop(_along_columns(_FIXED, rows), 15)
  return columns.astype(v.dtype)


def _inverse_fixed(v: Array) -> Array:
  columns = _drop(_along_columns(_FIXED.T, v.astype(jnp.int32)), 11)
  return _drop(_along_rows(columns, _FIXED), 18).astype(v.dtype)


def _quantize_eighths(eighths: Array, table: Array) -> Array:
  """Half away from zero.

  The numerator gets another 1/2, so that no quotient is near a whole number
  and a division in float32 always falls on its right side.
  """
  numerator = jnp.abs(eighths) + (4 * table + 0.5)
  return jnp.sign(eighths) * jnp.floor(numerator / (8 * table))


def _forward(v: Array) -> Array:
  return _along_columns(_M, _along_rows(v, _M.T))


def _inverse(v: Array) -> Array:
  return _along_rows(_along_columns(_M.T, v), _M) / 8


def _quantize(eighths: Array, table: Array) -> Array:
  return jnp.round(eighths / (8 * table))


def _quantize_softly(eighths: Array, table: Array) -> Array:
  """round(v) + (v - round(v))^3, whose slope is 0 only at whole v."""
  v = eighths / (8 * table)
  whole = jnp.round(v)
  return whole + (v - whole) ** 3


def _to_byte(v: Array, bias) -> Array:
  return jnp.clip(jnp.floor(v + bias), 0, 255)


def _as_is(v: Array, bias) -> Array:
  del bias
  return v


FIXED = Arithmetic(_forward_fixed, _quantize_eighths, _inverse_fixed, _to_byte)
REAL = Arithmetic(_forward, _quantize, _inverse, _as_is)
SOFT = REAL._replace(quantize=_quantize_softly)


def through_blocks(
  planes: Array, table: np.ndarray, arithmetic: Arithmetic
) -> Array:
  """Planes transformed, quantised and transformed back.

  Args:
    planes: `[n, H, W]` in grey levels, 0 to 255; their last rows and columns
      are repeated up to whole blocks.
    table: `[8, 8]`, in grey levels.
    arithmetic: `FIXED` (libjpeg's), `REAL` or `SOFT` (differentiable).

  Returns:
    Planes of the same shape; REAL and SOFT ones may leave 0 .. 255.
  """
  _, height, width = planes.shape
  ends = [(0, 0), (0, -height % 8), (0, -width % 8)]
  padded = jnp.pad(planes, ends, 'edge')
  strips = padded.reshape(-1, 8, padded.shape[2])  # a row of blocks each
  coded = arithmetic.forward(strips - 128).reshape(len(strips), 8, -1, 8)
  steps = jnp.asarray(table, jnp.float32).reshape(1, 8, 1, 8)
  multiples = arithmetic.quantize(coded, steps) * steps
  samples = arithmetic.inverse(multiples.reshape(strips.shape)) + 128
  samples = arithmetic.store(samples, 0.5)
  return samples.reshape(padded.shape)[:, :height, :width]

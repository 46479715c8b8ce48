"""Depthwise convolution as a sum of shifted images, and its gradient as well.

One filter a channel, with the padding of SAME (p before each axis):

  y[o, c] = sum_t w[t, c] x[s o + t - p, c]

and therefore, with h + p = s q + r and 0 <= r < s,

  dx[h, c] = sum_{t = r mod s} w[t, c] dy[q - (t - r) / s, c],

one sum for each of the s^2 residues of a position. A grouped `lax.conv`, or the
gradient that JAX derives from strided slices, takes many times as long on CPU.

>>> import jax, jax.numpy as jnp
>>> x = jnp.arange(5.0).reshape(1, 1, 5, 1)
>>> blur = jnp.ones((3, 3, 1, 1))
>>> depthwise_conv(x, blur, 1).ravel().tolist()
[1.0, 3.0, 6.0, 9.0, 7.0]
>>> depthwise_conv(x, blur, 2).ravel().tolist()
[1.0, 6.0, 7.0]
"""

import functools

import jax
import jax.numpy as jnp

from rdefense.types import Array

__all__ = ['depthwise_conv']


def _same(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
  """Padding before and after, and outputs, of SAME along one axis."""
  outputs = -(-size // stride)
  total = max((outputs - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2, outputs


def _pad(x: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
  # The barrier makes XLA write the padded image once, rather than test in each
  # of the k^2 products whether it is inside.
  padded = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
  return jax.lax.optimization_barrier(padded)


def _tap(kernel: Array, i: int, j: int) -> Array:
  return kernel[i, j].reshape(1, 1, 1, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x: Array, kernel: Array, stride: int) -> Array:
  """Convolves every channel with its own filter, padding as SAME does.

  Its derivative is a `custom_vjp`: reverse mode only (`jax.grad`, `jax.vjp`).

  Args:
    x: `[B, H, W, C]`.
    kernel: `[k, k, 1, C]`.
    stride: of both axes.

  Returns:
    `[B, ceil(H / stride), ceil(W / stride), C]`.

  References:
    The module's docstring; the padding is TensorFlow's, an odd one goes last.
  """
  products = [
    shifted * _tap(kernel, i, j)
    for i, j, shifted in _shifts(x, kernel.shape[0], stride)
  ]
  return functools.reduce(jnp.add, products)


def _shifts(x: Array, k: int, stride: int):
  """The padded image as each of the k^2 taps sees it."""
  top, bottom, height = _same(x.shape[1], k, stride)
  left, right, width = _same(x.shape[2], k, stride)
  x = _pad(x, (top, bottom), (left, right))
  for i in range(k):
    rows = slice(i, i + (height - 1) * stride + 1, stride)
    for j in range(k):
      columns = slice(j, j + (width - 1) * stride + 1, stride)
      yield i, j, x[:, rows, columns]


def _forward(x, kernel, stride):
  return depthwise_conv(x, kernel, stride), (x, kernel)


def _backward(stride, saved, dy):
  x, kernel = saved
  k = kernel.shape[0]
  dkernel = jnp.stack(
    [(shifted * dy).sum((0, 1, 2)) for _, _, shifted in _shifts(x, k, stride)]
  )
  dx = _input_gradient(dy, kernel, stride, x.shape)
  return dx, dkernel.reshape(kernel.shape)


def _input_gradient(dy, kernel, stride, shape):
  k, (batch, height, width, channels) = kernel.shape[0], shape
  top, left = _same(height, k, stride)[0], _same(width, k, stride)[0]
  reach = (k - 1) // stride
  # q runs over that many values, and `reach` more are looked back at.
  rows, columns = -(-(height + top) // stride), -(-(width + left) // stride)
  dy = _pad(dy, (reach, rows - dy.shape[1]), (reach, columns - dy.shape[2]))

  def residue(r, c):
    total = jnp.zeros((batch, rows, columns, channels), dy.dtype)
    for i in range(r, k, stride):  # none, where the stride exceeds k
      for j in range(c, k, stride):
        down, right = reach - i // stride, reach - j // stride
        seen = dy[:, down : down + rows, right : right + columns]
        total = total + seen * _tap(kernel, i, j)
    return total

  dx = jnp.stack(
    [
      jnp.stack([residue(r, c) for c in range(stride)], 3)
      for r in range(stride)
    ],
    2,
  )  # [batch, rows, stride, columns, stride, channels]
  dx = dx.reshape(batch, rows * stride, columns * stride, channels)
  return dx[:, top : top + height, left : left + width]


depthwise_conv.defvjp(_forward, _backward)

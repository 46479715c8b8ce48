"""Pixels to the centres of their image: the nearest one, or a mixture.

Distances are squared l2 over the channels of a pixel (paper B); those of
`discretize` are unsquared (paper A).

>>> import jax.numpy as jnp
>>> x, centers = jnp.array([[[0.3], [0.9]]]), jnp.array([[0.0], [1.0]])
>>> nearest_center(x, centers)[0, :, 0].tolist()
[0.0, 1.0]
>>> [round(v, 3) for v in mixture(x, centers, alpha=4.0)[0, :, 0].tolist()]
[0.168, 0.961]

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586.
"""

import jax
import jax.numpy as jnp

from rdefense.types import Array

__all__ = ['mixture', 'nearest_center']


def nearest_center(x: Array, centers: Array) -> Array:
  """argmin over the centres of ||x - c||_2^2; ties go to the lowest index.

  Args:
    x: image `[H, W, C]`.
    centers: `[k, C]`.

  Returns:
    An image of the shape of `x`, whose pixels are centres. Gradients flow to
    the centres alone.
  """
  pixels = x.reshape(-1, x.shape[-1])
  square = jnp.zeros((len(centers), len(pixels)), x.dtype)
  for i in range(x.shape[-1]):  # without an array [k, H W, C]
    square += (pixels[None, :, i] - centers[:, None, i]) ** 2
  return centers[square.argmin(0)].reshape(x.shape)


def mixture(x: Array, centers: Array, alpha) -> Array:
  """Paper B's sum_j c_j w_j with w = softmax_j(-alpha ||x - c_j||_2^2).

  Its derivative in x is 2 alpha times the covariance of the centres under w,
  which float32 gets right, relative to its size, also where one weight is 1
  but for rounding.

  Args:
    x: image `[H, W, C]`.
    centers: `[k, C]`; they may coincide.
    alpha: steepness per *squared* distance on [0, 1] pixels; as it grows, the
      mixture tends to the nearest centre wherever that is unique.

  Returns:
    An image of the shape of `x`.
  """
  middle = jax.lax.stop_gradient(centers.mean(0, keepdims=True))
  # Relative to any constant; the middle loses the least to rounding.
  pixels, centers = x.reshape(-1, x.shape[-1]) - middle, centers - middle
  # ||x||^2 is common to all centres and drops out of the softmax.
  logits = jnp.matmul(2 * alpha * centers, pixels.T, precision='highest')
  logits -= alpha * (centers**2).sum(-1, keepdims=True)
  weights = _softmax(logits)
  out = jnp.matmul(weights.T, centers, precision='highest') + middle
  return out.reshape(x.shape)


@jax.custom_jvp
def _softmax(logits: Array) -> Array:
  """Softmax over the first axis, with a derivative that sums to 0 exactly.

  Where one weight is almost 1, its derivative is the difference of two equal
  numbers: rounding would drown the derivatives of the small weights.
  """
  return jax.nn.softmax(logits, axis=0)


@_softmax.defjvp
def _(primals, tangents):
  (logits,), (change,) = primals, tangents
  weights = _softmax(logits)
  largest = jax.nn.one_hot(
    weights.argmax(0), len(weights), axis=0, dtype=weights.dtype
  )
  mean = (weights * change).sum(0, keepdims=True)
  others = (1 - largest) * weights * (change - mean)
  return weights, others - largest * others.sum(0, keepdims=True)

"""Small networks that have all the layers bounds know."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.models import digits_cnn, mnist_cnn


def average_pool(x):
  summed = jax.lax.reduce_window(
    x, 0.0, jax.lax.add, (2, 2, 1), (2, 2, 1), 'VALID'
  )
  return summed / 4


def residual(seed=0):
  """Normalises, convolves, adds, pools by the mean, ends dense."""
  rng = np.random.default_rng(seed)
  kernels = [rng.normal(0, 0.4, s) for s in ((3, 3, 1, 4), (3, 3, 4, 4))]
  first, second = (jnp.float32(k) for k in kernels)
  last = jnp.float32(rng.normal(0, 0.5, (16, 3)))

  def convolve(x, kernel):
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(
      x[None], kernel, (1, 1), 'SAME', dimension_numbers=numbers
    )[0]

  def fn(x):
    x = (x - 0.13) / 0.3
    x = jax.nn.relu(convolve(x, first))
    x = x + convolve(jax.nn.relu(x), second)
    x = average_pool(jnp.maximum(x, jnp.roll(x, 1, 0)))
    return jnp.matmul(x.reshape(-1), last) - 0.1

  return fn, (4, 4, 1)


def cnn(seed=0):
  net = mnist_cnn(3, widths=(3, 4), hidden=8, init='he')
  x = jnp.zeros((8, 8, 1))
  params = net.init(jax.random.key(seed), x)
  return lambda x: net.apply(params, x), x.shape


def clipped(seed=0):
  weights = jax.random.normal(jax.random.key(seed), (6, 4))

  def fn(x):
    x = jnp.matmul(x.reshape(-1), weights)
    return jnp.clip(x, 0.0, 0.7) - jnp.minimum(x, 0.2) + -x

  return fn, (2, 3, 1)


def centred(seed=0):
  """Takes maxima and minima with numbers that depend on the image."""
  weights = jax.random.normal(jax.random.key(seed), (6, 4))

  def fn(x):
    x = jnp.matmul(x.reshape(-1), weights)
    low = jnp.minimum(x[0], x)
    return jnp.maximum(x, x.mean()) + low - x[1]

  return fn, (2, 3, 1)


def digits(seed=0):
  net = digits_cnn(5)
  params = net.init(jax.random.key(seed), jnp.zeros((8, 8, 1)))
  return lambda x: net.apply(params, x), (8, 8, 1)


NETWORKS = {
  'residual': residual,
  'cnn': cnn,
  'clipped': clipped,
  'centred': centred,
  'digits': digits,
}

"""Paper A's residual network for CIFAR-10 and GTSRB (PROTOCOL A5).

The image is standardised, then a 3x3 convolution of 16 channels, three stages
of residual units (strides 1, 2, 2), batch normalisation, leaky ReLU, the mean
over places, a dense layer. A unit is twice normalisation, leaky ReLU of slope
0.1 and a 3x3 convolution, added to its shortcut: its input, averaged over its
stride and padded with channels of zeros; only in the very first unit the input
after normalisation and leaky ReLU. Convolutions have no biases.

References:
  Madry et al., CIFAR-10 challenge, w32-10,
  https://github.com/MadryLab/cifar10_challenge; Zagoruyko and Komodakis, Wide
  residual networks, 2016, https://arxiv.org/abs/1605.07146.
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp

from rdefense import checks
from rdefense.models.base import Classifier, classifier

__all__ = ['wide_resnet']

_STEM = 16
_DTYPES = ('float32', 'bfloat16')
_KERNEL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
_DENSE = nn.initializers.variance_scaling(1.0, 'fan_in', 'uniform')


def _standardized(x):
  """Each image less its mean, over its deviation or, if larger, 1/sqrt(n)."""
  x = 255 * x
  axes = (1, 2, 3)
  x = x - x.mean(axes, keepdims=True)
  variance = jnp.square(x).mean(axes, keepdims=True)
  return x / jnp.sqrt(jnp.maximum(variance, 1 / math.prod(x.shape[1:])))


def _leaky_relu(x):
  return jnp.maximum(x, 0.1 * x)


def _shortcut(x, width, stride):
  if stride > 1:
    x = nn.avg_pool(x, (stride, stride), (stride, stride))
  extra = width - x.shape[-1]
  sides = ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2))
  return jnp.pad(x, sides)


class _Unit(nn.Module):
  width: int
  stride: int
  first: bool  # of the network: the shortcut begins after the activation
  dtype: str

  @nn.compact
  def __call__(self, x, train: bool):
    conv, norm = _layers(self.dtype, train)
    active = _leaky_relu(norm()(x))
    shortcut = _shortcut(active if self.first else x, self.width, self.stride)
    x = conv(self.width, strides=(self.stride, self.stride))(active)
    return shortcut + conv(self.width)(_leaky_relu(norm()(x)))


def _layers(dtype, train):
  conv = functools.partial(
    nn.Conv,
    kernel_size=(3, 3),
    use_bias=False,
    kernel_init=_KERNEL,
    dtype=dtype,
  )
  norm = functools.partial(
    nn.BatchNorm,
    use_running_average=not train,
    momentum=0.9,
    epsilon=1e-3,
    dtype=dtype,
  )
  return conv, norm


class _Net(nn.Module):
  num_classes: int
  width: int
  units: int
  dtype: str
  remat: bool

  @nn.compact
  def __call__(self, x, train: bool = False):
    if x.shape[1] % 4 or x.shape[2] % 4:
      raise ValueError(
        f'image has shape {x.shape[1:]}; height and width must be multiples of '
        '4, as they are halved twice.'
      )
    unit = nn.remat(_Unit, static_argnums=(2,)) if self.remat else _Unit
    conv, norm = _layers(self.dtype, train)
    x = conv(_STEM)(_standardized(x))
    for stage in range(3):
      for i in range(self.units):
        width = _STEM * self.width * 2**stage
        stride = 2 if stage and not i else 1
        first = not stage and not i
        # Named, so that parameters are called the same with remat.
        name = f'stage{stage}_unit{i}'
        x = unit(width, stride, first, self.dtype, name=name)(x, train)
    x = _leaky_relu(norm()(x)).mean((1, 2)).astype(jnp.float32)
    return nn.Dense(self.num_classes, kernel_init=_DENSE)(x)


def wide_resnet(
  num_classes: int = 10,
  width: int = 10,
  units: int = 5,
  dtype: str = 'float32',
  remat: bool = False,
) -> Classifier:
  """Paper A's w32-10 network; fewer units and channels for two cores.

  Its parameters hold the running statistics of batch normalisation (decay 0.9,
  epsilon 0.001), which `apply` uses and only `train` changes.

  Args:
    num_classes: number of logits.
    width: channels of the first stage, in sixteens; twice and four times as
      many in the others.
    units: residual units of a stage.
    dtype: of the products, `float32` or `bfloat16`; parameters, statistics and
      logits are float32.
    remat: whether units are computed again for gradients, to save memory.

  Returns:
    A `Classifier` of colour images in [0, 1] whose sides are multiples of 4.

  Raises:
    ValueError: on an unknown dtype, width or units < 1, and (when traced) on
      an image whose sides are no multiples of 4.

  >>> import jax
  >>> network = wide_resnet(10, width=1, units=1)
  >>> params = network.init(jax.random.key(0), jnp.zeros((8, 8, 3)))
  >>> sorted(params), network.apply(params, jnp.ones((8, 8, 3))).shape
  (['batch_stats', 'params'], (10,))
  """
  checks.check_choice('dtype', dtype, _DTYPES)
  checks.check_whole('width', width, 1, ': channels, in sixteens')
  checks.check_whole('units', units, 1, ' in a stage')
  return classifier(_Net(num_classes, width, units, dtype, remat), num_classes)

"""Inception-ResNet-v2 for inference, with the layers and weights of Keras.

A convolution is followed by batch norm (running statistics, no scale) and
ReLU. A residual block adds `scale` times a linear 1x1 convolution of its
branches to its input, and all but the very last end with ReLU.

>>> import jax, numpy as np
>>> net = inception_resnet_v2()
>>> x = jax.ShapeDtypeStruct((299, 299, 3), np.float32)
>>> shapes = jax.eval_shape(net.init, jax.random.key(0), x)
>>> sum(leaf.size for leaf in jax.tree.leaves(shapes))
55873736
>>> jax.eval_shape(net.apply, shapes, x).shape
(1000,)

References:
  Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the
  impact of residual connections on learning, 2016,
  https://arxiv.org/abs/1602.07261.
  keras.applications.inception_resnet_v2 (names, order, epsilon 0.001).
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from rdefense import checks
from rdefense.models.base import Classifier, classifier
from rdefense.models.preprocess import preprocessed
from rdefense.pooling import max_pool_valid

__all__ = ['NUM_BLOCKS', 'inception_resnet_v2', 'max_pool_3x3']

NUM_BLOCKS = (10, 20, 10)  # of block35, block17 and block8

# A layer is (width, kernel) or (width, kernel, stride); a branch is a chain.
_MIXED_5B = (
  ((96, 1),),
  ((48, 1), (64, 5)),
  ((64, 1), (96, 3), (96, 3)),
)
_BLOCK35 = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
_MIXED_6A = (((384, 3, 2),), ((256, 1), (256, 3), (384, 3, 2)))
_BLOCK17 = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
_MIXED_7A = (
  ((256, 1), (384, 3, 2)),
  ((256, 1), (288, 3, 2)),
  ((256, 1), (288, 3), (320, 3, 2)),
)
_BLOCK8 = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))


max_pool_3x3 = functools.partial(max_pool_valid, window=3, stride=2)


class ConvNorm(nn.Module):
  """Convolution, batch norm, ReLU; Flax numbers them as Keras does."""

  width: int
  kernel: int | tuple[int, int]
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def __call__(self, x):
    k = self.kernel
    x = nn.Conv(
      self.width,
      (k, k) if isinstance(k, int) else k,
      self.stride,
      self.padding,
      use_bias=False,
      name='conv',
    )(x)
    norm = nn.BatchNorm(
      use_running_average=True, use_scale=False, epsilon=1e-3, name='norm'
    )
    return nn.relu(norm(x))


def _branches(x, branches):
  outs = []
  for branch in branches:
    out = x
    for width, kernel, *stride in branch:
      stride, padding = (stride[0], 'VALID') if stride else (1, 'SAME')
      out = ConvNorm(width, kernel, stride, padding)(out)
    outs.append(out)
  return outs


def _residual(x, branches, scale, name):
  mixed = jnp.concatenate(_branches(x, branches), -1)
  return x + scale * nn.Conv(x.shape[-1], (1, 1), name=f'{name}_conv')(mixed)


class _Net(nn.Module):
  num_classes: int
  num_blocks: tuple[int, int, int]

  @nn.compact
  def __call__(self, x):
    # Names are given by order: a layer moved is another layer's weights.
    x = ConvNorm(32, 3, 2, 'VALID')(x)
    x = ConvNorm(32, 3, 1, 'VALID')(x)
    x = max_pool_3x3(ConvNorm(64, 3)(x))
    x = ConvNorm(80, 1)(x)
    x = max_pool_3x3(ConvNorm(192, 3, 1, 'VALID')(x))

    outs = _branches(x, _MIXED_5B)
    mean = nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False)
    x = jnp.concatenate([*outs, ConvNorm(64, 1)(mean)], -1)
    num35, num17, num8 = self.num_blocks
    for i in range(1, num35 + 1):
      x = nn.relu(_residual(x, _BLOCK35, 0.17, f'block35_{i}'))
    x = jnp.concatenate([*_branches(x, _MIXED_6A), max_pool_3x3(x)], -1)
    for i in range(1, num17 + 1):
      x = nn.relu(_residual(x, _BLOCK17, 0.1, f'block17_{i}'))
    x = jnp.concatenate([*_branches(x, _MIXED_7A), max_pool_3x3(x)], -1)
    for i in range(1, num8):
      x = nn.relu(_residual(x, _BLOCK8, 0.2, f'block8_{i}'))
    x = _residual(x, _BLOCK8, 1.0, f'block8_{num8}')
    x = ConvNorm(1536, 1, name='conv_7b')(x).mean((1, 2))
    return nn.Dense(self.num_classes, name='predictions')(x)


def inception_resnet_v2(
  num_classes: int = 1000,
  size: int = 299,
  num_blocks: tuple[int, int, int] = NUM_BLOCKS,
) -> Classifier:
  """Inception-ResNet-v2; a smaller one for tests.

  Args:
    num_classes: number of logits: 1000 in Keras, whose class 0 is ImageNet's
      first; 1001 where class 0 is background.
    size: images are resized to it and scaled to [-1, 1], inside; at least 75.
    num_blocks: of block35, block17 and block8, one at least.

  Returns:
    A `Classifier` of one image `[H, W, 3]` of any size in [0, 1]. Its
    parameters are Flax's collections `params` and, for the running statistics,
    `batch_stats`.

  Raises:
    ValueError: on a size below 75, or less than one block of a kind.
  """
  checks.check_whole('size', size, 75, ': the last layers would be empty')
  for count in num_blocks:
    checks.check_whole('num_blocks', count, 1, ' of each kind')
  network = classifier(_Net(num_classes, num_blocks), num_classes)
  return preprocessed(network, size, scale=2 / 255, zero=127.5)

"""Strided convolutional networks that interval bounds follow well.

Neither pooling nor normalisation: every layer is affine or a ReLU.

References:
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018, https://arxiv.org/abs/1810.12715, table 1;
  the initialisation: Shi, Wang, Zhang, Yi, Hsieh, Fast certified robust
  training with short warmup, 2021, https://arxiv.org/abs/2103.17268.
"""

import math

import flax.linen as nn
import jax

from rdefense import checks
from rdefense.models.base import Classifier, classifier

__all__ = ['SIZES', 'gowal_cnn']

# (width, kernel, stride) of each convolution, widths of the dense layers.
SIZES = {
  'tiny': (((8, 4, 2), (16, 4, 2)), (64,)),
  'small': (((16, 4, 2), (32, 4, 1)), (100,)),
  'medium': (((32, 3, 1), (32, 4, 2), (64, 3, 1), (64, 4, 2)), (512, 512)),
  'large': (
    ((64, 3, 1), (64, 3, 1), (128, 3, 2), (128, 3, 1), (128, 3, 1)),
    (512,),
  ),
}


def _interval_init(key, shape, dtype=float):
  """Normal of deviation sqrt(2 pi) / n: boxes keep their width on average."""
  fan_in = math.prod(shape[:-1])
  deviation = math.sqrt(2 * math.pi) / fan_in
  return deviation * jax.random.normal(key, shape, dtype)


_INITS = {'interval': _interval_init, 'he': nn.initializers.he_normal()}


class _Net(nn.Module):
  num_classes: int
  size: str
  init_name: str

  @nn.compact
  def __call__(self, x):
    convolutions, dense = SIZES[self.size]
    kernel = _INITS[self.init_name]
    for width, side, stride in convolutions:
      strides = (stride, stride)
      x = nn.Conv(width, (side, side), strides, kernel_init=kernel)(x)
      x = nn.relu(x)
    x = x.reshape(x.shape[0], -1)
    for width in dense:
      x = nn.relu(nn.Dense(width, kernel_init=kernel)(x))
    return nn.Dense(self.num_classes, kernel_init=kernel)(x)


def gowal_cnn(
  num_classes: int = 10, size: str = 'small', init: str = 'interval'
) -> Classifier:
  """A network of Gowal et al., with SAME padding throughout.

  Args:
    num_classes: number of logits.
    size: one of `SIZES`; `large` is the 7-layer network of the published
      records, without their batch normalisation.
    init: `interval`, for certified training, or `he`.

  Returns:
    A `Classifier` of images in [0, 1].

  Raises:
    ValueError: on an unknown size or init.
  """
  checks.check_choice('size', size, SIZES)
  checks.check_choice('init', init, _INITS)
  return classifier(_Net(num_classes, size, init), num_classes)

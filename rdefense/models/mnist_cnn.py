"""Paper A's network for MNIST and Fashion-MNIST (PROTOCOL A5).

Two 5x5 convolutions (32 and 64 channels, SAME, ReLU), each followed by 2x2
max-pooling, then dense layers of 1024 (ReLU) and `num_classes`. Weights are
normal with standard deviation 0.1, truncated at two deviations and *not*
corrected for it; biases 0.1.

References:
  Madry et al., MNIST challenge, https://github.com/MadryLab/mnist_challenge.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdefense.models.base import Classifier, classifier, max_pool

__all__ = ['mnist_cnn']

_BIAS = nn.initializers.constant(0.1)


def _truncated(key, shape, dtype=jnp.float32):
  return 0.1 * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


class _Net(nn.Module):
  num_classes: int
  widths: tuple[int, ...]
  hidden: int

  @nn.compact
  def __call__(self, x):
    for width in self.widths:
      x = nn.Conv(width, (5, 5), kernel_init=_truncated, bias_init=_BIAS)(x)
      x = max_pool(nn.relu(x))
    x = x.reshape(x.shape[0], -1)
    x = nn.Dense(self.hidden, kernel_init=_truncated, bias_init=_BIAS)(x)
    x = nn.relu(x)
    return nn.Dense(
      self.num_classes, kernel_init=_truncated, bias_init=_BIAS
    )(x)


def mnist_cnn(
  num_classes: int = 10, widths: tuple[int, ...] = (32, 64), hidden: int = 1024
) -> Classifier:
  """Paper A's MNIST network; smaller widths for tests.

  Args:
    num_classes: number of logits.
    widths: channels of the convolutions.
    hidden: width of the dense layer.

  Returns:
    A `Classifier` of images in [0, 1].
  """
  return classifier(_Net(num_classes, tuple(widths), hidden), num_classes)

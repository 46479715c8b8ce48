"""A small network for the embedded 8x8 digits: seconds to train on a CPU."""

import flax.linen as nn

from rdefense.models.base import Classifier, classifier, max_pool

__all__ = ['digits_cnn']


class _Net(nn.Module):
  num_classes: int
  width: int

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(self.width, (3, 3))(x))
    x = max_pool(nn.relu(nn.Conv(2 * self.width, (3, 3))(x)))
    x = x.reshape(x.shape[0], -1)
    x = nn.relu(nn.Dense(8 * self.width)(x))
    return nn.Dense(self.num_classes)(x)


def digits_cnn(num_classes: int = 10, width: int = 16) -> Classifier:
  """Two 3x3 convolutions, one pooling, two dense layers.

  Args:
    num_classes: number of logits.
    width: channels of the first convolution; the second has twice as many.

  Returns:
    A `Classifier` of images in [0, 1].
  """
  return classifier(_Net(num_classes, width), num_classes)

"""What tests of several networks compare with."""

import jax
import pytest


@pytest.fixture(scope='session')
def grouped():
  """XLA's own depthwise convolution: `(x, kernel, stride)`, padded as SAME."""

  def grouped(x, kernel, stride):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=x.shape[-1],
    )

  return grouped

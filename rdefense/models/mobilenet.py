"""MobileNetV2, V1 and EdgeTPU for inference: batch norm folded into the biases.

>>> import jax, numpy as np
>>> net = mobilenet_v2()
>>> x = jax.ShapeDtypeStruct((299, 299, 3), np.float32)
>>> shapes = jax.eval_shape(net.init, jax.random.key(0), x)
>>> sum(leaf.size for leaf in jax.tree.leaves(shapes))
3489097
>>> jax.eval_shape(net.apply, shapes, x).shape
(1001,)

References:
  See `rdefense.models.mobilenet_tables`.
"""

import os

import flax.linen as nn
import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.models.base import Classifier, classifier
from rdefense.models.depthwise import depthwise_conv
from rdefense.models.mobilenet_tables import (
  MOBILENET_EDGETPU,
  MOBILENET_V1,
  MOBILENET_V2,
  Architecture,
  Block,
  blocks,
  op_numbers,
)
from rdefense.models.preprocess import preprocessed
from rdefense.models.weights import fill, read_npz
from rdefense.types import PyTree

__all__ = [
  'load_mobilenet',
  'mobilenet',
  'mobilenet_edgetpu',
  'mobilenet_v1',
  'mobilenet_v2',
]

_ACTIVATIONS = {'relu': nn.relu, 'relu6': nn.relu6, 'linear': lambda x: x}
_KERNEL = nn.initializers.he_normal()
_BIAS = nn.initializers.zeros


class _Conv(nn.Module):
  width: int
  activation: str
  kernel: int = 1
  stride: int = 1

  @nn.compact
  def __call__(self, x):
    shape = (self.kernel, self.kernel, x.shape[-1], self.width)
    kernel = self.param('kernel', _KERNEL, shape, jnp.float32)
    bias = self.param('bias', _BIAS, shape[-1:], jnp.float32)
    if self.kernel == self.stride == 1:
      x = jnp.einsum('bhwc,cd->bhwd', x, kernel[0, 0])
    else:
      x = jax.lax.conv_general_dilated(
        x,
        kernel,
        (self.stride, self.stride),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
    return _ACTIVATIONS[self.activation](x + bias.reshape(1, 1, 1, -1))


class _Depthwise(nn.Module):
  activation: str
  kernel: int
  stride: int

  @nn.compact
  def __call__(self, x):
    shape = (self.kernel, self.kernel, 1, x.shape[-1])
    kernel = self.param('kernel', _KERNEL, shape, jnp.float32)
    bias = self.param('bias', _BIAS, shape[-1:], jnp.float32)
    x = depthwise_conv(x, kernel, self.stride) + bias.reshape(1, 1, 1, -1)
    return _ACTIVATIONS[self.activation](x)


class _Block(nn.Module):
  block: Block
  activation: str
  bottleneck: bool

  @nn.compact
  def __call__(self, x):
    b, act = self.block, self.activation
    inner, out = b.expansion * x.shape[-1], x
    if b.expansion > 1 and b.fused:
      out = _Conv(inner, act, b.kernel, b.stride, name='expand')(out)
    elif b.expansion > 1:
      out = _Conv(inner, act, name='expand')(out)
    if not b.fused:
      out = _Depthwise(act, b.kernel, b.stride, name='depthwise')(out)
    last = 'linear' if self.bottleneck else act
    out = _Conv(b.width, last, name='project')(out)
    return x + out if b.summed else out


class _Net(nn.Module):
  net: Architecture
  num_classes: int

  @nn.compact
  def __call__(self, x):
    net = self.net
    act = net.activation
    x = _Conv(net.stem, act, kernel=3, stride=2, name='stem')(x)
    for name, block in blocks(net).items():
      x = _Block(block, act, net.bottleneck, name=name)(x)
    if net.head:
      x = _Conv(net.head, act, name='head')(x)
    x = x.mean((1, 2), keepdims=True)
    return _Conv(self.num_classes, 'linear', name='logits')(x)[:, 0, 0]


def mobilenet(net: Architecture, num_classes: int = 1001) -> Classifier:
  """A MobileNet from its table; smaller tables for tests.

  Args:
    net: the architecture. Images are resized to its size and scaled, inside.
    num_classes: number of logits.

  Returns:
    A `Classifier` of one image `[H, W, 3]` of any size in [0, 1], with
    reverse-mode derivatives only (see `depthwise_conv`). First weights are
    He-normal, biases zero.
  """
  network = classifier(_Net(net, num_classes), num_classes)
  return preprocessed(network, net.size, net.scale, net.zero)


def mobilenet_v2(
  num_classes: int = 1001, size: int = MOBILENET_V2.size
) -> Classifier:
  """MobileNetV2 1.0, of images at `size` (published: 224); see `mobilenet`."""
  return _of_size(MOBILENET_V2, num_classes, size)


def mobilenet_v1(
  num_classes: int = 1001, size: int = MOBILENET_V1.size
) -> Classifier:
  """MobileNetV1 0.75, of images at `size` (published: 192); see `mobilenet`."""
  return _of_size(MOBILENET_V1, num_classes, size)


def mobilenet_edgetpu(
  num_classes: int = 1001, size: int = MOBILENET_EDGETPU.size
) -> Classifier:
  """MobileNet-EdgeTPU 0.75, of images at `size` (224); see `mobilenet`."""
  return _of_size(MOBILENET_EDGETPU, num_classes, size)


def _of_size(net: Architecture, num_classes: int, size: int) -> Classifier:
  checks.check_whole('size', size, 1)
  return mobilenet(net._replace(size=size), num_classes)


def load_mobilenet(
  path: str | os.PathLike,
  net: Architecture = MOBILENET_V2,
  num_classes: int = 1001,
) -> PyTree:
  """Reads the parameters of a MobileNet.

  Args:
    path: `.npz` with `NNN_w` and `NNN_b` for the operation NNN of
      `op_numbers`: kernels `[k, k, in, out]` (depthwise `[k, k, 1, C]`) and
      biases, batch norm folded in.
    net: the architecture it belongs to.
    num_classes: number of logits it has.

  Returns:
    Parameters of `mobilenet(net, num_classes)`, float32.

  Raises:
    ValueError: if there is no such file, it is damaged, or a tensor is
      missing, misshapen, not finite or not of this network.
  """
  names = {}
  for layer, op in op_numbers(net):
    names['params', *layer, 'kernel'] = f'{op:03d}_w'
    names['params', *layer, 'bias'] = f'{op:03d}_b'
  image = jax.ShapeDtypeStruct((net.size, net.size, 3), jnp.float32)
  init = mobilenet(net, num_classes).init
  shapes = jax.eval_shape(init, jax.random.key(0), image)
  return fill(shapes, read_npz(path), names, path)

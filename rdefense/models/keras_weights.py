"""Inception-ResNet-v2's parameters from the weights file that Keras publishes.

`inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5` holds one group a
layer: `conv2d_7` with a kernel, `batch_normalization_7` with beta and moving
statistics, `block35_1_conv` with kernel and bias, `conv_7b`, `conv_7b_bn` and
`predictions`. Keras numbers the unnamed layers in the order in which they are
made, from whichever number the session had reached; only their order counts.

>>> in_order(['conv2d_12', 'conv2d_3', 'conv2d', 'conv2d_3_bn'], 'conv2d')
['conv2d', 'conv2d_3', 'conv2d_12']
"""

from collections.abc import Iterable
import os
import re

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from rdefense.models.inception_resnet_v2 import (
  NUM_BLOCKS,
  inception_resnet_v2,
)
from rdefense.models.weights import check_file, fill
from rdefense.types import PyTree

__all__ = ['in_order', 'load_inception_resnet_v2', 'read_keras_h5']

# Layers with these Keras weights, by our parameters.
_WEIGHTS = {
  ('conv', 'kernel'): 'kernel',
  ('norm', 'bias'): 'beta',
  ('norm', 'mean'): 'moving_mean',
  ('norm', 'var'): 'moving_variance',
}
_NEVER = -1e4  # a logit with probability 0 in float32


def in_order(layers: Iterable[str], stem: str) -> list[str]:
  """The layers `stem`, `stem_1`, `stem_2`, ..., sorted by their number."""
  numbered = {}
  for layer in layers:
    match = re.fullmatch(rf'{stem}(?:_(\d+))?', layer)
    if match:
      numbered[int(match[1] or 0)] = layer
  return [numbered[number] for number in sorted(numbered)]


def read_keras_h5(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """All tensors of a Keras weights file, as `layer/weight`.

  Args:
    path: `.h5` as `save_weights` of Keras 2 writes it.

  Returns:
    Arrays by name, such as `predictions/kernel`.

  Raises:
    ModuleNotFoundError: if h5py is missing.
    ValueError: if there is no such file, or it is not a whole HDF5 file.
  """
  try:
    import h5py  # Imported late: an extra, and only needed here.
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      'reading Keras weights needs h5py: run `pip install rdefense[keras]`.'
    ) from error
  path = check_file(path)
  tensors: dict[str, np.ndarray] = {}
  try:
    with h5py.File(path, 'r') as file:

      def read(name, item):
        if isinstance(item, h5py.Dataset):
          layer, weight = name.split('/')[0], name.split('/')[-1]
          tensors[f'{layer}/{weight.split(":")[0]}'] = item[()]

      file.visititems(read)
  except (OSError, RuntimeError) as error:
    raise ValueError(
      f'{path} cannot be read as HDF5 ({error}): it is damaged or was not '
      'copied whole.'
    ) from error
  return tensors


def load_inception_resnet_v2(
  path: str | os.PathLike,
  num_classes: int = 1000,
  num_blocks: tuple[int, int, int] = NUM_BLOCKS,
) -> PyTree:
  """Reads the parameters of Inception-ResNet-v2.

  Args:
    path: the weights file of Keras, with its top layer.
    num_classes: that of the file, or one more, with which labels 1..1000 of
      the NIPS-2017 images can be used as they are: class 0, background, then
      has the constant logit -10,000.
    num_blocks: of the network.

  Returns:
    Parameters of `inception_resnet_v2(num_classes, ..., num_blocks)`, float32.

  Raises:
    ModuleNotFoundError: if h5py is missing.
    ValueError: if there is no such file, it is damaged, or a tensor is
      missing, misshapen, not finite or not of this network.
  """
  tensors = read_keras_h5(path)
  bias = tensors.get('predictions/bias')
  if bias is not None and bias.shape == (num_classes - 1,):
    tensors = _with_background(tensors)
  net = inception_resnet_v2(num_classes, num_blocks=num_blocks)
  image = jax.ShapeDtypeStruct((299, 299, 3), jnp.float32)
  shapes = jax.eval_shape(net.init, jax.random.key(0), image)
  return fill(shapes, tensors, _names(shapes, tensors, path), path)


def _with_background(tensors):
  kernel, bias = tensors['predictions/kernel'], tensors['predictions/bias']
  return {
    **tensors,
    'predictions/kernel': np.pad(kernel, ((0, 0), (1, 0))),
    'predictions/bias': np.pad(bias, (1, 0), constant_values=_NEVER),
  }


def _names(shapes, tensors, source):
  layers = {name.split('/')[0] for name in tensors}
  found = {
    'conv': in_order(layers, 'conv2d'),
    'norm': in_order(layers, 'batch_normalization'),
  }
  unnamed = [name for name in shapes['params'] if name.startswith('ConvNorm_')]
  for part, stem in (('conv', 'conv2d'), ('norm', 'batch_normalization')):
    if len(found[part]) != len(unnamed):
      raise ValueError(
        f'{source} has {len(found[part])} layers {stem}, but this network has '
        f'{len(unnamed)}: it is damaged or holds another network.'
      )

  def keras_layer(layer, part):
    if layer in unnamed:
      return found[part][int(layer.removeprefix('ConvNorm_'))]
    return f'{layer}_bn' if part == 'norm' else layer

  names = {}
  for path in traverse_util.flatten_dict(shapes):
    _, layer, *part, weight = path
    if part:
      name = f'{keras_layer(layer, *part)}/{_WEIGHTS[*part, weight]}'
    else:
      name = f'{layer}/{weight}'
    names[path] = name
  return names

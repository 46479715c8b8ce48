"""Inception-ResNet-v2: its published counts, NumPy runs, and Keras's files."""

import importlib
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from rdefense.models.inception_resnet_v2 import (
  inception_resnet_v2,
  max_pool_3x3,
)
from rdefense.models.keras_weights import in_order, load_inception_resnet_v2

# The package exports the function of the same name.
module = importlib.import_module('rdefense.models.inception_resnet_v2')

FEW = (2, 1, 2)  # of each block, where the whole network would take minutes
FIRST = 8  # number of the first unnamed layer in the files written here

BRANCHES = {  # PROTOCOL: kernels height x width x width of each branch
  'block35': ['1x1x32', '1x1x32 3x3x32', '1x1x32 3x3x48 3x3x64'],
  'block17': ['1x1x192', '1x1x128 1x7x160 7x1x192'],
  'block8': ['1x1x192', '1x1x192 1x3x224 3x1x256'],
}


class Keras:
  """The network as Keras makes it, layer by layer.

  `visit` is asked for each layer's tensors, by Keras's name, with the shapes
  they must have. Images are `[H, W, C]`, float64.
  """

  def __init__(self, visit):
    self.visit = visit
    self.made = FIRST - 1

  def conv_norm(self, x, layer, stride=1, padding='same', name=None):
    height, width, out = map(int, layer.split('x'))
    if name is None:
      self.made += 1
      name, norm = f'conv2d_{self.made}', f'batch_normalization_{self.made}'
    else:
      norm = f'{name}_bn'
    shape = (height, width, x.shape[-1], out)
    (kernel,) = self.visit(name, kernel=shape)
    beta, mean, var = self.visit(
      norm, beta=(out,), moving_mean=(out,), moving_variance=(out,)
    )
    x = convolve(x, kernel, stride, padding)
    return np.maximum((x - mean) / np.sqrt(var + 0.001) + beta, 0)

  def branch(self, x, layers, last_stride=1):
    *layers, last = layers.split()
    for layer in layers:
      x = self.conv_norm(x, layer)
    if last_stride == 1:
      return self.conv_norm(x, last)
    return self.conv_norm(x, last, 2, 'valid')

  def block(self, x, kind, number, scale, relu=True):
    mixed = np.concatenate([self.branch(x, b) for b in BRANCHES[kind]], -1)
    channels = x.shape[-1]
    kernel, bias = self.visit(
      f'{kind}_{number}_conv',
      kernel=(1, 1, mixed.shape[-1], channels),
      bias=(channels,),
    )
    x = x + scale * (convolve(mixed, kernel, 1, 'same') + bias)
    return np.maximum(x, 0) if relu else x

  def logits(self, x, num_blocks, num_classes):
    x = self.conv_norm(x, '3x3x32', 2, 'valid')
    x = self.conv_norm(x, '3x3x32', 1, 'valid')
    x = self.conv_norm(x, '3x3x64')
    x = pool(x)
    x = self.conv_norm(x, '1x1x80')
    x = self.conv_norm(x, '3x3x192', 1, 'valid')
    x = pool(x)
    branches = ['1x1x96', '1x1x48 5x5x64', '1x1x64 3x3x96 3x3x96']
    outs = [self.branch(x, b) for b in branches]
    outs.append(self.conv_norm(mean_pool(x), '1x1x64'))
    x = np.concatenate(outs, -1)
    for i in range(num_blocks[0]):
      x = self.block(x, 'block35', i + 1, 0.17)
    branches = ['3x3x384', '1x1x256 3x3x256 3x3x384']
    x = np.concatenate([*(self.branch(x, b, 2) for b in branches), pool(x)], -1)
    for i in range(num_blocks[1]):
      x = self.block(x, 'block17', i + 1, 0.1)
    branches = ['1x1x256 3x3x384', '1x1x256 3x3x288', '1x1x256 3x3x288 3x3x320']
    x = np.concatenate([*(self.branch(x, b, 2) for b in branches), pool(x)], -1)
    for i in range(num_blocks[2] - 1):
      x = self.block(x, 'block8', i + 1, 0.2)
    x = self.block(x, 'block8', num_blocks[2], 1.0, relu=False)
    x = self.conv_norm(x, '1x1x1536', name='conv_7b').mean((0, 1))
    kernel, bias = self.visit(
      'predictions', kernel=(1536, num_classes), bias=(num_classes,)
    )
    return x @ kernel + bias


def windows(x, height, width, stride):
  seen = np.lib.stride_tricks.sliding_window_view(x, (height, width), (0, 1))
  return seen[::stride, ::stride]  # [H', W', C, height, width]


def pad_same(x, height, width, value):
  """SAME of stride 1 for odd kernels."""
  widths = ((height // 2,) * 2, (width // 2,) * 2, (0, 0))
  return np.pad(x, widths, constant_values=value)


def convolve(x, kernel, stride, padding):
  height, width = kernel.shape[:2]
  if padding == 'same':
    x = pad_same(x, height, width, 0)
  seen = windows(x, height, width, stride)
  return np.einsum('hwcij,ijcd->hwd', seen, kernel, optimize=True)


def pool(x):
  return windows(x, 3, 3, 2).max((-2, -1))


def mean_pool(x):
  return np.nanmean(windows(pad_same(x, 3, 3, np.nan), 3, 3, 1), (-2, -1))


class Drawn:
  """Tensors drawn at random when first asked for, kept in Keras's layout."""

  def __init__(self):
    self.rng = np.random.default_rng(0)
    self.layers = {}

  def __call__(self, name, **shapes):
    # The usual variances, so that a hundred layers neither vanish nor grow.
    self.layers[name] = {
      weight: (
        self.rng.uniform(0.5, 1.5, shape)
        if weight == 'moving_variance'
        else self.rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
        if weight == 'kernel'
        else self.rng.normal(0, 0.1, shape)
      ).astype(np.float32)
      for weight, shape in shapes.items()
    }
    return [tensor.astype(float) for tensor in self.layers[name].values()]


def write(path, layers):
  h5py = pytest.importorskip('h5py', reason='writing Keras files needs h5py')
  with h5py.File(path, 'w') as file:
    file.attrs['layer_names'] = np.array([*layers, 'activation_1'], 'S')
    file.create_group('activation_1').attrs['weight_names'] = []
    for layer, tensors in layers.items():
      group = file.create_group(layer)
      names = [f'{layer}/{weight}:0' for weight in tensors]
      group.attrs['weight_names'] = np.array(names, 'S')
      for name, tensor in zip(names, tensors.values()):
        group[name] = tensor


@pytest.fixture(scope='module')
def keras(tmp_path_factory):
  """A file in Keras's layout, its layers, an image and its logits."""
  drawn = Drawn()
  x = np.random.default_rng(1).uniform(size=(75, 75, 3)).astype(np.float32)
  logits = Keras(drawn).logits(2 * np.float64(x) - 1, FEW, 10)
  path = tmp_path_factory.mktemp('keras') / 'weights.h5'
  write(path, drawn.layers)
  return path, drawn.layers, x, logits


@pytest.fixture(scope='module')
def whole():
  """Shapes of the parameters of the whole network."""
  image = jax.ShapeDtypeStruct((299, 299, 3), np.float32)
  net = inception_resnet_v2()
  shapes = jax.eval_shape(net.init, jax.random.key(0), image)
  return net, shapes, image


def test_it_has_the_numbers_of_parameters_that_keras_prints(whole):
  _, shapes, _ = whole
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert count(shapes['params']) == 55_813_192  # trainable
  assert count(shapes['batch_stats']) == 60_544
  assert count(shapes) == 55_873_736


def test_it_has_244_convolutions_and_maps_to_a_thousand_logits(whole):
  net, shapes, image = whole
  kernels = [k for k in jax.tree.leaves(shapes) if len(k.shape) == 4]
  assert len(kernels) == 204 + 40
  assert jax.eval_shape(net.apply, shapes, image).shape == (1000,)


def test_logits_are_those_of_the_layers_keras_makes(keras):
  path, _, x, expected = keras
  params = load_inception_resnet_v2(path, 10, FEW)
  net = inception_resnet_v2(10, 75, FEW)
  got = jax.jit(net.apply)(params, x)
  # Forty layers of float32 sums of up to three thousand products.
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
  assert expected.std() > 0.1


@pytest.mark.slow
def test_gradients_are_finite_where_pooled_pixels_tie(keras):
  params = load_inception_resnet_v2(keras[0], 10, FEW)
  net = inception_resnet_v2(10, 75, FEW)
  gradient = jax.jit(jax.grad(lambda x: net.apply(params, x)[3]))
  for x in (keras[2], np.zeros((75, 75, 3), np.float32)):
    assert np.isfinite(gradient(x)).all()
  assert np.any(gradient(keras[2]))


def test_every_tensor_of_the_file_goes_to_its_parameter(keras):
  path, layers, _, _ = keras
  params = load_inception_resnet_v2(path, 10, FEW)
  stem = params['params']['ConvNorm_0']
  np.testing.assert_array_equal(
    stem['conv']['kernel'], layers[f'conv2d_{FIRST}']['kernel']
  )
  np.testing.assert_array_equal(
    params['batch_stats']['conv_7b']['norm']['var'],
    layers['conv_7b_bn']['moving_variance'],
  )
  stored = sum(t.size for tensors in layers.values() for t in tensors.values())
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == stored


def test_background_becomes_class_0_and_never_wins(keras):
  path, layers, _, _ = keras
  top = load_inception_resnet_v2(path, 11, FEW)['params']['predictions']
  np.testing.assert_array_equal(
    top['kernel'][:, 1:], layers['predictions']['kernel']
  )
  np.testing.assert_array_equal(top['bias'][1:], layers['predictions']['bias'])
  assert not np.any(top['kernel'][:, 0]) and top['bias'][0] == -1e4


def changed(layers, name, tensors):
  return {**layers, name: tensors}


@pytest.mark.parametrize(
  'change, message',
  [
    (
      lambda layers: changed(layers, 'conv_7b_bn', {}),
      r'lacks the tensor conv_7b_bn/(beta|moving)',
    ),
    (
      lambda layers: {k: v for k, v in layers.items() if k != 'conv2d_12'},
      r'has 46 layers conv2d, but this network has 47',
    ),
    (
      lambda layers: changed(
        layers, 'conv_7b', {'kernel': np.ones((1, 1, 2080, 7))}
      ),
      r'conv_7b/kernel of shape \(1, 1, 2080, 7\), but params/conv_7b/conv/',
    ),
    (
      lambda layers: changed(layers, 'dense_9', {'bias': np.ones(2)}),
      'has dense_9/bias .*another network',
    ),
  ],
  ids=['missing', 'uncounted', 'misshapen', 'unknown'],
)
def test_a_file_that_does_not_fit_is_named(keras, tmp_path, change, message):
  path = tmp_path / 'other.h5'
  write(path, change(keras[1]))
  with pytest.raises(ValueError, match=r'other\.h5.*' + message):
    load_inception_resnet_v2(path, 10, FEW)


def test_a_missing_or_damaged_file_is_named(tmp_path):
  pytest.importorskip('h5py', reason='reading Keras files needs h5py')
  with pytest.raises(ValueError, match='none.h5 is not a file'):
    load_inception_resnet_v2(tmp_path / 'none.h5')
  path = tmp_path / 'text.h5'
  path.write_text('not an archive')
  with pytest.raises(ValueError, match='text.h5 cannot be read as HDF5'):
    load_inception_resnet_v2(path)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'h5py', None)
  with pytest.raises(ModuleNotFoundError, match=r'rdefense\[keras\]'):
    load_inception_resnet_v2(tmp_path / 'any.h5')


def test_layers_are_sorted_by_number_not_by_letter():
  layers = ['conv2d_10', 'conv2d_9', 'conv2d', 'conv2d_bn', 'my_conv2d_1']
  assert in_order(layers, 'conv2d') == ['conv2d', 'conv2d_9', 'conv2d_10']


@pytest.mark.parametrize('shape', [(2, 9, 8, 3), (1, 3, 4, 2)], ids=str)
def test_pooling_is_that_of_flax(shape):
  # All values differ, so that gradients are unique.
  rng = np.random.default_rng(0)
  x = rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32)
  expected, pull = jax.vjp(lambda x: nn.max_pool(x, (3, 3), (2, 2)), x)
  got, our_pull = jax.vjp(max_pool_3x3, x)
  np.testing.assert_array_equal(got, expected)
  w = rng.normal(size=expected.shape).astype(np.float32)
  # A pixel in four windows adds four numbers.
  np.testing.assert_allclose(our_pull(w)[0], pull(w)[0], atol=1e-6)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'size': 74}, 'size=74 .*at least 75'),
    ({'num_blocks': (1, 0, 1)}, 'num_blocks=0 .*each kind'),
  ],
  ids=['size', 'blocks'],
)
def test_a_network_too_small_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    module.inception_resnet_v2(**options)

"""Paper A's MNIST network as users of Flax and PyTorch write it.

The peers of `experiments.benchmark` get our weights and images; `check_equal`
sees to it that they compute the same.
"""

from collections.abc import Callable
import importlib.util

import flax.linen as nn
import jax
import numpy as np

__all__ = [
  'FlaxNetwork',
  'check_equal',
  'flax_params',
  'flax_pool',
  'installed',
  'layers',
  'to_torch',
  'torch_network',
]


def layers(params) -> list[dict[str, np.ndarray]]:
  """Kernel and bias of each layer of `mnist_cnn`, first to last.

  By shape, as the names depend on the order in which Flax meets the layers.
  """

  def place(layer):
    *rest, inputs, _ = layer['kernel'].shape
    return (0, inputs) if rest else (1, -inputs)

  arrays = jax.tree.map(np.array, params['params'])
  return sorted(arrays.values(), key=place)


class FlaxNetwork(nn.Module):
  """`mnist_cnn` as a user of Flax writes it; see `flax_params`."""

  pool: Callable

  @nn.compact
  def __call__(self, x):
    x = self.pool(nn.relu(nn.Conv(32, (5, 5))(x)))
    x = self.pool(nn.relu(nn.Conv(64, (5, 5))(x)))
    x = nn.relu(nn.Dense(1024)(x.reshape(x.shape[0], -1)))
    return nn.Dense(10)(x)


def flax_params(params):
  """Our parameters under the names of `FlaxNetwork`."""
  names = 'Conv_0', 'Conv_1', 'Dense_0', 'Dense_1'
  return {'params': dict(zip(names, layers(params)))}


def flax_pool(x):
  """2x2 pooling as Flax has it (`reduce_window`); ours is `max_pool`."""
  return nn.max_pool(x, (2, 2), strides=(2, 2))


def torch_network(params):
  """`mnist_cnn` in PyTorch, NCHW, with our parameters."""
  import torch

  def convolution(layer):
    _, _, inputs, outputs = layer['kernel'].shape
    kernel = layer['kernel'].transpose(3, 2, 0, 1)  # HWIO to OIHW
    return filled(torch.nn.Conv2d(inputs, outputs, 5, padding=2), kernel, layer)

  def dense(layer):
    kernel = layer['kernel'].T
    return filled(torch.nn.Linear(*kernel.shape[::-1]), kernel, layer)

  def filled(module, kernel, layer):
    weight = torch.from_numpy(np.ascontiguousarray(kernel))
    bias = torch.from_numpy(layer['bias'])
    module.load_state_dict({'weight': weight, 'bias': bias})
    return module

  first, second, hidden, last = layers(params)
  rows = np.arange(len(hidden['kernel'])).reshape(7, 7, -1)  # HWC to CHW
  hidden['kernel'] = hidden['kernel'][rows.transpose(2, 0, 1).ravel()]
  relu, pool = torch.nn.ReLU, torch.nn.MaxPool2d
  return torch.nn.Sequential(
    *(convolution(first), relu(), pool(2)),
    *(convolution(second), relu(), pool(2)),
    *(torch.nn.Flatten(), dense(hidden), relu(), dense(last)),
  ).eval()


def to_torch(x, y):
  """Images `[B, H, W, C]` as NCHW, labels as int64."""
  import torch

  nchw = np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2))
  return torch.from_numpy(nchw), torch.from_numpy(np.asarray(y, np.int64))


def check_equal(name: str, theirs, ours) -> None:
  """Raises RuntimeError unless two networks give the same logits."""
  gap = float(np.abs(np.asarray(theirs) - np.asarray(ours)).max())
  if not gap < 1e-3:
    raise RuntimeError(f'the logits of {name} differ from ours by {gap:.2g}.')


def installed(*names: str) -> bool:
  """Whether peers are there; says of each that is not."""
  missing = [n for n in names if importlib.util.find_spec(n) is None]
  for name in missing:
    print(f'{name} is not installed, so passed over: `make compare` adds it.')
  return not missing

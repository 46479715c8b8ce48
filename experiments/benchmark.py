"""Speed, side by side with the peers: ratios measured in one run.

  python -m experiments.benchmark --workdir=runs/mnist
  python -m experiments.benchmark --quick

Competitors take turns (A B C A B C ...), so that whatever else the machine
does hits all of them; a figure is the median of the ratios within the turns,
its interval their quartiles. Run it on an idle machine. All attacks have
paper A's MNIST network, the same weights and images, and do equal work: so
many gradients, each followed by one sign step; nothing is left out of a batch.
Only `time_to_accuracy` compares whole evaluations, where leaving out what is
fooled is the point: `--workdir` names a workdir of `experiments.train` with
the model `nat` in it.

Peers (`make compare`) that are not installed are passed over.
"""

from collections.abc import Callable, Iterator, Mapping
import importlib.util
from pathlib import Path
import shlex
import sys
import time
from typing import Any, NamedTuple

from absl import app, flags
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.publish import Entry, publish
from experiments.workdir import load_params
from rdefense import build, evaluation, records
from rdefense.attacks import assemble, batch_attack
from rdefense.attacks.recipes import pgd_madry
from rdefense.data import batches
from rdefense.defenses import identity
from rdefense.losses import cross_entropy
from rdefense.models import Classifier, max_pool, mnist_cnn
from rdefense.parallel import layout
from rdefense.threats import ball

_QUICK = flags.DEFINE_bool('quick', False, 'Seconds, not minutes: a smoke run.')
_PUBLISH = flags.DEFINE_bool('publish', False, 'Put it in docs/results.json.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Of experiments.train: `nat`.')

_RESULTS = Path('docs') / 'results.json'
_EPS, _STEP_SIZE = 0.1, 0.01


class Size(NamedTuple):
  """How much is measured."""

  batch: int = 100
  steps: int = 20
  repeats: int = 15
  matmul: int = 2048
  # Of time_to_accuracy.
  images: int = 1000
  long_steps: int = 100
  long_repeats: int = 3


class Figure(NamedTuple):
  """One key of docs/results.json without its surroundings."""

  samples: np.ndarray  # [repeats]
  target: str
  unit: str = 'times'
  examples: int | None = None


FULL, QUICK = Size(), Size(20, 3, 2, 512, 100, 5, 1)


def take_turns(
  competitors: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, np.ndarray]:
  """Seconds `[repeats]` of each; one unmeasured round compiles."""
  seconds: dict[str, list[float]] = {name: [] for name in competitors}
  for turn in range(repeats + 1):
    for name, fn in competitors.items():
      begin = time.perf_counter()
      jax.block_until_ready(fn())
      if turn:
        seconds[name].append(time.perf_counter() - begin)
  return {name: np.array(values) for name, values in seconds.items()}


def network_flops(widths=(32, 64), hidden=1024, num_classes=10) -> int:
  """Multiplications and additions of `mnist_cnn` forward on one 28x28 image.

  Products with the zeros of SAME padding are not counted. The gradient with
  respect to the image takes as many again.
  """
  total, side, channels = 0, 28, 1
  for width in widths:
    taps = 5 * side - 6  # of one row or column, inside the image
    total += taps**2 * channels * width
    side, channels = side // 2, width
  total += side**2 * channels * hidden + hidden * num_classes
  return 2 * total


class FlaxNetwork(nn.Module):
  """`mnist_cnn` as a Flax user writes it; takes the same parameters."""

  pool: Callable

  @nn.compact
  def __call__(self, x):
    x = self.pool(nn.relu(nn.Conv(32, (5, 5))(x)))
    x = self.pool(nn.relu(nn.Conv(64, (5, 5))(x)))
    x = nn.relu(nn.Dense(1024)(x.reshape(x.shape[0], -1)))
    return nn.Dense(10)(x)


def flax_pool(x):
  """The pooling of Flax, `reduce_window`; ours is `models.max_pool`."""
  return nn.max_pool(x, (2, 2), strides=(2, 2))


def torch_network(params):
  """`mnist_cnn` in PyTorch, NCHW, with our parameters."""
  import torch

  def layer(make, name, kernel):
    module = make(kernel.shape[1], kernel.shape[0])
    module.load_state_dict({
      'weight': torch.tensor(np.ascontiguousarray(kernel)),
      'bias': torch.tensor(np.array(params['params'][name]['bias'])),
    })
    return module

  def conv(name):
    kernel = np.array(params['params'][name]['kernel'])  # HWIO
    return layer(
      lambda i, o: torch.nn.Conv2d(i, o, 5, padding=2),
      name,
      kernel.transpose(3, 2, 0, 1),
    )

  def dense(name, kernel):
    return layer(torch.nn.Linear, name, kernel.T)

  first, second = (
    np.array(params['params'][name]['kernel']) for name in ('Dense_0', 'Dense_1')
  )
  hidden = first.shape[1]
  first = first.reshape(7, 7, -1, hidden).transpose(2, 0, 1, 3)  # HWC to CHW
  return torch.nn.Sequential(
    conv('Conv_0'), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    conv('Conv_1'), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    dense('Dense_0', first.reshape(-1, hidden)), torch.nn.ReLU(),
    dense('Dense_1', second),
  ).eval()  # fmt: skip


def to_torch(x, y):
  """Images `[B, H, W, C]` to NCHW, labels to int64."""
  import torch

  nchw = np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2))
  return torch.from_numpy(nchw), torch.from_numpy(np.asarray(y, np.int64))


def check_equal(name: str, ours, theirs) -> None:
  """A benchmark of two different networks would mean nothing."""
  gap = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
  if not gap < 1e-3:
    raise RuntimeError(f'the logits of {name} differ from ours by {gap:.2g}.')


def installed(*names: str) -> bool:
  """Whether peers are there; one sentence on each that is not."""
  missing = [n for n in names if importlib.util.find_spec(n) is None]
  for name in missing:
    print(f'{name} is not installed and passed over: `make compare` adds it.')
  return not missing

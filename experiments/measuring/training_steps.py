"""A step of training as we compile it beside one as XLA compiles by default."""

from collections.abc import Callable
import inspect

import jax
import numpy as np
import optax

from experiments.measuring.timing import Figure, take_turns
from rdefense import models, training
from rdefense.defenses import identity
from rdefense.models import Classifier
from rdefense.parallel import layout

__all__ = ['training_steps']


def training_steps(repeats: int, batch_size: int = 128) -> dict[str, Figure]:
  """Seconds of the default step over those of ours, on one CPU device.

  Args:
    repeats: of each step.
    batch_size: images of a step.

  Returns:
    A figure a network; none where there is no CPU, as the steps are the same.
  """
  if jax.default_backend() != 'cpu':
    return {}
  networks = {
    'mnist_cnn': (models.mnist_cnn(), (28, 28, 1)),
    'wide_resnet': (models.wide_resnet(10, width=1, units=1), (32, 32, 3)),
  }
  figures = {}
  for name, (network, shape) in networks.items():
    seconds = take_turns(_competitors(network, shape, batch_size), repeats)
    figures[f'training_step_vs_default/{name}'] = Figure(
      seconds['default'] / seconds['ours'], 'at least 1'
    )
  return figures


def _competitors(
  network: Classifier, shape: tuple[int, ...], batch_size: int
) -> dict[str, Callable]:
  tx, where = optax.sgd(0.1, momentum=0.9), layout(jax.devices()[:1])
  ours = training.updater(network, tx, identity(), where=where)
  default = jax.jit(inspect.unwrap(ours), donate_argnums=0)
  x = np.random.default_rng(0).random((batch_size, *shape), np.float32)
  index = np.arange(batch_size, dtype=np.int32)
  batch = jax.device_put((index, x, index % 10), where.split)

  def taking_steps(update) -> Callable:
    state = training.initial(network, tx, jax.random.key(0), x[0])
    state = jax.device_put(state, where.copied)

    def step():
      nonlocal state
      state, metrics = update(state, jax.random.key(1), *batch)
      return metrics

    return step

  return {'ours': taking_steps(ours), 'default': taking_steps(default)}

"""The optimisers of training."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from rdefense.builders.choices import unknown
from rdefense.types import PyTree

__all__ = ['optimizer']


def optimizer(config: Mapping[str, Any]) -> optax.GradientTransformation:
  """`config.optimizer`, `adam` or `momentum` (0.9), at scheduled rates.

  `config.schedule` is constant, warm-up and cosine, or steps: a tenth from each
  of `config.boundaries` on. Gradients are clipped to the global norm
  `config.clip_norm` where it is not 0; then `config.weight_decay` times a
  kernel is added to its gradient, as that of half its square would be.
  """
  rate = config['learning_rate']
  match config['schedule']:
    case 'constant':
      schedule = optax.constant_schedule(rate)
    case 'cosine':
      steps = config['num_steps']
      schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, max(1, steps // 10), steps
      )
    case 'steps':
      schedule = optax.piecewise_constant_schedule(
        rate, dict.fromkeys(config['boundaries'], 0.1)
      )
    case other:
      raise unknown('schedule', other, ('constant', 'cosine', 'steps'))
  match config.get('optimizer', 'adam'):
    case 'adam':
      found = optax.adam(schedule)
    case 'momentum':
      found = optax.sgd(schedule, momentum=0.9)
    case other:
      raise unknown('optimizer', other, ('adam', 'momentum'))
  if decay := config.get('weight_decay', 0.0):
    found = optax.chain(optax.add_decayed_weights(decay, _kernels), found)
  if not config['clip_norm']:
    return found
  return optax.chain(optax.clip_by_global_norm(config['clip_norm']), found)


def _kernels(params: PyTree) -> PyTree:
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key == 'kernel', params
  )

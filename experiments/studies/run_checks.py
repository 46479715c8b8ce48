"""What a training run must be, told before a workdir is bound to it."""

import jax
import numpy as np

from rdefense import build, checks
from rdefense.attacks.assembly import check_recipe

__all__ = ['check']

_METHODS = ('natural', 'adversarial', 'certified')


def check(config, run) -> None:
  """Raises `ValueError` on what would end a run before its first step.

  Or would let it go the wrong way: a workdir must not be bound to it.
  """
  checks.check_choice('method', run.method, _METHODS)
  checks.check_choice('reduction', run.reduction, ('mean', 'sum'))
  checks.check_at_least('learning_rate', run.learning_rate, 0)
  checks.check_at_least('eps_ramp', run.eps_ramp, 0)
  checks.check_at_least('eps_start', run.eps_start, 0)
  checks.check_whole('batch_size', run.batch_size, 1)
  checks.check_choice('data.judged_on', config.data.judged_on, build.JUDGED_ON)
  build.optimizer(run.to_dict())
  build.classifier(config.model.to_dict(), 2)
  about, codes = config.defenses[run.defense].to_dict(), np.eye(2)[:, :1]
  build.defend(about)(codes, run.attack.alpha)
  if run.method == 'adversarial':
    check_recipe(build.training_recipe(run.attack.to_dict()))
  if run.method == 'certified' and run.defense == 'none':
    raise ValueError(
      "method='certified' needs a defense with a codebook, not 'none': it "
      'bounds the network over the codes that pixels can reach.'
    )
  if not 0 <= run.natural_weight <= 1:
    raise ValueError(
      f'natural_weight={run.natural_weight} must be in [0, 1]: it is the share '
      'of the loss without bounds.'
    )
  if run.method != 'certified' and (run.attacked or run.natural_weight != 1):
    raise ValueError(
      f'attacked={run.attacked} and natural_weight={run.natural_weight} change '
      f'nothing with method={run.method!r}: they are for certified training.'
    )
  devices = jax.device_count()
  if run.batch_size % devices:
    raise ValueError(
      f'batch_size={run.batch_size} is no multiple of the {devices} devices '
      'it is split over: choose another, or fewer devices.'
    )

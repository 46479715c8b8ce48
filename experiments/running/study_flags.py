"""The command line of the programs that take a study, defined once.

What is missing is told when it is asked for, not where flags are parsed: one
program may start several of these in one process.
"""

from absl import flags
from etils.epath import Path
import ml_collections
from ml_collections import config_flags

from experiments.running import program
from rdefense import checks, threats

__all__ = ['ONLY', 'check_radii', 'config', 'workdir']

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything is written.', allow_override=True
)
ONLY = flags.DEFINE_list(
  'only', [], 'Runs or settings to do now, without a report; all if empty.'
)


def config() -> ml_collections.ConfigDict:
  """The study.

  Raises:
    ValueError: where `--config` was not given; on a radius or a number of
      images, steps or draws that is none; where figures of held-out images
      are to be published.
  """
  if _CONFIG.value is None:
    raise ValueError('--config is missing: a file of configs/.')
  if 'threat' in _CONFIG.value:  # the launcher takes any other config too
    check_radii(_CONFIG.value)
    _check_counts(_CONFIG.value)
  published = 'publish' in flags.FLAGS and flags.FLAGS.publish
  if published and _CONFIG.value.data.judged_on == 'held_out':
    raise ValueError(
      '--publish is for test images: constants are chosen by the held-out ones '
      'of --config.data.judged_on.'
    )
  return _CONFIG.value


def check_radii(study) -> None:
  """Raises `ValueError` on a radius in grey levels, before hours are spent."""
  norm = study.threat.norm
  checks.check_choice('--config.threat.norm', norm, threats.NORMS)
  attacks = study.attacks.items()
  radii = (
    {'threat.eps': (study.threat.eps,)}
    | {f'radii_of.{name}': own for name, own in study.radii_of.items()}
    | {f'runs.{name}.eps': (run.eps,) for name, run in study.runs.items()}
    | {f'attacks.{name}.radii': attack.radii for name, attack in attacks}
    | {f'attacks.{name}.curve': attack.curve for name, attack in attacks}
  )
  for name, found in radii.items():
    for eps in found:
      checks.check_length(f'--config.{name}', eps, threats.LARGEST[norm])
  for eps in study.get('certify', {}).get('radii', ()):  # l_inf, always
    checks.check_length('--config.certify.radii', eps)


def _check_counts(study) -> None:
  """Raises `ValueError` on less than no image, and on no step or draw."""
  images = {
    f'{place}.{name}': count
    for place, about in {
      'data': study.data,
      **{f'attacks.{name}': attack for name, attack in study.attacks.items()},
      'certify': study.get('certify', {}),
    }.items()
    for name, count in about.items()
    if name.endswith('_examples')
  }
  for name, count in images.items():
    checks.check_at_least(f'--config.{name}', count, 0, ': 0 takes all')
  others = {
    name: study[name]
    for name in ('batch_size', 'log_every', 'checkpoint_every', 'num_draws')
  } | {
    f'runs.{name}.num_steps': run.num_steps for name, run in study.runs.items()
  }
  if 'shard_size' in study.get('certify', {}):
    others['certify.shard_size'] = study.certify.shard_size
  for name, count in others.items():
    checks.check_at_least(f'--config.{name}', count, 1)


def workdir() -> Path:
  """Where everything is written.

  Raises:
    ValueError: where `--workdir` was not given, or is in a bucket and what
      reads buckets is not installed.
  """
  if not _WORKDIR.value:
    raise ValueError('--workdir is missing: where everything is written.')
  return program.folder('workdir', _WORKDIR.value)

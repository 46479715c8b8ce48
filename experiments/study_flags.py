"""The command line of the programs that take a study, defined once.

A program that needs them all marks `config` and `workdir` as required where it
is started, so that another one may start several of them in one process.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

__all__ = ['CONFIG', 'ONLY', 'PUBLISH', 'require', 'workdir']

CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything is written.', allow_override=True
)
ONLY = flags.DEFINE_list(
  'only', [], 'Runs or settings to do now, without a report; all if empty.'
)
PUBLISH = flags.DEFINE_bool(
  'publish', False, 'Put it in docs/results.json.', allow_override=True
)


def workdir() -> Path:
  """Where everything is written.

  Raises:
    ValueError: where `--workdir` was not given.
  """
  if not _WORKDIR.value:
    raise ValueError('--workdir is missing: where everything is written.')
  return Path(_WORKDIR.value)


def require() -> None:
  """To be called where a program is started with a study."""
  flags.mark_flags_as_required(['config', 'workdir'])

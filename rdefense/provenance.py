"""Where a figure comes from: the config a workdir belongs to, and the machine.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...   claim(directory, {'eps': 0.3})
...   claim(directory, {'eps': 0.3})  # the same config may come back
>>> sorted(environment())[:4]
['commit', 'date', 'device', 'devices']
"""

from collections.abc import Iterator, Mapping
import contextlib
import datetime
import importlib.metadata
import json
import os
from pathlib import Path
import platform
import subprocess
from typing import Any

from etils import epath
import jax

from rdefense import files, parallel

__all__ = ['claim', 'claimed', 'environment']

# Entries that configs of older workdirs lack, as they were before.
_BEFORE = {'precision': 'highest', 'attacked': False}
_PACKAGES = 'jax jaxlib flax optax orbax-checkpoint numpy scipy rdefense'


def environment() -> dict[str, Any]:
  """What a figure depends on besides its config.

  Returns:
    `packages` (name -> version, None where not installed), `python`,
    `platform`, `device` (kind), `devices` (count), `system`, `commit` and
    `dirty` (of tracked files outside of docs; both None when this package is
    not a checkout),
    `date` (UTC, ISO 8601, to the second).
  """
  packages: dict[str, str | None] = {}
  for name in _PACKAGES.split():
    try:
      packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      packages[name] = None
  devices = jax.devices()
  # An installed copy may lie inside some other project's checkout.
  ours = _git('ls-files', '--error-unmatch', Path(__file__).name) is not None
  commit = _git('rev-parse', 'HEAD') if ours else None
  # What a run before this one has published in docs is no change of the code.
  changed = _git(
    'status',
    '--porcelain',
    '--untracked-files=no',
    '--',
    ':(top)',
    ':(top,exclude)docs',
  )
  return {
    'packages': packages,
    'python': platform.python_version(),
    'platform': devices[0].platform,
    'device': devices[0].device_kind,
    'devices': len(devices),
    'system': platform.platform(),
    'commit': commit,
    'dirty': bool(changed) if commit else None,
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
  }


def claim(workdir: str | os.PathLike, config: Mapping[str, Any]) -> None:
  """Binds a workdir to one config: writes `config.json`, or compares with it.

  Args:
    workdir: directory of the evaluation; made where missing.
    config: nested plain data. What older configs lack, because there was no
      choice, counts as what it was then.

  Raises:
    ValueError: if the workdir belongs to another config, cannot be written
      to, or is not the same folder for all processes.
  """
  path = epath.Path(workdir) / 'config.json'
  try:
    if parallel.is_first() and not path.exists():
      files.write_json(path, config)
  except OSError as error:
    raise ValueError(
      f'--workdir={workdir} cannot be written to ({error.strerror or error}): '
      'choose a folder in which you may write, on a disk that is not full.'
    ) from error
  parallel.wait('claim')
  if not path.exists():
    raise ValueError(
      f'{workdir} is empty for process {jax.process_index()} and not for '
      'process 0: all hosts need one folder, on a shared disk or as gs://...'
    )
  here = json.loads(files.json_text(config))
  found = _difference(files.read_json(path), here)
  if found:
    name, there, here = found
    raise ValueError(
      f'{workdir} is a workdir that belongs to another config: {name} is '
      f'{there} there and {here} here; choose another --workdir.'
    )


@contextlib.contextmanager
def claimed(
  workdir: str | os.PathLike, config: Mapping[str, Any]
) -> Iterator[None]:
  """`claim`, taken back where a mistake ends the run before it made anything.

  The right command must not be refused for the sake of the mistaken one.

  Raises:
    ValueError: as `claim`.
  """
  folder = epath.Path(workdir)
  begun = (folder / 'config.json').exists()
  claim(workdir, config)
  try:
    yield
  except ValueError:
    alone = [path.name for path in folder.iterdir()] == ['config.json']
    if alone and not begun and jax.process_count() == 1:
      (folder / 'config.json').unlink()
    raise


def _difference(there, here, name=''):
  """First difference of two nested configs: (dotted key, there, here)."""
  if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
    return None if there == here else (name, there, here)
  return next(
    filter(
      None,
      (
        _difference(
          there.get(key, _BEFORE.get(key, 'absent')),
          here.get(key, _BEFORE.get(key, 'absent')),
          f'{name}.{key}' if name else key,
        )
        for key in sorted(there.keys() | here.keys())
      ),
    ),
    None,
  )


def _git(*arguments):
  command = ['git', '-C', str(Path(__file__).parent), *arguments]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() if done.returncode == 0 else None

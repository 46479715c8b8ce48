"""Sweeps: one config file, many overrides, each with a workdir of its own.

A config file may have, beside `get_config`, a function `sweep()` that yields
overrides: mappings from dotted entries of the config to values,

  def sweep():
    for seed in range(3):
      yield {'seed': seed, 'threat.eps': 0.1}

Each becomes a run whose name says what differs, so that the same override finds
the same workdir again:

>>> run_name({'threat.eps': 0.1, 'seed': 1})
'seed=1,threat.eps=0.1'
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import difflib
import hashlib
import importlib.util
import os
from pathlib import Path
import re
import sys
from typing import Any, NamedTuple

import ml_collections

__all__ = [
  'PROGRAMS',
  'Run',
  'Step',
  'command',
  'overrides_of',
  'run_name',
  'runs',
]

PROGRAMS = ('train', 'evaluate', 'certify')  # that take a study
BASE = 'base'  # the run that overrides nothing
_LONGEST = 120  # characters of a name


class Step(NamedTuple):
  """One program of a run, and the command that starts it here."""

  program: str
  command: tuple[str, ...]


class Run(NamedTuple):
  """One override, resolved.

  Attributes:
    name: of its workdir below the root.
    overrides: dotted entry -> value, as the config has taken it.
    config: the whole config, as plain data.
    workdir: where it is written; a string, as it may be in a bucket.
    steps: what is run, one after another.
  """

  name: str
  overrides: Mapping[str, Any]
  config: Mapping[str, Any]
  workdir: str
  steps: tuple[Step, ...]


def overrides_of(config_file: str) -> list[Mapping[str, Any]]:
  """What `sweep()` of a config file yields; one empty override without it.

  Args:
    config_file: such as `configs/digits.py:smoke`; the words play no part.

  Raises:
    ValueError: if it yields nothing, or what is no mapping.
  """
  path = config_file.partition(':')[0]
  spec = importlib.util.spec_from_file_location(
    f'configs.{Path(path).stem}_swept', path
  )
  if spec is None or spec.loader is None:
    raise ValueError(f'--config={config_file} is no file of Python.')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'sweep'):
    return [{}]
  found = list(module.sweep())
  if not found:
    raise ValueError(f'sweep() of {path} yields nothing: there is no run.')
  for override in found:
    if not isinstance(override, Mapping):
      raise ValueError(
        f'sweep() of {path} yields {override!r}, expected mappings from '
        "entries of the config to values, such as {'seed': 1}."
      )
  return found


def run_name(overrides: Mapping[str, Any]) -> str:
  """Readable, the same for the same override, and fit for any file system.

  >>> run_name({})
  'base'
  >>> run_name({'only': ('nat_pre', 'adv_pre'), 'pretrained': 'runs/mnist'})
  'only=nat_pre+adv_pre,pretrained=runs-mnist'
  """
  if not overrides:
    return BASE
  name = ','.join(
    f'{key}={_safe(value)}' for key, value in sorted(overrides.items())
  )
  if len(name) <= _LONGEST:
    return name
  digest = hashlib.sha256(name.encode()).hexdigest()[:10]
  return f'{name[:_LONGEST]},{digest}'


def runs(
  config: ml_collections.ConfigDict,
  overrides: Iterable[Mapping[str, Any]],
  root: str | os.PathLike,
  programs: Sequence[str],
  make: Callable[[str, Mapping[str, Any], str], Sequence[str]],
  fixed: Sequence[str] = (),
) -> list[Run]:
  """A run for each override, in order.

  Args:
    config: what the overrides are applied to; it stays as it is.
    overrides: as `overrides_of` returns them.
    root: folder of all runs; perhaps in a bucket.
    programs: of a run, in order.
    make: `(program, overrides, workdir)` to the words of a command.
    fixed: entries that the command line sets for all runs.

  Raises:
    ValueError: on a program that is none, an entry that the config has not, a
      value that it does not take, or two overrides that are the same.
  """
  for program in programs:
    if program not in PROGRAMS:
      raise ValueError(
        f'--program={program} takes no study: {", ".join(PROGRAMS)} do.'
      )
  if not programs:
    raise ValueError(f'--program is empty: of {", ".join(PROGRAMS)}.')
  found: dict[str, Run] = {}
  for override in overrides:
    for key in override:
      if key in fixed:
        raise ValueError(
          f'sweep() overrides {key}, which --config.{key} sets for all runs: '
          'one of them has to go.'
        )
    changed, taken = _applied(config, override)
    name = run_name(taken)
    # Names that differ in case only would be one folder on some systems.
    same = next((n for n in found if n.casefold() == name.casefold()), None)
    if same is not None:
      raise ValueError(
        f'sweep() yields {dict(override)} after {dict(found[same].overrides)}: '
        f'both would be written to {name}.'
      )
    workdir = f'{os.fspath(root).rstrip("/") or "/"}/{name}'
    steps = tuple(
      Step(program, tuple(make(program, taken, workdir)))
      for program in programs
    )
    found[name] = Run(name, taken, changed.to_dict(), workdir, steps)
  return list(found.values())


def command(
  config_file: str, fixed: Mapping[str, Any], python: str = sys.executable
) -> Callable[[str, Mapping[str, Any], str], list[str]]:
  """Makes the commands of this package's programs, for `runs`.

  Args:
    config_file: with its words.
    fixed: entries that the command line sets for all runs.
    python: the interpreter.

  >>> make = command('configs/digits.py:smoke', {}, 'python')
  >>> print(*make('train', {'seed': 1}, 'runs/sweep/seed=1'))
  python -m experiments.train --config=configs/digits.py:smoke \
--config.seed=1 --workdir=runs/sweep/seed=1
  """

  def make(program, overrides, workdir):
    changes = {**fixed, **overrides}
    return [
      python, '-m', f'experiments.{program}', f'--config={config_file}',
      *(f'--config.{key}={value}' for key, value in changes.items()),
      f'--workdir={workdir}',
    ]  # fmt: skip

  return make


def _safe(value) -> str:
  """A value as part of a file name."""
  if isinstance(value, tuple):
    return '+'.join(map(_safe, value))
  return re.sub(r'[^\w.=+-]+', '-', str(value), flags=re.ASCII).strip('-')


def _applied(config, override):
  """The config with an override, and the override as the config took it."""
  changed = ml_collections.ConfigDict(config.to_dict())
  for key, value in sorted(override.items()):
    _check(changed, key, value)
    try:
      changed.update_from_flattened_dict({key: _plain(value)})
    except TypeError as error:
      raise ValueError(
        f'sweep() sets {key} to {value!r}, but it is {_at(changed, key)!r} in '
        'the config: the types differ.'
      ) from error
  return changed, {key: _at(changed, key) for key in sorted(override)}


def _check(config, key, value) -> None:
  known = list(_entries(config))
  if key not in known:
    near = difflib.get_close_matches(str(key), known, n=3)
    raise ValueError(
      f'sweep() overrides {key}, which is no entry of the config'
      + (f'; near it: {", ".join(near)}.' if near else '.')
    )
  before = _at(config, key)
  if value is None or isinstance(value, bool) != isinstance(before, bool):
    raise ValueError(
      f'sweep() sets {key} to {value!r}, but it is {before!r} in the config: '
      'the types differ.'
    )


def _entries(config, prefix=''):
  """Dotted names of all leaves."""
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _entries(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'


def _at(config, key):
  for part in key.split('.'):
    config = config[part]
  return config


def _plain(value):
  """NumPy's scalars, which a range of floats is made of, as Python's."""
  return value.item() if hasattr(value, 'item') else value

"""Which programs have finished in a workdir: `done.json`, written after each.

A program has finished if it was seen to end well with this very config, and
what lay in its workdir then lies there still. A workdir that was deleted, in
whole or in part, or that belongs to another config, is not taken for done.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...   path = files.write_json(Path(directory) / 'results.json', {})
...   mark(directory, 'train', ['python'], {'seed': 1}, 2.0)
...   is_done(directory, 'train', {'seed': 1})
...   is_done(directory, 'train', {'seed': 2})
True
False
"""

from collections.abc import Mapping, Sequence
import datetime
import hashlib
import os
import shlex
from typing import Any

from etils.epath import Path

from rdefense import files

__all__ = ['is_done', 'mark', 'seconds']

_MARKER = 'done.json'
_LEVELS = ('*', '*/*', '*/*/*')  # models/nat/400, records/nat_pre/eps0.2


def mark(
  workdir: str | os.PathLike,
  program: str,
  command: Sequence[str],
  config: Mapping[str, Any],
  seconds: float,
) -> None:
  """Notes that a program has ended well, with what it has left behind.

  Args:
    workdir: of the run.
    program: that has ended.
    command: that started it, for who reads the file.
    config: the resolved config, plain data.
    seconds: it took.
  """
  now = datetime.datetime.now(datetime.UTC)
  marks = _marks(workdir) | {
    program: {
      'command': shlex.join(command),
      'config': _digest(config),
      'date': now.isoformat(timespec='seconds'),
      'left': _left(workdir),
      'seconds': seconds,
    }
  }
  files.write_json(Path(workdir) / _MARKER, marks)


def is_done(
  workdir: str | os.PathLike, program: str, config: Mapping[str, Any]
) -> bool:
  """Whether a program need not be run again."""
  mark = _marks(workdir).get(program)
  return (
    mark is not None
    and mark['config'] == _digest(config)
    and bool(mark['left'])  # else it was deleted while the program ran
    and set(mark['left']) <= set(_left(workdir))
  )


def seconds(workdir: str | os.PathLike) -> float:
  """What the programs that are marked took, together."""
  return sum(mark['seconds'] for mark in _marks(workdir).values())


def _marks(workdir) -> dict[str, Any]:
  path = Path(workdir) / _MARKER
  return files.read_json(path) if path.exists() else {}


def _left(workdir) -> list[str]:
  workdir = Path(workdir)
  return sorted(
    path.relative_to(workdir).as_posix()
    for level in _LEVELS
    for path in files.matching(workdir, level)
    if path.suffix != '.log'
    and path.name != _MARKER
    and not path.name.startswith('.')
  )


def _digest(config) -> str:
  return hashlib.sha256(files.json_text(config).encode()).hexdigest()

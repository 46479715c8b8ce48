"""What `experiments.reproduce` has run: command lines, in `reproduced.json`.

A line without seconds has been begun and was not ended, or is at work. All are
told as of a folder `runs`, wherever that of the runs lies: it may be moved.

>>> job = Job('certify', 'paper/table_4.py:small', 'table_4')
>>> line(job, Path('runs')).partition('--')[2]
'config=configs/paper/table_4.py:small --workdir=runs/table_4'
"""

from collections.abc import Iterable, Mapping
import shlex
from typing import Any, NamedTuple

from etils.epath import Path

from configs.paper.catalogue import Job
from experiments.running import locks
from rdefense import files

__all__ = [
  'Spent',
  'add',
  'chosen',
  'default_root',
  'key',
  'line',
  'read',
  'seconds',
  'so_far',
]

_NAME, _ROOT = 'reproduced.json', 'runs'


class Spent(NamedTuple):
  """What a program has taken, over all its starts, in seconds."""

  clock: float
  processor: float


def default_root(preset: str) -> str:
  """Folder of all runs where `--root` names none.

  >>> [default_root(preset) for preset in ('small', 'smoke')]
  ['runs', 'runs/smoke']
  """
  return _ROOT if preset == 'small' else f'{_ROOT}/{preset}'


def line(job: Job, root: Path | str = _ROOT) -> str:
  """The command line of a job with its runs in a folder.

  With those in `runs`, it is what the journal knows the job by.
  """
  words = [f'experiments.{job.program}', *job.arguments(str(root))]
  return shlex.join(['python', '-m', *words])


def key(job: Job, preset: str) -> str:
  """Of a job's time in docs/results.json.

  >>> key(Job('train', 'mnist.py', 'mnist', '', ('--only=nat,adv',)), 'small')
  'reproduce/small/mnist/train_nat_adv'
  """
  program = '_'.join((job.program, *chosen(job)))
  return '/'.join(('reproduce', preset, job.workdir, program))


def chosen(job: Job) -> list[str]:
  """What a job is told to do alone, by `--only`; nothing if it does all.

  >>> chosen(Job('train', 'mnist.py', 'mnist', '', ('--only=nat,adv',)))
  ['nat', 'adv']
  """
  found = _values('only', job.options)
  return [name for names in found for name in names.split(',')]


def read(root: Path) -> dict[str, dict[str, Any]]:
  """What is told of each command line.

  Returns:
    Command line as of `runs` -> commit, dirty, date, device; whole, whether all
    of its starts are told; stopped, what it had taken (`Spent`) when SIGTERM
    stopped it; seconds where it ended.

  Raises:
    ValueError: if the file is damaged.
  """
  path = root / _NAME
  return _rooted(files.read_json(path) if path.exists() else {})


def add(root: Path, lines: Mapping[str, Mapping[str, Any]]) -> None:
  """Adds lines, or replaces them; other processes may do so at once."""
  with locks.waited(root):
    files.write_json(root / _NAME, {**read(root), **_rooted(lines)})


def so_far(job: Job, root: Path) -> Spent | None:
  """What a job about to start has taken already; None if nobody knows.

  That is nothing where it begins from nothing, and what it told where it was
  stopped and goes on. Nobody knows where it was killed, or where a part of its
  workdir was made by something whose time is not known either.
  """
  workdir = root / job.workdir
  if not workdir.is_dir() or not any(workdir.iterdir()):
    return Spent(0.0, 0.0)
  told = read(root)
  own = told.pop(line(job), None)
  others = [
    about for words, about in told.items() if _workdirs(words) == [job.workdir]
  ]
  if not all(a.get('whole', False) and 'seconds' in a for a in others):
    return None
  if own is None:
    return Spent(0.0, 0.0) if others else None
  return Spent(*own['stopped']) if 'stopped' in own else None


def seconds(lines: Mapping[str, Mapping[str, Any]], job: Job) -> float | None:
  """How long a job took, wherever its folder lay then; None if not told.

  Programs that share a workdir are told apart by what they made there alone.

  >>> told = {'python -m experiments.train --workdir=a/mnist': {'seconds': 3.0}}
  >>> seconds(told, Job('train', 'mnist.py', 'mnist'))
  3.0
  """
  own = ['python', '-m', f'experiments.{job.program}']
  only = _values('only', job.options)
  for told, about in lines.items():
    words = shlex.split(told)
    same = words[:3] == own and _values('only', words) == only
    if same and _workdirs(told) == [job.workdir]:
      return about.get('seconds')
  return None


def _rooted(lines: Mapping[str, Any]) -> dict[str, Any]:
  """Command lines as of `runs`, wherever they were told of.

  >>> _rooted({'python -m experiments.train --workdir=/tmp/r/mnist': {}})
  {'python -m experiments.train --workdir=runs/mnist': {}}
  """

  def rooted(word: str) -> str:
    flag, _, folder = word.partition('=')
    if flag not in ('--workdir', '--config.pretrained'):
      return word
    return f'{flag}={_ROOT}/{Path(folder).name}'

  return {
    shlex.join(map(rooted, shlex.split(told))): about
    for told, about in lines.items()
  }


def _workdirs(told: str) -> list[str]:
  found = _values('workdir', shlex.split(told))
  return [Path(folder).name for folder in found]


def _values(flag: str, words: Iterable[str]) -> list[str]:
  before = f'--{flag}='
  return [
    word.removeprefix(before) for word in words if word.startswith(before)
  ]

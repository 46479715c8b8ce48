"""What `experiments.reproduce` has run: command lines, in `reproduced.json`.

>>> job = Job('certify', 'paper/table_4.py:small', 'table_4')
>>> line(job, Path('runs')).partition('--')[2]
'config=configs/paper/table_4.py:small --workdir=runs/table_4'
"""

from collections.abc import Mapping
import shlex
from typing import Any

from etils.epath import Path

from configs.paper.catalogue import Job
from rdefense import files

__all__ = ['line', 'read', 'seconds', 'write']

_NAME = 'reproduced.json'


def line(job: Job, root: Path) -> str:
  """The command line of a job with its runs in a folder."""
  words = [f'experiments.{job.program}', *job.arguments(str(root))]
  return shlex.join(['python', '-m', *words])


def read(root: Path) -> dict[str, dict[str, Any]]:
  """Command line -> commit, dirty, date, device, seconds.

  Raises:
    ValueError: if the file is damaged.
  """
  path = root / _NAME
  return files.read_json(path) if path.exists() else {}


def write(root: Path, lines: Mapping[str, Mapping[str, Any]]) -> None:
  """Replaces the journal whole."""
  files.write_json(root / _NAME, lines)


def seconds(lines: Mapping[str, Mapping[str, Any]], job: Job) -> float | None:
  """How long a job took, wherever its folder lay then; None if not told.

  >>> told = {'python -m experiments.train --workdir=a/mnist': {'seconds': 3.0}}
  >>> seconds(told, Job('train', 'mnist.py', 'mnist'))
  3.0
  """
  own = ('python', '-m', f'experiments.{job.program}')
  for told, about in lines.items():
    words = shlex.split(told)
    made = [w for w in words if w.startswith('--workdir=')]
    if tuple(words[:3]) == own and [
      Path(word.partition('=')[2]).name for word in made
    ] == [job.workdir]:
      return about.get('seconds')
  return None

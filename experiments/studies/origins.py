"""Which code and which models have computed the rows of a workdir, told in it.

A workdir goes on under later commits, and its report is printed again under
later ones still: its figures are of those that computed rows.

>>> import tempfile
>>> first, later = ({'commit': c, 'dirty': False, 'date': c} for c in 'ab')
>>> with tempfile.TemporaryDirectory() as workdir:
...   rows = Path(workdir) / 'records'
...   note(workdir, 'evaluate', first, rows, num_examples=8, shard_size=5)
...   for number in (0, 1):
...     _ = records.write_shard(rows, number, {'index': []})
...   note(workdir, 'evaluate', later, rows, num_examples=8, shard_size=5)
...   environment(workdir, 'evaluate', later)['commit']  # it prints, no more
...   note(workdir, 'evaluate', later, rows, num_examples=11, shard_size=5)
...   environment(workdir, 'evaluate', later)['commit']
'a'
'a, b'
"""

from collections.abc import Mapping
import hashlib
from typing import Any

from etils.epath import Path
import jax
import numpy as np

from rdefense import files, parallel, records

__all__ = ['bind', 'environment', 'note']


def note(
  workdir,
  program: str,
  about: Mapping[str, Any],
  directory,
  num_examples: int,
  shard_size: int,
) -> None:
  """Notes that a program is about to compute rows; once, however often called.

  Args:
    workdir: of the study; gets `origins/<program>/<date>.json`.
    program: of `experiments`.
    about: `provenance.environment` when it began.
    directory: of the rows; where none of its shards is missing, none is noted.
    num_examples: that it is to have.
    shard_size: examples a shard.
  """
  missing = len(records.completed(directory)) < num_examples / shard_size
  if missing and parallel.is_first():
    name = about['date'].replace(':', '') + '.json'  # no colons in Windows
    files.write_json(Path(workdir) / 'origins' / program / name, about)


def bind(workdir, setting: str, params) -> None:
  """Binds the rows of a setting to one model, or compares with it.

  Args:
    workdir: of the study; gets `origins/models/<setting>.json`.
    setting: of the config.
    params: of its network.

  Raises:
    ValueError: if the rows that are there are of another model.
  """
  path = Path(workdir) / 'origins' / 'models' / f'{setting}.json'
  sha256 = hashlib.sha256()
  for leaf in jax.tree.leaves(params):
    sha256.update(np.asarray(leaf).tobytes())
  told = {'sha256': sha256.hexdigest()}
  if parallel.is_first() and not path.exists():
    files.write_json(path, told)
  parallel.wait('models')
  if files.read_json(path) != told:
    raise ValueError(
      f'{workdir} holds rows of {setting} by another model, which was trained '
      'or loaded again since: choose another --workdir, or remove '
      f'records/{setting} and {path} to measure it anew.'
    )


def environment(
  workdir, program: str, about: Mapping[str, Any]
) -> dict[str, Any]:
  """The last environment that computed rows, with the commits of all.

  Args:
    workdir: of the study.
    program: of `experiments`.
    about: `provenance.environment` now, for rows computed before notes were
      taken.
  """
  noted = files.matching(Path(workdir) / 'origins' / program, '*.json')
  told = [files.read_json(path) for path in noted] or [dict(about)]
  commits = dict.fromkeys(a['commit'] for a in told)
  commit = ', '.join(commits) if all(commits) else None
  dirty = any(a['dirty'] for a in told) if commit else None
  return told[-1] | {'commit': commit, 'dirty': dirty}

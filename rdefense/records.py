"""Records on disk: shards of rows, one row an example, and JSON beside them.

An evaluation owns a workdir. Its rows are written shard by shard, each file
under a temporary name and then renamed, so that a killed run leaves whole
shards only and its successor computes the missing ones:

  accuracy under a condition = #{rows: predicted = label} / #rows

always recomputed from these rows, never from running totals.

Columns: `index` int64, `label` int32 and, for each condition (`clean` or
`eps0.3/paper_a`), `<condition>/predicted` int32, `/margin` float32,
`/gradients` int32 (gradient evaluations), `/seconds` float32 and, for a worst
case over attacks, `/broken_by` int32 (component number, -1 = survived).

>>> import tempfile
>>> rows = {
...   'index': np.arange(4),
...   'label': np.array([3, 1, 4, 1], np.int32),
...   'clean/predicted': np.array([3, 1, 4, 7], np.int32),
... }
>>> with tempfile.TemporaryDirectory() as directory:
...   path = write_shard(directory, 0, rows)
...   summarize(read(directory), 'clean')['percent']
75.0
"""

from collections.abc import Mapping
import datetime
import importlib.metadata
import io
import json
import os
from pathlib import Path
import platform
import re
import subprocess
from typing import Any, NamedTuple

import jax
import numpy as np

from rdefense.certify import statistics

__all__ = [
  'Tally',
  'claim',
  'completed',
  'environment',
  'read',
  'read_json',
  'read_shard',
  'summarize',
  'tally',
  'write_bytes',
  'write_json',
  'write_shard',
]

_PACKAGES = 'jax jaxlib flax optax orbax-checkpoint numpy scipy rdefense'


class Tally(NamedTuple):
  """A count with its share and exact interval; the last three in percent."""

  correct: int
  total: int
  percent: float
  low: float
  high: float


def write_bytes(path: str | os.PathLike, data: bytes) -> Path:
  """Writes a file whole or not at all: temporary file, fsync, rename.

  Args:
    path: the file; its directory is made where missing.
    data: its content.

  Returns:
    The path. At every instant it holds the old content or the new one.
  """
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  return path


def write_shard(
  directory: str | os.PathLike, number: int, columns: Mapping[str, Any]
) -> Path:
  """Writes one shard of rows atomically.

  Args:
    directory: where the shards of this evaluation lie; made where missing.
    number: shard number from 0; the file is `shard-00003.npz` for 3.
    columns: name -> array `[rows, ...]`, all of one leading length; `index`
      `[rows]` is the example's number in the data set.

  Returns:
    The path of the shard.

  Raises:
    ValueError: if `number` is negative, or `columns` has no `index` or
      columns of different lengths.
  """
  arrays = {name: np.asarray(column) for name, column in columns.items()}
  if number < 0:
    raise ValueError(f'shard number must be 0 or more, got {number}.')
  if 'index' not in arrays:
    raise ValueError(
      f'columns need an index, got {sorted(arrays)}: rows are told apart by it.'
    )
  for name, array in arrays.items():
    if array.shape[:1] != arrays['index'].shape:
      raise ValueError(
        f'column {name} is of shape {array.shape} and index of shape '
        f'{arrays["index"].shape}: was padding left in one of them?'
      )
  buffer = io.BytesIO()
  # NumPy's stub takes any keyword for its option allow_pickle.
  np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
  return write_bytes(
    Path(directory) / f'shard-{number:05d}.npz', buffer.getvalue()
  )


def read_shard(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads one shard: name -> array `[rows, ...]`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is truncated or damaged.
  """
  # In memory, as NumPy leaves a path open when the archive is damaged.
  data = io.BytesIO(Path(path).read_bytes())
  try:
    with np.load(data, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except Exception as error:  # zipfile, zlib and NumPy raise seven kinds
    raise ValueError(
      f'{path} is truncated or damaged ({type(error).__name__}): delete that '
      'file and run again, which recomputes only its examples.'
    ) from error


def completed(directory: str | os.PathLike) -> set[int]:
  """Numbers of the shards present; empty for a directory yet to be made."""
  return set(_shards(directory))


def read(directory: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all shards as one table sorted by `index`.

  Args:
    directory: where `write_shard` put them.

  Returns:
    name -> array `[rows, ...]`, rows ascending by `index`.

  Raises:
    ValueError: if there is no shard, one is damaged, two disagree about the
      columns, or an index occurs twice.
  """
  shards = _shards(directory)
  if not shards:
    raise ValueError(f'{directory} holds no shards: nothing is evaluated yet.')
  parts = {path: read_shard(path) for _, path in sorted(shards.items())}
  first, *_ = parts
  for path, part in parts.items():
    odd = sorted(set(part) ^ set(parts[first]))
    if odd:
      raise ValueError(
        f'{first} and {path} disagree about column {odd[0]}: shards of two '
        'different evaluations lie in one directory.'
      )
  rows = {
    name: np.concatenate([part[name] for part in parts.values()])
    for name in parts[first]
  }
  order = np.argsort(rows['index'], kind='stable')
  rows = {name: column[order] for name, column in rows.items()}
  repeated = rows['index'][1:][np.diff(rows['index']) == 0]
  if repeated.size:
    twice = repeated[0]
    owners = [p.name for p, part in parts.items() if twice in part['index']]
    raise ValueError(
      f'index {twice} occurs twice in {directory} '
      f'({", ".join(owners)}): were shards of another size left there?'
    )
  return rows


def tally(correct: np.ndarray, confidence: float = 0.95) -> Tally:
  """Counts `[rows]` booleans, with an exact Clopper-Pearson interval.

  Raises:
    ValueError: if `correct` is empty or is not a vector of booleans.

  >>> tally(np.array([True] * 9 + [False])).percent
  90.0
  """
  correct = np.asarray(correct)
  if correct.dtype != bool or correct.ndim != 1:
    raise ValueError(
      f'correct must be a vector of booleans, got {correct.dtype} '
      f'{correct.shape}: compare predictions with labels first.'
    )
  count, total = int(correct.sum()), correct.size
  low, high = statistics.clopper_pearson(count, total, confidence)
  return Tally(count, total, 100 * count / total, 100 * low, 100 * high)


def summarize(
  rows: Mapping[str, np.ndarray], condition: str, confidence: float = 0.95
) -> dict[str, Any]:
  """Accuracy under one condition and what it cost, recomputed from rows.

  Args:
    rows: as `read` returns them.
    condition: `clean` or such as `eps0.3/paper_a`.
    confidence: of the exact interval.

  Returns:
    The fields of `Tally`, with, where the columns exist, `gradients`
    (evaluations, all rows together), `seconds` (likewise) and `broken_by`
    (component -> rows).

  Raises:
    ValueError: if there is no `<condition>/predicted`.
  """
  name = f'{condition}/predicted'
  if name not in rows:
    known = sorted(
      k.removesuffix('/predicted') for k in rows if k.endswith('/predicted')
    )
    raise ValueError(f'no condition {condition!r} in these rows, only {known}.')
  summary = tally(rows[name] == rows['label'], confidence)._asdict()
  for cost, kind in (('gradients', int), ('seconds', float)):
    if f'{condition}/{cost}' in rows:
      summary[cost] = kind(rows[f'{condition}/{cost}'].sum(dtype=kind))
  if f'{condition}/broken_by' in rows:
    parts = np.unique(rows[f'{condition}/broken_by'], return_counts=True)
    summary['broken_by'] = {
      str(part): int(count) for part, count in zip(*parts, strict=True)
    }
  return summary


def write_json(path: str | os.PathLike, obj: Any) -> Path:
  """Writes JSON atomically, keys sorted, so that equal objects are equal files.

  Args:
    path: the file.
    obj: nested mappings, sequences, scalars and arrays (also NumPy's, JAX's).

  Raises:
    ValueError: if a number is not finite, which JSON cannot say.
    TypeError: if something else has no JSON form.
  """
  return write_bytes(path, _dump(obj, path).encode())


def read_json(path: str | os.PathLike) -> Any:
  """Reads JSON.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not JSON, naming the file and the place.
  """
  try:
    return json.loads(Path(path).read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(
      f'{path} is not valid JSON ({error}): it is truncated or was edited; '
      'restore or delete it.'
    ) from error


def environment() -> dict[str, Any]:
  """What a figure depends on besides its config.

  Returns:
    `packages` (name -> version, None where not installed), `python`,
    `platform`, `device` (kind), `devices` (count), `system`, `commit` and
    `dirty` (of tracked files; both None when this package is not a checkout),
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
  changed = _git('status', '--porcelain', '--untracked-files=no')
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
    config: nested plain data.

  Raises:
    ValueError: if the workdir belongs to another config.
  """
  path = Path(workdir) / 'config.json'
  if not path.exists():
    write_json(path, config)
    return
  found = _difference(read_json(path), json.loads(_dump(config, path)))
  if found:
    name, there, here = found
    raise ValueError(
      f'{workdir} is a workdir that belongs to another config: {name} is '
      f'{there} there and {here} here; choose another --workdir.'
    )


def _shards(directory):
  matches = {
    path: re.fullmatch(r'shard-(\d{5,})\.npz', path.name)
    for path in Path(directory).glob('shard-*.npz')
  }
  return {int(found[1]): path for path, found in matches.items() if found}


def _dump(obj, path):
  try:
    text = json.dumps(
      obj, indent=2, sort_keys=True, allow_nan=False, default=_plain
    )
  except ValueError as error:
    raise ValueError(f'{path} cannot be written as JSON: {error}.') from error
  return text + '\n'


def _plain(value):
  if isinstance(value, Mapping):
    return dict(value)
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, '__array__'):
    return np.asarray(value).tolist()
  raise TypeError(f'{type(value).__name__} has no JSON form: {value!r}.')


def _difference(there, here, name=''):
  """First difference of two nested configs: (dotted key, there, here)."""
  if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
    return None if there == here else (name, there, here)
  return next(
    filter(
      None,
      (
        _difference(
          there.get(key, 'absent'),
          here.get(key, 'absent'),
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

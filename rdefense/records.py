"""Records on disk: shards of rows, one row an example.

An evaluation owns a directory. Its rows are written shard by shard, each file
under a temporary name and then renamed, so that a killed run leaves whole
shards only and its successor computes the missing ones:

  accuracy = #{rows: predicted = label} / #rows

always recomputed from these rows (`rdefense.counting`), never from running
totals.

Columns: `index` int64, `label` int32 and, under a name such as `verdict`,
`verdict/predicted` int32, `/margin` float32, `/gradients` int32 (gradient
evaluations), `/seconds` float32 and, for a worst case over attacks,
`/broken_by` int32 (component number, -1 = survived). A randomised defense has
`/draws` int32 `[rows, m]`, from which all rules of `rdefense.judging` follow;
its headline is the first draw, that is one query. Where the attack ran at
lower precision than the judge, `attack/predicted` and `attack/draws` are what
the judge would have said at that precision.

>>> import tempfile
>>> rows = {
...   'index': np.array([7, 5]),
...   'label': np.array([3, 1], np.int32),
...   'clean/predicted': np.array([3, 7], np.int32),
... }
>>> with tempfile.TemporaryDirectory() as directory:
...   path = write_shard(directory, 0, rows)
...   read(directory)['clean/predicted'].tolist()  # by index
[7, 3]
"""

from collections.abc import Mapping
import io
import os
import re
from typing import Any

from etils.epath import Path
import numpy as np

from rdefense import files

__all__ = [
  'completed',
  'read',
  'read_shard',
  'shard_path',
  'write_shard',
]


def shard_path(directory: str | os.PathLike, number: int) -> Path:
  """Where a shard lies.

  Args:
    directory: of the evaluation.
    number: of the shard, from 0.

  Raises:
    ValueError: if `number` is negative.

  >>> shard_path('clean', 3).name
  'shard-00003.npz'
  """
  if number < 0:
    raise ValueError(f'shard number must be 0 or more, got {number}.')
  return Path(directory) / f'shard-{number:05d}.npz'


def write_shard(
  directory: str | os.PathLike, number: int, columns: Mapping[str, Any]
) -> Path:
  """Writes one shard of rows atomically.

  Args:
    directory: where the shards of this evaluation lie; made where missing.
    number: of the shard, from 0; see `shard_path`.
    columns: name -> array `[rows, ...]`, all of one leading length; `index`
      `[rows]` is the example's number in the data set.

  Returns:
    The path of the shard.

  Raises:
    ValueError: if `number` is negative, or `columns` has no `index` or
      columns of different lengths.
  """
  path = shard_path(directory, number)
  arrays = {name: np.asarray(column) for name, column in columns.items()}
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
  return files.write_bytes(path, buffer.getvalue())


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


def _shards(directory):
  matches = {
    path: re.fullmatch(r'shard-(\d{5,})\.npz', path.name)
    for path in files.matching(directory, 'shard-*.npz')
  }
  return {int(found[1]): path for path, found in matches.items() if found}

"""Records on disk: shards of rows, one row an example.

An evaluation owns a directory. Its rows are written shard by shard, each file
under a temporary name and then renamed, so that a killed run leaves whole
shards only and its successor computes the missing ones:

  accuracy = #{rows: predicted = label} / #rows

always recomputed from these rows, never from running totals.

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
import io
import os
import re
from typing import Any, NamedTuple

from etils.epath import Path
import numpy as np

from rdefense import files, judging
from rdefense.certify import statistics

__all__ = [
  'Tally',
  'completed',
  'correct',
  'differing',
  'read',
  'read_shard',
  'rules',
  'shard_path',
  'summarize',
  'tally',
  'tally_of',
  'write_shard',
]


_QUERIES = 10  # an attacker's, where an example has so many draws


class Tally(NamedTuple):
  """A count with its share and exact interval; the last three in percent."""

  correct: int
  total: int
  percent: float
  low: float
  high: float


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


def correct(rows: Mapping[str, np.ndarray], condition: str) -> np.ndarray:
  """`[rows]` bool: the headline verdict of a condition, see above."""
  if f'{condition}/draws' in rows:
    return judging.one_query(rows[f'{condition}/draws'], rows['label'])
  return rows[f'{condition}/predicted'] == rows['label']


def differing(
  rows: Mapping[str, np.ndarray], condition: str, other: str
) -> int:
  """How many rows have another headline verdict under another condition.

  >>> rows = {'label': np.array([1, 2]), 'a/predicted': np.array([1, 2])}
  >>> differing(rows | {'b/predicted': np.array([1, 0])}, 'a', 'b')
  1
  """
  return int((correct(rows, condition) != correct(rows, other)).sum())


def rules(
  rows: Mapping[str, np.ndarray], condition: str, confidence: float = 0.95
) -> dict[str, Any]:
  """All rules of judgement from the same draws of a randomised defense.

  Args:
    rows: as `read` returns them, with `<condition>/draws` `[rows, m]`.
    condition: such as `verdict`.
    confidence: of the exact intervals, whose unit is the example.

  Returns:
    `one_query`, `majority_of_<m>`, `best_of_<q>` for q up to 10: the fields of
    `Tally`; `abstained`, the number of tied votes; `mean_over_draws`, the
    percentage of all draws that are right, which has no interval of its own.
  """
  draws, labels = rows[f'{condition}/draws'], rows['label']
  num_draws = draws.shape[1]
  num_queries = min(_QUERIES, num_draws)
  each = {
    'one_query': judging.one_query(draws, labels),
    f'majority_of_{num_draws}': judging.majority(draws, labels),
    f'best_of_{num_queries}': judging.best_of(draws, labels, num_queries),
  }
  return {k: tally(v, confidence)._asdict() for k, v in each.items()} | {
    'abstained': int(judging.abstains(draws).sum()),
    'mean_over_draws': float(100 * (draws == labels[:, None]).mean()),
  }


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


def tally_of(fields: Mapping[str, Any]) -> Tally:
  """The tally that a summary, or `Tally._asdict`, holds among other things."""
  return Tally(*(fields[name] for name in Tally._fields))


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
  summary = tally(correct(rows, condition), confidence)._asdict()
  if f'{condition}/draws' in rows:
    summary['rules'] = rules(rows, condition, confidence)
  for cost, kind in (('gradients', int), ('seconds', float)):
    if f'{condition}/{cost}' in rows:
      summary[cost] = kind(rows[f'{condition}/{cost}'].sum(dtype=kind))
  if f'{condition}/broken_by' in rows:
    parts = np.unique(rows[f'{condition}/broken_by'], return_counts=True)
    summary['broken_by'] = {
      str(part): int(count) for part, count in zip(*parts, strict=True)
    }
  return summary


def _shards(directory):
  matches = {
    path: re.fullmatch(r'shard-(\d{5,})\.npz', path.name)
    for path in files.matching(directory, 'shard-*.npz')
  }
  return {int(found[1]): path for path, found in matches.items() if found}

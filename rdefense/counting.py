"""Shares of examples with their exact intervals, counted from rows.

The rows are those of `rdefense.records`; what is right under a condition is
its headline, of which `correct` is the only judge.

>>> rows = {
...   'label': np.array([3, 1, 4, 1], np.int32),
...   'clean/predicted': np.array([3, 1, 4, 7], np.int32),
... }
>>> summarize(rows, 'clean')['percent']
75.0
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rdefense import judging
from rdefense.certify import statistics

__all__ = [
  'Tally',
  'correct',
  'differing',
  'rules',
  'summarize',
  'tally',
  'tally_of',
]


_QUERIES = 10  # an attacker's, where an example has so many draws


class Tally(NamedTuple):
  """A count with its share and exact interval; the last three in percent."""

  correct: int
  total: int
  percent: float
  low: float
  high: float


def correct(rows: Mapping[str, np.ndarray], condition: str) -> np.ndarray:
  """`[rows]` bool: is a condition's headline right? Of draws, the first is."""
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

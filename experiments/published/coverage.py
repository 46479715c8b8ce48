"""What has been measured of every table and figure, from published keys alone.

>>> found = measured('table2', 'mnist', ['mnist/nat_pre/clean', 'a/b'])
>>> found, len(printed('table2', 'mnist'))
(['mnist/nat_pre/clean'], 12)
"""

from collections.abc import Iterable, Mapping
import fnmatch
import re
from typing import Any

from configs.paper import catalogue
from configs.paper.catalogue import CATALOGUE, Job
from configs.paper.keys import keys
from configs.paper.published import PRINTED
from experiments.published.cells import sizes
from experiments.published.results import order, published_key, split
from experiments.reproducing import journal

__all__ = ['HEADER', 'lines', 'measured', 'printed', 'whole_time']

HEADER = ('name', 'what', 'data set', 'measured', 'n', 'preset', 'time')
_TIMED = 'small'  # the preset whose times are told


def measured(what: str, dataset: str, found: Iterable[str]) -> list[str]:
  """Those of some keys that belong to a table or figure.

  Args:
    what: of `catalogue.CATALOGUE`.
    dataset: one of its data sets.
    found: keys as docs/results.json has them.

  Returns:
    The most telling first: by the order of the patterns of
    `configs.paper.keys`, what the paper prints before what it does not. What is
    the same figure, measured beside several codebooks, is there once.
  """
  patterns = [
    re.compile(fnmatch.translate(key)).fullmatch for key in keys(what, dataset)
  ]
  ranked = []
  for key in found:
    theirs = published_key(key)
    rank = next((i for i, fits in enumerate(patterns) if fits(theirs)), None)
    if rank is not None:
      ranked.append((rank, theirs not in PRINTED, order(key), theirs))
  once: dict[str, str] = {}
  for _, _, (*_, key), theirs in sorted(ranked):
    once.setdefault(theirs, key)
  return list(once.values())


def printed(what: str, dataset: str) -> list[str]:
  """The paper's own keys of a table or figure."""
  return measured(what, dataset, PRINTED)


def lines(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
  """A row of `HEADER` for each table or figure and data set.

  Args:
    results: key -> fields of `Entry`, as docs/results.json holds them.
  """
  return [
    (
      f'`{what}`',
      item.title,
      dataset or '–',
      *_cells(what, dataset, results),
      _time(catalogue.jobs(what, dataset, _TIMED), results),
    )
    for what, item in CATALOGUE.items()
    for dataset in item.datasets
  ]


def whole_time(results: Mapping[str, Mapping[str, Any]]) -> str:
  """How long everything takes in the preset `small`, as far as it is told.

  >>> whole_time({}).startswith('–, 0 of ')
  True
  """
  jobs = [
    job
    for what, item in CATALOGUE.items()
    for dataset in item.datasets
    for job in catalogue.jobs(what, dataset, _TIMED)
  ]
  return _time(list(dict.fromkeys(jobs)), results)


def _time(jobs: list[Job], results) -> str:
  """Of the programs that have told theirs, each begun from nothing."""
  told = [
    results[key] for job in jobs if (key := journal.key(job, _TIMED)) in results
  ]
  by_unit: dict[str, float] = {}
  for entry in told:
    by_unit[entry['unit']] = by_unit.get(entry['unit'], 0) + entry['value']
  listed = ' and '.join(
    f'{hours:.2f} {unit}' for unit, hours in by_unit.items()
  )
  share = '' if len(told) == len(jobs) else f', {len(told)} of {len(jobs)}'
  return f'{listed or "–"}{share}'


def _cells(what, dataset, results) -> tuple[str, str, str]:
  found = measured(what, dataset, results)
  if not keys(what, dataset):
    return 'a picture, without figures', '–', '–'
  of_paper = printed(what, dataset)
  theirs = {published_key(key) for key in found}
  missing = [key for key in of_paper if key not in theirs]
  there = len(of_paper) - len(missing)
  share = f'{there} of {len(of_paper)} printed' if of_paper else ''
  if not found:
    return f'**not measured**{share and ": "}{share}', '–', '–'
  counted = f'{len(found)} figure{"s" * (len(found) > 1)}'
  counted += f', {share}' if share else ''
  counted += f'; missing: {_groups(missing)}' if missing else ''
  n = sizes(results[key]['examples'] for key in found)
  presets = ', '.join(sorted({results[key]['preset'] for key in found}))
  return counted, n or '–', f'`{presets}`'


def _groups(found: list[str]) -> str:
  """Settings by what stands before them: `mnist/`: adv_pre, nat_pre."""
  groups: dict[str, set[str]] = {}
  for key in found:
    dataset, _, setting, _ = split(key)
    before, rest = dataset, key.split('/')[1]
    if setting:
      before, rest = key[: key.index(f'/{setting}/')], setting
    groups.setdefault(before, set()).add(rest)
  return '; '.join(
    f'`{before}/` {", ".join(sorted(rest))}'
    for before, rest in sorted(groups.items())
  )

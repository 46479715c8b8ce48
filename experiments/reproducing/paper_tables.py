"""Paper A's Tables I to III, from the records of their studies.

A row has, of one number of codes, accuracy and accuracy under the published
attack of the natural or adversarial model behind T and of the one re-trained
there. What has not been run yet stays empty.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from etils.epath import Path

from configs.paper import catalogue, published
from configs.paper.claims import CLAIMS
from configs.paper.tables import BASES, TABLES
from experiments.published import conclusions
from rdefense import counting, document, files, pages, plots

__all__ = ['Row', 'rows', 'write_table']

_COLUMNS = (
  'unchanged: accuracy',
  'unchanged: attacked',
  're-trained: accuracy',
  're-trained: attacked',
)


class Row(NamedTuple):
  """Of one table, data set and model.

  Attributes:
    base: `nat` or `adv`.
    num_codes: 0 without discretization.
    ours: fields of a tally for each of `printed`, None where not run.
    printed: the paper's percentages.
    results: of the run, None where there is none.
  """

  base: str
  num_codes: int
  ours: tuple[Mapping[str, Any] | None, ...]
  printed: tuple[float, ...]
  results: Mapping[str, Any] | None


def rows(root, what: str, dataset: str) -> list[Row]:
  """All rows of a table for one data set.

  Args:
    root: folder of the runs.
    what: `table1`, `table2` or `table3`.
    dataset: one of the table's.
  """
  table = catalogue.TABLE_OF[what]
  bases = TABLES[table][dataset]
  studies = {
    k: _results(root, catalogue.codebook_workdir(dataset, table, k))
    for printed in bases.values()
    for k in printed
    if k
  }
  # Without discretization: in the data set's own study.
  studies[0] = _results(root, dataset)
  found = []
  for base, printed in bases.items():
    for k, values in sorted(printed.items()):
      conditions = published.row_conditions(dataset, base, k)
      ours = tuple(
        _tally(studies[k], *condition)
        for condition in conditions[: len(values)]
      )
      found.append(Row(base, k, ours, values, studies[k]))
  return found


def _results(root, workdir: str):
  path = Path(root) / workdir / 'results.json'
  return files.read_json(path) if path.exists() else None


def _tally(results, setting: str, condition: str):
  settings = results['settings'] if results else {}
  return settings.get(setting, {'conditions': {}})['conditions'].get(condition)


def _concluded(root, dataset: str) -> list[tuple[str, ...]]:
  """What can be told by now of the paper's conclusions on a data set."""
  found = {
    key: {
      'value': ours['percent'],
      'low': ours['low'],
      'high': ours['high'],
      'examples': ours['total'],
    }
    for what, table in catalogue.TABLE_OF.items()
    for owner in dict.fromkeys((dataset, 'mnist'))  # some compare with MNIST
    for row in rows(root, what, owner)
    for key, ours in zip(
      published.row_keys(table, owner, row.base, row.num_codes),
      row.ours,
      strict=False,  # not everything is re-trained
    )
    if ours
  }
  told = conclusions.lines(found, [c for c in CLAIMS if c.dataset == dataset])
  return [row for row in told if 'not measured' not in row]


def write_table(root, what: str, dataset: str) -> Path | None:
  """Writes `tables/<what>_<dataset>.md`, `.html` and a picture.

  Args:
    root: folder of the runs.
    what: `table1`, `table2` or `table3`.
    dataset: one of the table's.

  Returns:
    The page; None where nothing has been run yet.
  """
  found = rows(root, what, dataset)
  runs = [row.results for row in found if row.results]
  if not runs:
    return None
  title = f'{catalogue.TABLE_OF[what]} of paper A: {dataset}'
  stem = f'{what}_{dataset}'
  blocks: list[tuple] = [
    ('heading', 1, title),
    (
      'paragraph',
      'Percent of test images, with exact 95% intervals; attacked as '
      'published, which is no worst case: the report of each study has the '
      '`adaptive` attack too. ' + _preset(runs),
    ),
    (
      'table',
      ('model', 'codes', *_COLUMNS, 'images'),
      [_line(row) for row in found],
    ),
  ]
  if told := _concluded(root, dataset):
    blocks += [
      ('heading', 2, 'What the paper concludes'),
      ('table', conclusions.HEADER, told),
    ]
  figures = {}
  for base, name in BASES.items():
    curves, printed = _curves(found, base)
    if max(map(len, curves.values()), default=0) > 1:
      caption = f'{dataset}, {name} model: shares against the number of codes'
      png = plots.encode_png(
        plots.size_curves(curves, caption, 'codes', printed=printed)
      )
      figures[f'{stem}_{base}'] = png
      blocks.append(('figure', f'{stem}_{base}', png, caption))
  blocks += pages.how_it_was_made(runs[-1])
  return pages.write_document(
    Path(root) / 'tables', stem, title, blocks, figures
  )


def _preset(runs) -> str:
  presets = sorted({run['preset'] for run in runs})
  trained = sorted({run['config']['model']['name'] for run in runs})
  return f'Preset {", ".join(presets)}; network {", ".join(trained)}.'


def _line(row: Row) -> tuple:
  cells = [
    '–' if ours is None
    else document.Compared(
      ours['percent'], ours['low'], ours['high'], value,
      'the paper',
    )
    for ours, value in zip(row.ours, row.printed, strict=True)
  ]  # fmt: skip
  cells += [''] * (len(_COLUMNS) - len(cells))
  sizes = sorted({ours['total'] for ours in row.ours if ours})
  codes = str(row.num_codes) if row.num_codes else 'no codes'
  return (BASES[row.base], codes, *cells, ', '.join(f'{n:,}' for n in sizes))


def _curves(found: list[Row], base: str):
  """Ours and the paper's against the number of codes, by column."""
  curves: dict[str, list[tuple[float, counting.Tally]]] = {}
  printed: dict[str, list[tuple[float, float]]] = {}
  for row in found:
    if row.base != base or not row.num_codes:
      continue
    for name, ours, value in zip(_COLUMNS, row.ours, row.printed, strict=False):
      printed.setdefault(name, []).append((row.num_codes, value))
      if ours:
        tally = counting.tally_of(ours)
        curves.setdefault(name, []).append((row.num_codes, tally))
  return curves, {name: printed[name] for name in curves}

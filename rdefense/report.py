"""A report of one evaluation: Markdown with figures, and one HTML file.

Both are printed by `rdefense.document` from one list of blocks. The main table
sets each figure and its exact interval beside the paper's and gives the
difference,

  difference = ours - paper's, in percentage points.

>>> import tempfile
>>> from rdefense import counting
>>> accuracy = counting.tally(np.array([True] * 9 + [False]))._asdict()
>>> settings = {'adv_pre': {'conditions': {'clean': accuracy}}}
>>> results = {'title': 'Demo', 'settings': settings}
>>> paper = {'adv_pre/clean': (98.4, 'Table I')}
>>> with tempfile.TemporaryDirectory() as directory:
...   write_report(directory, results, paper).name
'report.html'
"""

from collections.abc import Mapping
import os
from typing import Any, NamedTuple

from etils.epath import Path
import numpy as np

from rdefense import (
  caveats,
  document,
  ensembles,
  gains,
  pages,
  randomness,
)
from rdefense.precision import HIGHEST, PRECISIONS

__all__ = ['Published', 'write_report']


class Published(NamedTuple):
  """A printed figure, in percent, and where it stands, such as `Table II`."""

  value: float
  source: str


def write_report(
  directory: str | os.PathLike,
  results: Mapping[str, Any],
  published: Mapping[str, tuple[float, str]],
  figures: Mapping[str, bytes] | None = None,
) -> Path:
  """Writes `report.md`, a PNG a figure, and the self-contained `report.html`.

  Args:
    directory: where they go; made where missing.
    results: `title` and `settings`: name -> `description`, `conditions`:
      name -> `correct`, `total`, `percent`, `low`, `high` (in percent) and
      perhaps `gradients` (evaluations, all examples together) and `judged`
      (`last iterate`, `best iterate` or other words; `paper_a` alone has a
      default, the last iterate), of an attack `precision` and `differing`, how
      many verdicts would have been others at it, `recipes` and `broken_by`, as
      `ensembles.blocks` takes them, and `gain`, as `gains.blocks` does. Shown
      where given: `lead`,
      `command`, `preset`, `seconds`, `rule`, `config`, `environment` (as
      `provenance.environment`), `codebook` (`codes`, `counts`, `provenance`),
      `captions` (figure -> text) and `caveats` (heading -> text).
    published: `<setting>/<condition>` -> (percent, source).
    figures: name, of letters, digits, `-` and `_` -> PNG.

  Returns:
    The path of `report.html`.

  Raises:
    ValueError: if there are no figures to report, or a name is unfit for a
      file.
  """
  figures = figures or {}
  blocks = _blocks(results, published, figures)
  return pages.write_document(
    directory, 'report', results['title'], blocks, figures
  )


def _blocks(results, published, figures):
  settings = results.get('settings') or {}
  conditions = list(
    dict.fromkeys(
      name for setting in settings.values() for name in setting['conditions']
    )
  )
  if not conditions:
    raise ValueError('results hold no conditions: there is nothing to report.')
  blocks: list[tuple] = [('heading', 1, results['title'])]
  if results.get('lead'):
    blocks.append(('paragraph', results['lead']))
  blocks += [
    ('heading', 2, 'Accuracy'),
    _accuracy(settings, conditions, published),
    ('paragraph', _facts(results, published)),
    *gains.blocks(settings),
  ]
  captions = results.get('captions', {})
  blocks += [
    ('figure', name, png, captions.get(name, name.replace('_', ' ')))
    for name, png in figures.items()
  ]
  blocks += [
    ('heading', 2, 'What each attack did'),
    _attacks(settings, conditions),
    *_precision(settings),
    *ensembles.blocks(settings),
    *randomness.blocks(settings),
  ]
  blocks.append(('heading', 2, 'Before quoting these figures'))
  for heading, text in caveats.applying(
    results, conditions, bool(published)
  ).items():
    blocks += [('heading', 3, heading), ('paragraph', text)]
  if results.get('codebook'):
    blocks += [('heading', 2, 'Codebook'), *_codebook(results['codebook'])]
  return blocks + pages.how_it_was_made(results)


def _accuracy(settings, conditions, published):
  def cell(name, condition):
    entry = settings[name]['conditions'].get(condition)
    if entry is None:
      return '–'
    interval = entry['percent'], entry['low'], entry['high']
    paper = published.get(f'{name}/{condition}', ())
    return document.Compared(*interval, *paper)

  rows = [
    ((f'`{name}`', setting.get('description', '')),)
    + tuple(cell(name, condition) for condition in conditions)
    for name, setting in settings.items()
  ]
  return ('table', ('setting', *conditions), rows)


def _facts(results, published):
  kinds = {s.get('kind') for s in results['settings'].values()}
  rule = results.get(
    'rule', 'one query' + ' on fresh draws' * ('randomized' in kinds)
  )
  return (
    f'Accuracy in percent on {_examples(results)} {caveats.images(results)}, '
    f'preset `{results.get("preset", "not stated")}`. Rule: {rule}. In '
    'brackets the exact (Clopper-Pearson) 95% interval'
    + '; below it the figure the paper prints and ours minus it, in percentage '
    'points' * bool(published) + '.'
  )


def _examples(results):
  totals = {
    entry['total']
    for setting in results['settings'].values()
    for entry in setting['conditions'].values()
  }
  return ' to '.join(
    f'{total:,}' for total in sorted({min(totals), max(totals)})
  )


def _attacks(settings, conditions):
  rows = []
  for condition in conditions:
    costs = {
      name: f'{entry["gradients"] / entry["total"]:,.0f}'
      for name, setting in settings.items()
      if (entry := setting['conditions'].get(condition, {})).get('gradients')
    }
    if len(set(costs.values())) > 1:
      costs = {name: f'`{name}` {cost}' for name, cost in costs.items()}
    cost = ', '.join(dict.fromkeys(costs.values())) or '–'
    rows.append((f'`{condition}`', caveats.judged(settings, condition), cost))
  header = ('condition', 'judged on', 'evaluations per example')
  return ('table', header, rows)


def _precision(settings):
  """What attacks were computed at, and the verdicts that depend on it."""
  attacks = [
    (f'`{name}/{c}`', entry['precision'], entry)
    for name, setting in settings.items()
    for c, entry in setting['conditions'].items()
    if 'precision' in entry
  ]
  sentences = []
  for precision in PRECISIONS:
    own = [(c, entry) for c, p, entry in attacks if p == precision]
    if not own:
      continue
    part = f'Verdicts at {HIGHEST}, attacks at {precision} precision'
    if precision != HIGHEST:
      differing = sum(entry['differing'] for _, entry in own)
      total = sum(entry['total'] for _, entry in own)
      where = ', '.join(
        f'{c} {entry["differing"]:,}' for c, entry in own if entry['differing']
      )
      part += f'; {differing:,} of {total:,} verdicts differ'
      part += f' at that ({where})' * bool(where)
    sentences.append(f'{part}.')
  if sentences:
    yield ('paragraph', ' '.join(sentences))


def _codebook(codebook):
  counts = codebook.get('counts')
  counts = ['–'] * len(codebook['codes']) if counts is None else counts
  rows = []
  for code, count in zip(codebook['codes'], counts, strict=True):
    unit = ', '.join(f'{c:.4f}' for c in np.ravel(code))
    byte = ', '.join(f'{255 * c:.4g}' for c in np.ravel(code))
    rows.append((unit, byte, count if count == '–' else f'{int(count):,}'))
  yield ('table', ('code', 'of 255', 'training pixels'), rows)
  if codebook.get('provenance'):
    yield ('paragraph', f'Provenance: {codebook["provenance"]}')

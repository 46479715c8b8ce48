"""A report of one evaluation: Markdown with figures, and one HTML file.

Both are printed by `rdefense.document` from one list of blocks. The main table
sets each figure and its exact interval beside the paper's and gives the
difference,

  difference = ours - paper's, in percentage points.

>>> import tempfile
>>> from rdefense import records
>>> accuracy = records.tally(np.array([True] * 9 + [False]))._asdict()
>>> settings = {'adv_pre': {'conditions': {'clean': accuracy}}}
>>> results = {'title': 'Demo', 'settings': settings}
>>> paper = {'adv_pre/clean': (98.4, 'Table I')}
>>> with tempfile.TemporaryDirectory() as directory:
...   write_report(directory, results, paper).name
'report.html'
"""

from collections.abc import Mapping, Sequence
import json
import os
import re
from typing import Any, NamedTuple

from etils.epath import Path
import numpy as np

from rdefense import document, files, randomness
from rdefense.precision import HIGHEST, PRECISIONS

__all__ = [
  'Published',
  'how_it_was_made',
  'wall_time',
  'write_document',
  'write_report',
]

# What an attack is judged on; `paper_a` is so by definition.
_LAST, _BEST = 'last iterate', 'best iterate'
_DEFINED = {'paper_a': _LAST}


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
      default, the last iterate), and of an attack `precision` and `differing`,
      how many verdicts would have been others at it. Shown where given: `lead`,
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
  return write_document(directory, 'report', results['title'], blocks, figures)


def write_document(
  directory: str | os.PathLike,
  stem: str,
  title: str,
  blocks: Sequence[tuple],
  figures: Mapping[str, bytes],
) -> Path:
  """Writes blocks as `<stem>.md` and `<stem>.html`, and a PNG a figure.

  Args:
    directory: where they go; made where missing.
    stem: of the files' names.
    title: of the page.
    blocks: of `rdefense.document`.
    figures: name, of letters, digits, `-` and `_` -> PNG.

  Returns:
    The path of the page.

  Raises:
    ValueError: if a name is unfit for a file.
  """
  for name in figures:
    if not re.fullmatch(r'[\w-]+', name):
      raise ValueError(
        f'figure name {name!r} must be letters, digits, - and _: '
        'it becomes a file name.'
      )
  folder = Path(directory)
  for name, png in figures.items():
    files.write_bytes(folder / f'{name}.png', png)
  text = document.markdown(blocks)
  files.write_bytes(folder / f'{stem}.md', text.encode())
  page = document.page(title, blocks)
  return files.write_bytes(folder / f'{stem}.html', page.encode())


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
    ('paragraph', _facts(results)),
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
    *randomness.blocks(settings),
  ]
  blocks.append(('heading', 2, 'Before quoting these figures'))
  for heading, text in _caveats(results, conditions).items():
    blocks += [('heading', 3, heading), ('paragraph', text)]
  if results.get('codebook'):
    blocks += [('heading', 2, 'Codebook'), *_codebook(results['codebook'])]
  return blocks + how_it_was_made(results)


def how_it_was_made(results: Mapping[str, Any]) -> list[tuple]:
  """Blocks of command, environment and config, as far as they are given."""
  blocks: list[tuple] = [('heading', 2, 'How it was made')]
  if results.get('command'):
    blocks.append(('code', results['command'], ''))
  blocks.append(_provenance(results))
  if results.get('config'):
    text = json.dumps(results['config'], indent=2, sort_keys=True, default=str)
    blocks.append(('code', text, 'Resolved config'))
  return blocks


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


def _facts(results):
  kinds = {s.get('kind') for s in results['settings'].values()}
  rule = results.get(
    'rule', 'one query' + ' on fresh draws' * ('randomized' in kinds)
  )
  return (
    f'Accuracy in percent on {_examples(results)} test images, preset '
    f'`{results.get("preset", "not stated")}`. Rule: {rule}. In brackets the '
    'exact (Clopper-Pearson) 95% interval; below it the figure the paper '
    'prints and ours minus it, in percentage points.'
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


def _attack(condition):
  return condition.rpartition('/')[2]


def _judged(settings, condition):
  if condition == 'clean':
    return 'no attack'
  default = _DEFINED.get(_attack(condition), 'not stated')
  return ', '.join(
    dict.fromkeys(
      setting['conditions'][condition].get('judged', default)
      for setting in settings.values()
      if condition in setting['conditions']
    )
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
    rows.append((f'`{condition}`', _judged(settings, condition), cost))
  header = ('condition', 'judged on', 'gradient evaluations per example')
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


def _caveats(results, conditions):
  settings = results['settings']
  judged = {c: _judged(settings, c) for c in conditions if c != 'clean'}
  odd = [
    f'`{name}/{c}`'
    for name, setting in settings.items()
    for c, entry in setting['conditions'].items()
    if entry['correct'] > setting['conditions'].get('clean', entry)['correct']
  ]
  caveats = {}
  if odd:
    caveats['Warning: attacked above clean'] = (
      f'{", ".join(odd)}: more examples are right under attack than without '
      'it, so the attack failed or was judged wrongly.'
    )
  if judged:
    caveats['What each figure is judged on'] = ' '.join(_judgements(judged))
  if {'pgd100', 'paper_a'} <= {_attack(c) for c in judged}:
    caveats['Two attacks, not one'] = (
      '`pgd100` (cross-entropy, random start) and `paper_a` (margin loss, Adam '
      'on signs, from the lower corner) differ in loss, optimiser and start, '
      'and in the iterate judged unless the table says otherwise: the '
      'difference between their figures is not the effect of discretization '
      'alone.'
    )
  caveats['What the interval covers'] = (
    'The choice of test images only; neither the randomness of training (one '
    'run a model) nor attacks stronger than those listed. The paper prints no '
    'interval; its figures carry such errors as well.'
  )
  if results.get('preset', 'paper') != 'paper':
    caveats[f'Preset {results["preset"]}'] = (
      "Not the paper's setup, whose architecture, steps and sizes are preset "
      '`paper`: the differences show how far this one is from it.'
    )
  if results.get('environment', {}).get('dirty'):
    caveats['Uncommitted changes'] = (
      'Tracked files differed from the commit named below.'
    )
  return caveats | dict(results.get('caveats', {}))


def _judgements(judged):
  """A sentence for all conditions that are judged alike, with its meaning."""
  alike: dict[str, list[str]] = {}
  for condition, how in judged.items():
    alike.setdefault(_meaning(condition, how), []).append(f'`{condition}`')
  return [f'{", ".join(names)}: {text}' for text, names in alike.items()]


def _meaning(condition, how):
  attack = _attack(condition)
  if _LAST in how:
    return (
      'the last iterate only, as in the paper. An example broken on the way '
      'and repaired later counts as robust, so these figures serve comparison '
      'with the paper and are no worst case.'
    )
  if how == _BEST and attack == 'pgd100':
    return (
      'the best iterate. Each example stops at its first success, which is '
      "stronger than the paper's last iterate."
    )
  if how != 'not stated' and attack == 'adaptive':
    return (
      'the worst case of each example over all recipes of the attack and all '
      'their iterates.'
    )
  return f'{how}.'


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


def wall_time(seconds: float) -> str:
  """For readers.

  >>> wall_time(75.2)
  '1 min 15 s'
  """
  minutes, rest = divmod(round(seconds), 60)
  return f'{minutes} min {rest} s'


def _provenance(results):
  about = results.get('environment', {})
  dirty = ' with uncommitted changes' if about.get('dirty') else ''
  rows = {
    'commit': f'`{about.get("commit") or "not a checkout"}`{dirty}',
    'device': f'{about.get("devices", 1)} × {about.get("device", "unknown")}',
    'date': about.get('date', 'not stated'),
    'Python': about.get('python', 'not stated'),
  } | {name: v for name, v in about.get('packages', {}).items() if v}
  if 'seconds' in results:
    rows['wall time'] = wall_time(results['seconds'])
  return ('table', ('', ''), list(rows.items()))

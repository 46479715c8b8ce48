"""A report of one evaluation: Markdown with figures, and one HTML file.

Both are printed from one list of blocks (headings, paragraphs, tables, code,
figures), so they cannot disagree. The HTML carries its style and its figures
inside and loads nothing, so it can be mailed. The main table sets each figure
and its exact interval beside the paper's and gives the difference,

  difference = ours - paper's, in percentage points.

>>> import tempfile
>>> accuracy = records.tally(np.array([True] * 9 + [False]))._asdict()
>>> settings = {'adv_pre': {'conditions': {'clean': accuracy}}}
>>> results = {'title': 'Demo', 'settings': settings}
>>> paper = {'adv_pre/clean': (98.4, 'Table I')}
>>> with tempfile.TemporaryDirectory() as directory:
...   write_report(directory, results, paper).name
'report.html'
"""

import base64
from collections.abc import Mapping
import html
import json
import os
from pathlib import Path
import re
from typing import Any, NamedTuple

import numpy as np

from rdefense import records

__all__ = ['Published', 'write_report']

# How the paper judges; whoever evaluates otherwise says so in `judged`.
_PAPER_ATTACKS = ('paper_a', 'pgd100')
_LAST = 'last iterate'

_STYLE = """
:root{--ink:#1d2733;--faint:#66717d;--line:#dfe4e8;--paper:#fff;--wash:#f5f7f9;
--ours:#0072b2;--theirs:#d55e00;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaee;--faint:#9aa5b1;
--line:#36404a;--paper:#14191f;--wash:#1d242c;--ours:#56b4e9;--theirs:#f0883e}}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:64rem;color:var(--ink);
background:var(--paper);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:1rem;
border-top:1px solid var(--line)}h3{font-size:1rem;margin:1.5rem 0 .25rem}
p{max-width:46rem;margin:.5rem 0}h1+p{font-size:1.15rem;color:var(--faint)}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0;
font-variant-numeric:tabular-nums}th,td{text-align:left;vertical-align:top;
padding:.55rem 1.1rem .55rem 0;border-bottom:1px solid var(--line)}
th{font-size:.85rem;color:var(--faint);font-weight:600}
td small{display:block;color:var(--faint);font-size:.8rem;line-height:1.45}
.bar{display:block;position:relative;height:6px;width:9.5rem;margin:.3rem 0;
border-radius:3px;background:var(--line)}.bar *{position:absolute;top:0;
height:6px}.bar i{background:var(--ours);border-radius:3px}
.bar u{background:var(--ink);opacity:.45}
.bar b{top:-3px;width:3px;height:12px;margin-left:-1px;background:var(--theirs)}
code,pre{font:13px/1.5 ui-monospace,monospace;background:var(--wash);
border-radius:5px}code{padding:.1em .3em}pre{padding:.8rem 1rem;overflow-x:auto}
summary{cursor:pointer;color:var(--faint)}figure{margin:1.25rem 0}
img{max-width:100%;height:auto;background:#fff;border-radius:8px}
figcaption{color:var(--faint);font-size:.9rem}
"""


class Published(NamedTuple):
  """A printed figure, in percent, and where it stands, such as `Table II`."""

  value: float
  source: str


class _Cell(NamedTuple):
  """One figure of the main table; `paper` is None where nothing is printed."""

  entry: Mapping[str, Any]
  paper: Published | None


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
      (such as `worst case`; the paper's attacks are `last iterate` unless
      said otherwise). Shown where given: `lead`, `command`, `preset`,
      `seconds`, `rule`, `config`, `environment` (as `records.environment`),
      `codebook` (`codes`, `counts`, `provenance`), `captions` (figure -> text)
      and `caveats` (heading -> text).
    published: `<setting>/<condition>` -> (percent, source).
    figures: name, of letters, digits, `-` and `_` -> PNG.

  Returns:
    The path of `report.html`.

  Raises:
    ValueError: if there are no figures to report, or a name is unfit for a
      file.
  """
  figures = figures or {}
  for name in figures:
    if not re.fullmatch(r'[\w-]+', name):
      raise ValueError(
        f'figure name {name!r} must be letters, digits, - and _: '
        'it becomes a file name.'
      )
  blocks = _blocks(results, published, figures)
  directory = Path(directory)
  for name, png in figures.items():
    records.write_bytes(directory / f'{name}.png', png)
  markdown = '\n\n'.join(_markdown(block) for block in blocks) + '\n'
  records.write_bytes(directory / 'report.md', markdown.encode())
  page = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    f'<title>{html.escape(results["title"])}</title>\n'
    f'<style>{_STYLE}</style></head><body>\n'
    + '\n'.join(_html(block) for block in blocks)
    + '\n</body></html>\n'
  )
  return records.write_bytes(directory / 'report.html', page.encode())


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
  ]
  blocks.append(('heading', 2, 'Before quoting these figures'))
  for heading, text in _caveats(results, conditions).items():
    blocks += [('heading', 3, heading), ('paragraph', text)]
  if results.get('codebook'):
    blocks += [('heading', 2, 'Codebook'), *_codebook(results['codebook'])]
  blocks.append(('heading', 2, 'How it was made'))
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
    paper = published.get(f'{name}/{condition}')
    return '–' if entry is None else _Cell(entry, paper and Published(*paper))

  rows = [
    ((f'`{name}`', setting.get('description', '')),)
    + tuple(cell(name, condition) for condition in conditions)
    for name, setting in settings.items()
  ]
  return ('table', ('setting', *conditions), rows)


def _facts(results):
  rule = results.get('rule', 'deterministic: one query')
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


def _judged(settings, condition):
  if condition == 'clean':
    return 'no attack'
  attack = condition.rpartition('/')[2]
  default = _LAST if attack in _PAPER_ATTACKS else 'not stated'
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


def _caveats(results, conditions):
  settings = results['settings']
  judged = {c: _judged(settings, c) for c in conditions if c != 'clean'}
  last = [f'`{c}`' for c, how in judged.items() if _LAST in how]
  rest = [f'`{c}` ({how})' for c, how in judged.items() if how != _LAST]
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
  if last:
    caveats['Last iterate or worst case'] = (
      f'{", ".join(last)}: only the last iterate is judged, as in the paper. '
      'An example broken on the way and repaired later counts as robust, so '
      'these figures serve comparison with the paper and are no worst case. '
      f'Otherwise judged: {", ".join(rest) or "none"}.'
    )
  if {c.rpartition('/')[2] for c in judged} >= set(_PAPER_ATTACKS):
    caveats['Two attacks, not one'] = (
      '`pgd100` (cross-entropy, random start) and `paper_a` (margin loss, Adam '
      'on signs, from the lower corner) differ in loss, optimiser and start: '
      'the difference between their figures is not the effect of '
      'discretization alone.'
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
    minutes, seconds = divmod(round(results['seconds']), 60)
    rows['wall time'] = f'{minutes} min {seconds} s'
  return ('table', ('', ''), list(rows.items()))


def _lines(cell):
  """A cell as lines, the first of them the strong one."""
  if isinstance(cell, str):
    return [cell]
  if not isinstance(cell, _Cell):
    return [line for line in cell if line]
  entry, paper = cell
  percent = entry['percent']
  lines = [f'{percent:.2f}', f'[{entry["low"]:.2f}, {entry["high"]:.2f}]']
  if paper:
    difference = f'{percent - paper.value:+.2f}'.replace('-', '−')
    lines.append(f'{paper.source}: {paper.value:.2f}, {difference}')
  return lines


def _markdown(block):
  match block:
    case ('heading', level, text):
      return f'{"#" * level} {text}'
    case ('paragraph', text):
      return text
    case ('code', text, summary):
      return (f'{summary}:\n\n' if summary else '') + f'```\n{text}\n```'
    case ('figure', name, _, caption):
      return f'![{caption}]({name}.png)\n\n*{caption}*'
    case ('table', header, rows):
      table = [header, ['---'] * len(header)] + [
        ['<br>'.join(_lines(cell)).replace('|', '\\|') for cell in row]
        for row in rows
      ]
      return '\n'.join(f'| {" | ".join(row)} |' for row in table)


def _html(block):
  match block:
    case ('heading', level, text):
      return f'<h{level}>{_inline(text)}</h{level}>'
    case ('paragraph', text):
      return f'<p>{_inline(text)}</p>'
    case ('code', text, ''):
      return f'<pre>{html.escape(text)}</pre>'
    case ('code', text, summary):
      return (
        f'<details><summary>{html.escape(summary)}</summary>'
        f'<pre>{html.escape(text)}</pre></details>'
      )
    case ('figure', _, png, caption):
      data = base64.b64encode(png).decode()
      return (
        f'<figure><img alt="{html.escape(caption)}" '
        f'src="data:image/png;base64,{data}">'
        f'<figcaption>{_inline(caption)}</figcaption></figure>'
      )
    case ('table', header, rows):
      head = ''.join(f'<th>{_inline(name)}</th>' for name in header)
      body = '\n'.join(
        f'<tr>{"".join(f"<td>{_html_cell(cell)}</td>" for cell in row)}</tr>'
        for row in rows
      )
      head = f'<thead><tr>{head}</tr></thead>' if any(header) else ''
      table = f'<table>{head}\n<tbody>{body}</tbody></table>'
      return f'<div class="wide">{table}</div>'


def _html_cell(cell):
  first, *rest = _lines(cell)
  small = ''.join(f'<small>{_inline(line)}</small>' for line in rest)
  if not isinstance(cell, _Cell):
    return _inline(first) + small
  entry, paper = cell
  mark = f'<b style="left:{paper.value:.2f}%"></b>' if paper else ''
  width = entry['high'] - entry['low']
  return (
    f'<strong>{first}</strong>'
    '<span class="bar" title="0 to 100%; shaded: interval; orange: the paper">'
    f'<i style="width:{entry["percent"]:.2f}%"></i>'
    f'<u style="left:{entry["low"]:.2f}%;width:{width:.2f}%"></u>'
    f'{mark}</span>{small}'
  )


def _inline(text):
  return re.sub(r'`([^`]+)`', r'<code>\1</code>', html.escape(text))

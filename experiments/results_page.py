"""Prints docs/RESULTS.md from what docs/results.json holds, and nothing else.

>>> 'No figure is published yet.' in render({}, {})
True
"""

from collections.abc import Mapping
import re
from typing import Any

from experiments import conclusions, coverage, results_pictures
from experiments.results import (
  Entry,
  is_discretized,
  order,
  published_key,
  split,
)

__all__ = ['number', 'render', 'shown']

_HEADER = 'setting codebook condition ours n paper difference run'.split()


def render(
  results: Mapping[str, Mapping[str, Any]],
  published: Mapping[str, tuple[float, str]],
) -> str:
  """Prints docs/RESULTS.md.

  Args:
    results: key -> fields of `Entry`, as docs/results.json holds them.
    published: the paper's key -> (percent, source).

  Returns:
    Markdown: what has been measured of each table and figure; what of the
    papers' conclusions holds; then a table for each first part of the keys,
    rows in the order of the six settings where they are of those; commands and
    commits below.
  """
  groups: dict[str, list[str]] = {}
  for key in results:
    groups.setdefault(key.partition('/')[0], []).append(key)
  parts = [
    '# Results',
    'Printed by `python -m experiments.publish` from `docs/results.json`; do '
    'not edit. Intervals are exact (Clopper-Pearson), 95%, and cover the '
    "choice of test images. Differences are ours minus the paper's, in "
    'percentage points. `paper_a` is judged on its last iterate, as in the '
    'paper, and is no worst case; `pgd100` stops at its first success, which '
    "is stronger than the paper's last iterate; `adaptive` is the worst case "
    'of each example over all its recipes and iterates. Randomised defenses '
    'are judged by one query under keys that no attack has seen; keys that end '
    'in `majority_of_...` and `best_of_...` give the other rules. `gain` is '
    'what a defense buys: points above the same model without one, on the same '
    'images, with the interval of the difference.',
  ]
  if not results:
    parts.append('No figure is published yet.')
  contents = [
    f'[{group}](#{group}) ({len(groups[group])})' for group in sorted(groups)
  ]
  parts += [
    '## What has been measured',
    'Every table and figure of both papers with each of its data sets, the '
    'figures of ours that belong to it, and how many of those that the paper '
    'prints are among them. `python -m experiments.reproduce --what=NAME` runs '
    'what is missing. Time is that of its programs in the preset `small`, '
    'training included, of as many of them as have run from nothing to their '
    f'end; of everything, each program once: {coverage.whole_time(results)}.',
    _table(coverage.HEADER, coverage.lines(results)),
    '## What the papers conclude',
    'Each conclusion by the figures that are measured, and by those that the '
    'paper prints. It holds, or does not, where the intervals of both sides '
    'leave no doubt, or the exact test of a rank correlation leaves 5%. The '
    'interval of the best of several is that of the best true value, from '
    'intervals of all of them that hold at once (Bonferroni).',
    _table(conclusions.HEADER, conclusions.lines(results)),
    *_pictures(results),
    '## All figures',
    *([', '.join(contents) + '.'] if groups else []),
  ]
  for group, keys in sorted(groups.items()):
    keys = sorted(keys, key=order)
    runs = list(dict.fromkeys(_run(Entry(**results[key])) for key in keys))
    ours = [key for key in keys if split(key)[2]]
    rest = [key for key in keys if not split(key)[2]]
    parts.append(f'## {group}')
    if ours:
      parts.append(
        _table(
          _HEADER,
          [
            _setting_row(key, Entry(**results[key]), published, runs)
            for key in ours
          ],
        )
      )
    if rest:
      parts.append(
        _table(
          ('figure', 'ours', 'n', 'target', 'run'),
          [_plain_row(key, Entry(**results[key]), runs) for key in rest],
        )
      )
    parts.append(
      '\n'.join(f'{i}. {_run_line(*run)}' for i, run in enumerate(runs, 1))
    )
  return '\n\n'.join(parts) + '\n'


def _pictures(results):
  drawn = results_pictures.pictures(results)
  links = [
    f'![{picture.caption}](figures/{name})\n\n{picture.caption}.'
    for name, picture in drawn.items()
  ]
  return ['## Pictures', *links] if links else []


def _run(entry):
  return entry.preset, entry.command, entry.commit, entry.device, entry.date


def _run_line(preset, command, commit, device, date):
  dirty = ' with uncommitted changes' if commit.endswith('+changes') else ''
  commit = re.sub(
    r'^([0-9a-f]{12})[0-9a-f]{28}$', r'\1', commit.removesuffix('+changes')
  )
  where = f'preset `{preset}`, {device}, commit `{commit}`{dirty}'
  return f'{where}, {date}: `{command}`'


def shown(entry: Entry) -> str:
  """A value with its unit and, where it has one, its interval."""
  unit = entry.unit and f' {entry.unit}'
  if entry.low is None or entry.high is None:
    return f'{number(entry.value, entry.unit)}{unit}'
  low, high = (number(end, entry.unit) for end in (entry.low, entry.high))
  return f'{number(entry.value, entry.unit)}{unit} [{low}, {high}]'


def number(value: float, unit: str) -> str:
  """Percent and its points to two digits, all else to six."""
  return f'{value:.2f}' if unit in ('%', 'points') else f'{value:,.6g}'


def _setting_row(key, entry, published, runs):
  _, codebook, setting, condition = split(key)
  value, source = published.get(published_key(key), (None, ''))
  difference = '' if value is None else f'{entry.value - value:+.2f}'
  return (
    f'`{setting}`',
    codebook if is_discretized(setting) else '–',
    f'`{condition}`',
    shown(entry),
    _examples(entry),
    '–' if value is None else f'{value:.2f} ({source})',
    difference.replace('-', '−') or '–',
    str(runs.index(_run(entry)) + 1),
  )


def _plain_row(key, entry, runs):
  name = key.partition('/')[2]
  return (
    f'`{name}`',
    shown(entry),
    _examples(entry),
    entry.target or '–',
    str(runs.index(_run(entry)) + 1),
  )


def _examples(entry):
  return '–' if entry.examples is None else f'{entry.examples:,}'


def _table(header, rows):
  lines = [tuple(header), ('---',) * len(header), *rows]
  return '\n'.join(
    f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in line)} |'
    for line in lines
  )

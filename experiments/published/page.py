"""Prints docs/RESULTS.md from what docs/results.json holds, and nothing else.

>>> 'No figure is published yet.' in render({}, {})
True
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from experiments.published import (
  conclusions,
  coverage,
  pictures,
  setups,
  targets,
)
from experiments.published.cells import brackets, shown, signed
from experiments.published.results import (
  Entry,
  is_discretized,
  order,
  published_key,
  shortened,
  split,
)

__all__ = ['render']

_HEADER = 'setting codebook condition ours n paper difference run'.split()
_OTHER_ATTACK = 'other attack: not the effect of the defense alone'


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
  groups = _groups(results)
  parts = [
    '# Results',
    'Printed by `python -m experiments.publish` from `docs/results.json`; do '
    'not edit. What stands in brackets is said under each heading; the '
    'interval of a share covers the choice of examples and nothing else. '
    "Differences are ours minus the paper's, in percentage points. `paper_a` "
    'is judged on its last iterate, as in the paper, and is no worst case; '
    '`pgd` with its number of steps, on models without a defense, stops at its '
    "first success, which is stronger than the paper's last iterate; "
    '`adaptive` is the worst case of each example over all its recipes and '
    'iterates, on fewer images (n): where it is above another attack, those '
    'are other images; `apgd` is that over Auto-PGD on the cross-entropy and '
    'on the ratio of logits towards each other class, on as few. '
    'Randomised defenses are judged by one query under keys '
    'that no attack has seen; keys that end in `majority_of_...` and '
    '`best_of_...` give the other rules. `gain` is what a defense buys: points '
    'above the same model without one, on the same images, with the interval '
    'of the difference. A figure that misses its target says so.',
  ]
  if not results:
    parts.append('No figure is published yet.')
  contents = [
    f'[{group}](#{group}) ({len(found)})' for group, found in groups.items()
  ]
  parts += [
    '## What has been measured',
    'Every table and figure of both papers with each of its data sets, the '
    'figures of ours that belong to it, how many of those that the paper '
    'prints are among them, and whose are not. '
    '`python -m experiments.reproduce --what=NAME` runs what is missing. '
    'Time is that of its programs in the preset `small`, '
    'training included, of as many of them as have run from nothing to their '
    f'end; of everything, each program once: {coverage.whole_time(results)}.',
    _table(coverage.HEADER, coverage.lines(results)),
    '## What the papers conclude',
    'Each conclusion by the figures that are measured, and by those that the '
    'paper prints, which bear it out unless it says otherwise. It holds, or '
    'does not, where the intervals of both sides leave no doubt, or the exact '
    'test of a rank correlation leaves 5%. The interval of the best of several '
    'is that of the best true value, from intervals of all of them that hold '
    'at once (Bonferroni). What codes buy is judged by the difference on the '
    'same images, with its interval, where that was measured of all of them, '
    'and else by the ends of two intervals; under the published attacks both '
    'sides are attacked differently as well.',
    _table(conclusions.HEADER, conclusions.lines(results)),
    *_pictures(results),
    '## All figures',
    *([', '.join(contents) + '.'] if groups else []),
  ]
  for group, found in groups.items():
    parts += _section(group, found, results, published)
  return '\n\n'.join(parts) + '\n'


def _groups(results) -> dict[str, dict[str, Entry]]:
  """First part of the keys -> key -> entry, in the order of the page.

  What is the same figure, measured beside several codebooks, is there once.
  """
  groups: dict[str, dict[str, Entry]] = {}
  seen = set()
  for key in sorted(results, key=order):
    entry = Entry(**results[key])
    figure = (published_key(key), *entry[:4])
    if figure not in seen:
      seen.add(figure)
      groups.setdefault(key.partition('/')[0], {})[key] = entry
  return dict(sorted(groups.items()))


def _section(
  group: str, found: dict[str, Entry], results, published
) -> Iterator[str]:
  runs = list(dict.fromkeys(map(_run, found.values())))
  yield f'## {group}'
  presets = {entry.preset for entry in found.values()}
  about = (setups.said(group, presets, results), brackets(found))
  if any(about):
    yield ' '.join(filter(None, about))
  of_settings = [
    _setting_row(key, entry, published, runs)
    for key, entry in found.items()
    if split(key)[2]
  ]
  rest = [
    _plain_row(key, entry, runs)
    for key, entry in found.items()
    if not split(key)[2]
  ]
  if of_settings:
    yield _table(_HEADER, of_settings)
  if rest:
    yield _table(('figure', 'ours', 'n', 'target', 'run'), rest)
  yield '\n'.join(f'{i}. {_run_line(*run)}' for i, run in enumerate(runs, 1))


def _pictures(results):
  drawn = pictures.pictures(results)
  links = [
    f'![{picture.caption}](figures/{name})\n\n{picture.caption}.'
    for name, picture in drawn.items()
  ]
  return ['## Pictures', *links] if links else []


def _run(entry):
  return entry.preset, entry.command, entry.commit, entry.device, entry.date


def _run_line(preset, command, commit, device, date):
  dirty = ' with uncommitted changes' if commit.endswith('+changes') else ''
  commit = shortened(commit.removesuffix('+changes'))
  where = f'preset `{preset}`, {device}, commit `{commit}`{dirty}'
  return f'{where}, {date}: `{command}`'


def _setting_row(key, entry, published, runs):
  _, codebook, setting, condition = split(key)
  value, source = published.get(published_key(key), (None, ''))
  return (
    f'`{setting}`',
    codebook if is_discretized(setting) else '–',
    f'`{condition}`',
    shown(key, entry),
    _examples(entry),
    '–' if value is None else f'{value:.2f} ({source})',
    '–' if value is None else signed(entry.value - value),
    str(runs.index(_run(entry)) + 1),
  )


def _plain_row(key, entry, runs):
  group, _, name = key.partition('/')
  return (
    f'`{name}`',
    shown(key, entry),
    _examples(entry),
    _target(entry) if entry.gain is None else _held(name, entry.gain),
    str(runs.index(_run(entry)) + 1),
  )


def _target(entry):
  missed = targets.missed(entry.value, entry.target, entry.low, entry.high)
  words = entry.target.removesuffix(', as -1') or '–'
  return f'{words}: **missed**' if missed else words


def _held(name, gain):
  """What a gain is held against, a bare setting and its condition; images."""
  setting, _, condition = gain['against'].partition('/')
  told = (
    f'{setting} {condition}: {gain["gained"]:,} gained, {gain["lost"]:,} lost'
  )
  alike = name.endswith(f'/{condition}')
  return told if alike else f'{told}; {_OTHER_ATTACK}'


def _examples(entry):
  return '–' if entry.examples is None else f'{entry.examples:,}'


def _table(header, rows: Iterable[tuple[str, ...]]) -> str:
  lines = [tuple(header), ('---',) * len(header), *rows]
  return '\n'.join(
    f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in line)} |'
    for line in lines
  )

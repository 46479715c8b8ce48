"""Every figure we publish: kept in docs/results.json, printed in RESULTS.md.

An experiment calls `publish` with what it measured; nobody types a figure.
Keys are stable. For the six settings they mirror `configs.paper.published`,
the density codebook of two codes being the default and left out:

  mnist/disc_adv_pre/eps0.3/paper_a   against mnist/density/disc_adv_pre/...
  mnist/medoids/disc_adv_pre/clean    against the same key
  cifar10/density_k300/...            codebooks of more than two codes
  benchmark/..., codebooks/...        against the entry's own target

Run `python -m experiments.publish` to print docs/RESULTS.md again from
docs/results.json (a second).
"""

from collections.abc import Mapping
import fcntl
import os
from pathlib import Path
import re
import shlex
import sys
import time
from typing import Any, NamedTuple

from absl import app, flags, logging

from configs.paper.published import PUBLISHED
from rdefense import files, provenance
from rdefense.report import Published

__all__ = [
  'ASKED',
  'RESULTS',
  'Entry',
  'command',
  'commit_of',
  'entries',
  'entry',
  'prefix',
  'publish',
  'published_key',
  'references',
  'render',
  'surroundings',
]

ASKED = flags.DEFINE_bool('publish', False, 'Put it in docs/results.json.')
RESULTS = Path('docs') / 'results.json'
_DOCS = Path(__file__).parents[1] / 'docs'
_PLAIN = ('nat_pre', 'adv_pre')
# Paper B's: models behind defenses that have no codebook.
_FILTERED = (
  'base', 'bitdepth', 'jpeg', 'tvm', 'resizepadding', 'gaussian', 'randdisc',
  'randmix', 'randdisc_fixed', 'randmix_fixed', 'randdisc_steep',
)
_DISCRETIZED = ('disc_nat_pre', 'disc_adv_pre', 'disc_nat_re', 'disc_adv_re')
_SETTINGS = _PLAIN + _DISCRETIZED + _FILTERED
_CODEBOOK = re.compile(r'(binning|density|medoids)(_k\d+)?')
_DEFAULT = 'density'
_HEADER = 'setting codebook condition ours n paper difference run'.split()


class Entry(NamedTuple):
  """One published figure and all that is needed to make it again."""

  value: float
  low: float | None  # of the exact 95% interval, in `unit`; None without one
  high: float | None
  examples: int | None
  preset: str
  command: str
  commit: str
  device: str
  date: str
  unit: str
  target: str = ''  # what it is held against, where no paper prints a figure


def publish(path: str | os.PathLike, new: Mapping[str, Entry]) -> None:
  """Merges entries into the results file; others' entries stay as they are.

  The file is replaced whole, its keys sorted, under a lock on its directory,
  so that two experiments that end together both find their place; RESULTS.md
  beside it is printed anew.

  Args:
    path: results file, docs/results.json; made where missing.
    new: key -> entry; a key already there is replaced.

  Raises:
    ValueError: if a key is not of lower-case words joined by `/`, or a value
      lies outside its interval.
  """
  for key, entry in new.items():
    if not re.fullmatch(r'[a-z0-9_.+-]+(/[a-z0-9_.+-]+)+', key):
      raise ValueError(
        f'key {key!r} must be lower-case words joined by /, such as '
        'mnist/disc_adv_pre/eps0.3/paper_a.'
      )
    low = entry.value if entry.low is None else entry.low
    high = entry.value if entry.high is None else entry.high
    if not low <= entry.value <= high:
      raise ValueError(
        f'{key}: value {entry.value} lies outside its interval '
        f'[{entry.low}, {entry.high}]: are they in one unit, {entry.unit!r}?'
      )
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  lock = os.open(path.parent, os.O_RDONLY)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX)
    stored = files.read_json(path) if path.exists() else {}
    stored |= {key: entry._asdict() for key, entry in new.items()}
    files.write_json(path, stored)
    text = render(stored, PUBLISHED)
    files.write_bytes(path.with_name('RESULTS.md'), text.encode())
  finally:
    os.close(lock)


def prefix(dataset: str, codebook: str) -> str:
  """What the keys of an evaluation begin with.

  >>> prefix('mnist', 'medoids'), prefix('mnist', 'density')
  ('mnist/medoids', 'mnist')
  >>> prefix('nips17', '')  # no codebook at all
  'nips17'
  """
  return dataset if codebook in ('', _DEFAULT) else f'{dataset}/{codebook}'


def entries(results: Mapping[str, Any], prefix: str) -> dict[str, Entry]:
  """Entries of an evaluation's results, one a setting and condition.

  Args:
    results: as `rdefense.report.write_report` takes them.
    prefix: data set, and codebook unless density: `mnist`, `mnist/medoids`.

  Returns:
    `<prefix>/<setting>/<condition>` -> entry, in percent.
  """
  tallies = {
    f'{prefix}/{setting}/{condition}{rule}': tally
    for setting, about_setting in results['settings'].items()
    for condition, judged in about_setting['conditions'].items()
    for rule, tally in _by_rule(judged)
  }
  return {key: entry(results, tally) for key, tally in tallies.items()}


def command(program: str) -> str:
  """The line that started this run of `experiments.<program>`."""
  return shlex.join(['python', '-m', f'experiments.{program}', *sys.argv[1:]])


def commit_of(about: Mapping[str, Any]) -> str:
  """Of a `provenance.environment`, with a mark where the code was changed."""
  commit = about['commit'] or 'not a checkout'
  return commit + ('+changes' if about['dirty'] else '')


def surroundings(config, program: str, begin: float) -> dict[str, Any]:
  """What results of a study hold besides what was measured.

  Args:
    config: of the study.
    program: of `experiments`.
    begin: when it began, by `time.time`.
  """
  return {
    'command': command(program),
    'preset': config.preset,
    'seconds': time.time() - begin,
    'config': config.to_dict(),
    'environment': provenance.environment(),
  }


def entry(results: Mapping[str, Any], tally: Mapping[str, Any]) -> Entry:
  """A share in percent with the surroundings of its results."""
  about = results['environment']
  return Entry(
    tally['percent'],
    tally['low'],
    tally['high'],
    tally['total'],
    results['preset'],
    results['command'],
    commit_of(about),
    about['device'],
    about['date'],
    '%',
  )


def _by_rule(judged):
  """The headline, and the rules that differ from it."""
  yield '', judged
  for rule, tally in judged.get('rules', {}).items():
    if isinstance(tally, Mapping) and rule != 'one_query':
      yield f'/{rule}', tally


def published_key(key: str) -> str:
  """The paper's key for one of ours, whether the paper prints it or not.

  >>> published_key('mnist/disc_adv_pre/eps0.3/paper_a')
  'mnist/density/disc_adv_pre/eps0.3/paper_a'
  >>> published_key('mnist/medoids/adv_pre/clean')
  'mnist/adv_pre/clean'
  """
  dataset, codebook, setting, condition = _split(key)
  if setting in _PLAIN + _FILTERED:
    return f'{dataset}/{setting}/{condition}'
  if setting in _DISCRETIZED:
    return f'{dataset}/{codebook}/{setting}/{condition}'
  return key


def references(
  published: Mapping[str, tuple[float, str]],
  dataset: str,
  codebook: str = _DEFAULT,
) -> dict[str, Published]:
  """The paper's figures for a report: `<setting>/<condition>` -> `Published`.

  >>> references(PUBLISHED, 'mnist')['disc_adv_pre/eps0.3/paper_a']
  Published(value=97.24, source='Table II')
  """
  found = {}
  for key, figure in published.items():
    owner, book, setting, condition = _split(key)
    if owner == dataset and (setting not in _DISCRETIZED or book == codebook):
      found[f'{setting}/{condition}'] = Published(*figure)
  return found


def render(
  results: Mapping[str, Mapping[str, Any]],
  published: Mapping[str, tuple[float, str]],
) -> str:
  """Prints docs/RESULTS.md.

  Args:
    results: key -> fields of `Entry`, as docs/results.json holds them.
    published: the paper's key -> (percent, source).

  Returns:
    Markdown: a table for each first part of the keys, rows in the order of
    the six settings where they are of those; commands and commits below.
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
    'in `majority_of_...` and `best_of_...` give the other rules.',
  ]
  if not results:
    parts.append('No figure is published yet.')
  for group, keys in sorted(groups.items()):
    keys = sorted(keys, key=_order)
    runs = list(dict.fromkeys(_run(Entry(**results[key])) for key in keys))
    ours = [key for key in keys if _split(key)[2]]
    rest = [key for key in keys if not _split(key)[2]]
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


def main(argv):
  """Prints docs/RESULTS.md from docs/results.json."""
  if len(argv) > 1:
    raise app.UsageError(f'expected no arguments, got {argv[1:]}.')
  path = _DOCS / 'results.json'
  results = files.read_json(path) if path.exists() else {}
  files.write_bytes(
    _DOCS / 'RESULTS.md', render(results, PUBLISHED).encode()
  )
  logging.info('%d figures in %s', len(results), _DOCS / 'RESULTS.md')


def _split(key):
  """(data set, codebook, setting, condition); setting '' for other keys."""
  dataset, *rest = key.split('/')
  named = rest and _CODEBOOK.fullmatch(rest[0])
  codebook = rest.pop(0) if named else _DEFAULT
  certified = dataset == 'certify'  # in shapes of their own
  if certified or len(rest) < 2 or rest[0] not in _SETTINGS:
    return dataset, '', '', '/'.join(rest)
  return dataset, codebook, rest[0], '/'.join(rest[1:])


def _order(key):
  dataset, codebook, setting, condition = _split(key)
  rank = _SETTINGS.index(setting) if setting else len(_SETTINGS)
  return dataset, codebook != _DEFAULT, codebook, rank, condition, key


def _run(entry):
  return entry.preset, entry.command, entry.commit, entry.device, entry.date


def _run_line(preset, command, commit, device, date):
  dirty = ' with uncommitted changes' if commit.endswith('+changes') else ''
  commit = re.sub(
    r'^([0-9a-f]{12})[0-9a-f]{28}$', r'\1', commit.removesuffix('+changes')
  )
  where = f'preset `{preset}`, {device}, commit `{commit}`{dirty}'
  return f'{where}, {date}: `{command}`'


def _ours(entry):
  unit = entry.unit and f' {entry.unit}'
  if entry.low is None or entry.high is None:
    return f'{_number(entry.value, entry.unit)}{unit}'
  low, high = (_number(end, entry.unit) for end in (entry.low, entry.high))
  return f'{_number(entry.value, entry.unit)}{unit} [{low}, {high}]'


def _number(value, unit):
  return f'{value:.2f}' if unit == '%' else f'{value:,.6g}'


def _setting_row(key, entry, published, runs):
  _, codebook, setting, condition = _split(key)
  value, source = published.get(published_key(key), (None, ''))
  difference = '' if value is None else f'{entry.value - value:+.2f}'
  return (
    f'`{setting}`',
    codebook if setting in _DISCRETIZED else '–',
    f'`{condition}`',
    _ours(entry),
    _examples(entry),
    '–' if value is None else f'{value:.2f} ({source})',
    difference.replace('-', '−') or '–',
    str(runs.index(_run(entry)) + 1),
  )


def _plain_row(key, entry, runs):
  name = key.partition('/')[2]
  return (
    f'`{name}`',
    _ours(entry),
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


if __name__ == '__main__':
  app.run(main)

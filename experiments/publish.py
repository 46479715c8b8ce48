"""Every figure we publish: kept in docs/results.json, printed in RESULTS.md.

An experiment calls `publish` with what it measured; nobody types a figure.
What an entry is, and how its key is built, stands in
`experiments.published.results`.
Run `python -m experiments.publish` to print docs/RESULTS.md again from
docs/results.json, and to draw its pictures (seconds).
"""

from collections.abc import Mapping
import os
from pathlib import Path
import re
import time
from typing import Any

from absl import flags, logging

from configs.paper.published import PUBLISHED
from experiments.published import pictures
from experiments.published.page import render
from experiments.published.results import (
  GAIN,
  Entry,
  prefix,
  published_key,
  references,
)
from experiments.running import locks, program
from experiments.running.program import command_line
from experiments.studies import at_hand
from rdefense import files, provenance

__all__ = [
  'ASKED',
  'RESULTS',
  'Entry',
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


def publish(path: str | os.PathLike, new: Mapping[str, Entry]) -> None:
  """Merges entries into the results file; others' entries stay as they are.

  The file is replaced whole, its keys sorted, under a lock on its directory,
  so that two experiments that end together both find their place; RESULTS.md
  beside it is printed anew, and its pictures are drawn.

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
  with locks.waited(path.parent):
    stored = files.read_json(path) if path.exists() else {}
    stored |= {key: entry._asdict() for key, entry in new.items()}
    files.write_json(path, stored)
    _print(path.parent, stored)


def entries(results: Mapping[str, Any], prefix: str) -> dict[str, Entry]:
  """Entries of an evaluation's results, one a setting and condition.

  Args:
    results: as `rdefense.report.write_report` takes them.
    prefix: data set, and codebook unless density: `mnist`, `mnist/medoids`.

  Returns:
    `<prefix>/<setting>/<condition>` -> entry, in percent; `gain/<the same>`, in
    points, where there is the same without a defense; where only a part of the
    data set was at hand, `<data set>/images/<split>` -> entry, in images.
  """
  tallies = {
    f'{prefix}/{setting}/{condition}{rule}': tally
    for setting, about_setting in results['settings'].items()
    for condition, judged in about_setting['conditions'].items()
    for rule, tally in _by_rule(judged)
  }
  found = {key: entry(results, tally) for key, tally in tallies.items()}
  found |= {
    f'{GAIN}{prefix}/{setting}/{condition}': _of_gain(results, judged['gain'])
    for setting, about_setting in results['settings'].items()
    for condition, judged in about_setting['conditions'].items()
    if 'gain' in judged and judged['in_table']
  }
  if counted := results.get('images'):
    name = results['config']['data']['name']
    found |= {
      f'{name}/images/{split}': _of_images(results, *sizes)
      for split, sizes in at_hand.missing(name, counted).items()
    }
  return found


def _of_gain(results, gain: Mapping[str, Any]) -> Entry:
  fields = {**gain, 'percent': gain['points']}
  held = {
    'against': f'{gain["instead_of"]}/{gain["condition"]}',
    'gained': gain['gained'],
    'lost': gain['lost'],
  }
  return entry(results, fields)._replace(unit='points', gain=held)


def _of_images(results, here: int, official: int) -> Entry:
  count = {'percent': here, 'low': None, 'high': None, 'total': None}
  return entry(results, count)._replace(
    unit='images', target=f'{official:,} official ones'
  )


def commit_of(about: Mapping[str, Any]) -> str:
  """Of a `provenance.environment`, with a mark where the code was changed."""
  commit = about['commit'] or 'not a checkout'
  return commit + ('+changes' if about['dirty'] else '')


def surroundings(
  config, program: str, begin: float, about=None
) -> dict[str, Any]:
  """What results of a study hold besides what was measured.

  Args:
    config: of the study.
    program: of `experiments`.
    begin: when it began, by `time.time`.
    about: `provenance.environment` of what computed them; None means now.
  """
  return {
    'command': command_line(program),
    'preset': config.preset,
    'seconds': time.time() - begin,
    'config': config.to_dict(),
    'environment': about or provenance.environment(),
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


def _print(folder: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
  """RESULTS.md and the pictures that it shows; seconds."""
  text = render(results, PUBLISHED)
  files.write_bytes(folder / 'RESULTS.md', text.encode())
  for name, picture in pictures.pictures(results).items():
    files.write_bytes(folder / 'figures' / name, picture.png())


def main(argv):
  """Prints docs/RESULTS.md from docs/results.json, and draws its pictures."""
  del argv
  path = _DOCS / 'results.json'
  with locks.waited(_DOCS):
    results = files.read_json(path) if path.exists() else {}
    _print(_DOCS, results)
  logging.info('%d figures in %s', len(results), _DOCS / 'RESULTS.md')


if __name__ == '__main__':
  program.run(main)

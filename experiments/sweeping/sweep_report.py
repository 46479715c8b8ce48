"""What a sweep has found: `sweep.json`, `sweep.md` and `sweep.html`.

First a row a run: what it overrides, its state. Then a table a setting, a row a
run: accuracy without attack and under each attack at the radius of the threat,
read from `results.json`, and the certified share from `certificates.json`;
below, means over runs that differ in `seed` alone. What has failed is named
with its error.
"""

from collections.abc import Mapping, Sequence
import os
import statistics
from typing import Any

from etils.epath import Path

from experiments.running import finished
from experiments.sweeping.jobs import Progress
from experiments.sweeping.run_table import counts, duration
from experiments.sweeping.sweeps import Run
from rdefense import caveats, counting, document, files, pages

__all__ = ['headlines', 'write_sweep']

# Setting -> `clean`, an attack or `certified` -> fields of a tally, and `eps`.
Headlines = dict[str, dict[str, dict[str, Any]]]


def headlines(workdir: str | os.PathLike) -> Headlines:
  """What a workdir's results say in short; nothing where there are none.

  Args:
    workdir: of a run.

  Returns:
    Setting -> `clean`, the name of an attack, or `certified` -> the fields of a
    tally with `eps`: the radius of the threat, or the largest of a setting that
    has radii of its own and not that one.
  """
  found: Headlines = {}
  path = Path(workdir) / 'results.json'
  if path.exists():
    results = files.read_json(path)
    for name, setting in results['settings'].items():
      attacked = setting['conditions']
      radius = _radius(results, attacked.values())
      found.setdefault(name, {}).update(
        (condition.rpartition('/')[2], _kept(tally, tally['eps']))
        for condition, tally in attacked.items()
        if tally['eps'] in (0, radius)
      )
  path = Path(workdir) / 'certificates.json'
  if path.exists():
    results = files.read_json(path)
    for name, setting in (results['settings'] | results['voted']).items():
      radius = _radius(results, setting['conditions'].values())
      for about in setting['conditions'].values():
        voted = about.get('bounds', {}).get('best')
        tally = about.get('certified', voted)
        if about['eps'] == radius and tally:
          kept = _kept(tally, radius)
          found.setdefault(name, {})['certified'] = kept
  return found


def write_sweep(
  root: str | os.PathLike,
  title: str,
  command: str,
  runs: Sequence[Run],
  progress: Mapping[str, Progress],
) -> Path:
  """Writes the three files into the root of a sweep.

  Args:
    root: of the sweep.
    title: of the page.
    command: that started the sweep.
    runs: in order.
    progress: name -> where it ended.

  Returns:
    The path of `sweep.html`.
  """
  found = []
  for run in runs:
    ended = progress[run.name]
    found.append(
      {
        'name': run.name,
        'overrides': dict(run.overrides),
        'workdir': run.workdir,
        'state': ended.state,
        'program': ended.program,
        'seconds': finished.seconds(run.workdir),
        'error': ended.line if ended.state == 'failed' else '',
        'traceback': ended.quoted,
        'log': ended.log,
        'headlines': headlines(run.workdir),
        'images': _images(run.workdir),
      }
    )
  summary = {'title': title, 'command': command, 'runs': found}
  files.write_json(Path(root) / 'sweep.json', summary)
  blocks: list[tuple] = [
    ('heading', 1, title), ('paragraph', f'{counts(progress)}.'),
    *_failures(found), ('heading', 2, 'Runs'), _states(found),
    *_settings(found), ('heading', 2, 'How it was made'), ('code', command, ''),
  ]  # fmt: skip
  return pages.write_document(root, 'sweep', title, blocks, {})


def _radius(results, conditions) -> float:
  """The threat's, or the largest where that is missing."""
  main = results['config']['threat']['eps']
  radii = {about['eps'] for about in conditions}
  return main if main in radii else max(radii, default=main)


def _images(workdir) -> str:
  """Which images a workdir's results are of, in words; '' without results."""
  for name in ('results.json', 'certificates.json'):
    path = Path(workdir) / name
    if path.exists():
      return caveats.images(files.read_json(path))
  return ''


def _kept(tally, eps) -> dict[str, Any]:
  return counting.tally_of(tally)._asdict() | {'eps': eps}


def _failures(found) -> list[tuple]:
  failed = [run for run in found if run['state'] == 'failed']
  blocks: list[tuple] = [('heading', 2, 'Failures')] if failed else []
  for run in failed:
    blocks += [
      ('heading', 3, run['name']),
      ('paragraph', f'`{run["program"]}`: {run["error"]}'),
      ('code', run['traceback'], f'Last lines of {run["log"]}'),
    ]
  return blocks


def _keys(found) -> list[str]:
  """Entries that some run overrides."""
  return list(dict.fromkeys(key for run in found for key in run['overrides']))


def _overridden(run, keys) -> tuple[str, ...]:
  return tuple(str(run['overrides'].get(key, '–')) for key in keys)


def _states(found) -> tuple:
  keys = _keys(found)
  rows = [
    (
      *_overridden(run, keys), run['state'],
      duration(run['seconds']) if run['seconds'] else '–',
      f'`{run["name"]}`',
    )
    for run in found
  ]  # fmt: skip
  header = (*(f'`{key}`' for key in keys), 'state', 'time', 'workdir')
  return ('table', header, rows)


def _settings(found) -> list[tuple]:
  """A table a setting, runs one below the other."""
  keys = _keys(found)
  names = list(dict.fromkeys(name for r in found for name in r['headlines']))
  if not names:
    return []
  images = dict.fromkeys(run['images'] for run in found if run['images'])
  blocks: list[tuple] = [
    ('heading', 2, 'Settings'),
    (
      'paragraph',
      f'Percent of {" or ".join(images)}, with exact (Clopper-Pearson) 95% '
      'intervals, at the radius of the threat, or the largest of a setting '
      'that has radii of its own. Attacks may have been run on fewer images '
      'than others. Over seeds: mean and standard deviation, which is what the '
      'randomness of training and attack adds.',
    ),
  ]
  for name in names:
    runs = [run for run in found if name in run['headlines']]
    columns = list(dict.fromkeys(c for r in runs for c in r['headlines'][name]))
    rows = [
      (
        *_overridden(run, keys),
        *(_cell(run['headlines'][name].get(c)) for c in columns),
      )
      for run in runs
    ]
    rows += [
      (
        *(f'{len(alike)} seeds' if key == 'seed' else value
          for key, value in zip(keys, _overridden(alike[0], keys))),
        *(_spread([run['headlines'][name].get(c) for run in alike])
          for c in columns),
      )
      for alike in _over_seeds(runs)
    ]  # fmt: skip
    header = (*(f'`{key}`' for key in keys), *columns)
    blocks += [('heading', 3, name), ('table', header, rows)]
  return blocks


def _over_seeds(runs) -> list[list]:
  """Runs that differ in their seed alone, where there are several."""
  groups: dict[str, list] = {}
  for run in runs:
    if 'seed' in run['overrides']:
      rest = {k: v for k, v in run['overrides'].items() if k != 'seed'}
      groups.setdefault(files.json_text(rest), []).append(run)
  return [alike for alike in groups.values() if len(alike) > 1]


def _spread(tallies) -> str:
  """Over the runs that have the figure, whose number is told if not all do."""
  values = [tally['percent'] for tally in tallies if tally]
  if len(values) < 2:
    return '–'
  few = f' ({len(values)} seeds)' * (len(values) < len(tallies))
  return f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}{few}'


def _cell(tally):
  if tally is None:
    return '–'
  return document.Compared(tally['percent'], tally['low'], tally['high'])

"""What a sweep has found: `sweep.json`, `sweep.md` and `sweep.html`.

A row a run: what it overrides, its state, and each setting's headline. That is
accuracy under the strongest attack run at the radius of the threat, one query,
read from `results.json`, and the certified share from `certificates.json`. Runs
that differ in `seed` alone are summed up over seeds. What has failed is named
with its error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
import statistics
from typing import Any

from experiments import finished
from experiments.jobs import Progress
from experiments.run_table import counts, duration
from experiments.sweeps import Run
from rdefense import document, files, records, report

__all__ = ['headlines', 'write_sweep']

Headlines = dict[str, dict[str, Any]]


def headlines(workdir: str | Path) -> Headlines:
  """What a workdir's results say in short.

  Args:
    workdir: of a run; without results there is nothing to say.

  Returns:
    `<setting>: clean`, `<setting>: attacked` or `<setting>: certified` -> the
    fields of a tally, its `condition` and `eps`.
  """
  found: Headlines = {}
  results = Path(workdir) / 'results.json'
  if results.exists():
    results = files.read_json(results)
    main = results['config']['threat']['eps']
    for name, setting in results['settings'].items():
      found |= _attacked(name, setting['conditions'], main)
  certificates = Path(workdir) / 'certificates.json'
  if certificates.exists():
    results = files.read_json(certificates)
    main = results['config']['threat']['eps']
    for kind, rule in (('settings', 'certified'), ('voted', 'best')):
      for name, setting in results[kind].items():
        found |= _certified(name, setting['conditions'], main, rule)
  return found


def write_sweep(
  root: str | Path,
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
  found = [
    {
      'name': run.name,
      'overrides': dict(run.overrides),
      'workdir': run.workdir,
      'state': progress[run.name].state,
      'program': progress[run.name].program,
      'seconds': finished.seconds(run.workdir),
      'error': _error(progress[run.name]),
      'traceback': progress[run.name].quoted,
      'log': progress[run.name].log,
      'headlines': headlines(run.workdir),
    }
    for run in runs
  ]
  root = Path(root)
  summary = {'title': title, 'command': command, 'runs': found}
  files.write_json(root / 'sweep.json', summary)
  blocks = _blocks(title, command, found, counts(progress))
  return report.write_document(root, 'sweep', title, blocks, {})


def _error(progress: Progress) -> str:
  return progress.line if progress.state == 'failed' else ''


def _attacked(name, conditions, main) -> Headlines:
  """Clean accuracy, and that under the strongest attack at the main radius."""
  found = {}
  if 'clean' in conditions:
    found[f'{name}: clean'] = _kept('clean', conditions['clean'])
  attacked = {
    condition: tally for condition, tally in conditions.items()
    if tally['eps'] > 0 and not condition.endswith('/frozen')
  }
  # Settings with radii of their own may leave the threat's out.
  radii = {t['eps'] for t in attacked.values()}
  eps = main if main in radii else max(radii, default=0)
  worst = min(
    (c for c, t in attacked.items() if t['eps'] == eps),
    key=lambda c: attacked[c]['percent'],
    default=None,
  )
  if worst is not None:
    found[f'{name}: attacked'] = _kept(worst, attacked[worst])
  return found


def _certified(name, conditions, main, rule) -> Headlines:
  radii = [about['eps'] for about in conditions.values()]
  if not radii:
    return {}
  eps = main if main in radii else max(radii)
  for condition, about in conditions.items():
    tally = about.get('bounds', {}).get(rule) if rule == 'best' else about[rule]
    if about['eps'] == eps and tally:
      kept = tally | {'eps': eps}
      return {f'{name}: certified': _kept(condition, kept)}
  return {}


def _kept(condition, tally) -> dict[str, Any]:
  kept = records.tally_of(tally)._asdict()
  return kept | {'condition': condition, 'eps': tally['eps']}


def _blocks(title, command, found, summary) -> list[tuple]:
  blocks: list[tuple] = [('heading', 1, title), ('paragraph', f'{summary}.')]
  names = list(dict.fromkeys(n for run in found for n in run['headlines']))
  keys = list(dict.fromkeys(k for run in found for k in run['overrides']))
  blocks.append(('heading', 2, 'Runs'))
  blocks.append((
    'table',
    (*(f'`{key}`' for key in keys), 'state', 'time', *names),
    [
      (
        *(str(run['overrides'].get(key, '–')) for key in keys),
        run['state'],
        duration(run['seconds']) if run['seconds'] else '–',
        *(_cell(run['headlines'].get(name)) for name in names),
      )
      for run in found
    ],
  ))  # fmt: skip
  if names:
    blocks.append((
      'paragraph',
      'Percent of test images with exact (Clopper-Pearson) 95% intervals. '
      'Attacked: under the strongest attack run at the radius of the threat, '
      'or the largest one of the setting.',
    ))  # fmt: skip
  blocks += _over_seeds(found, names)
  failed = [run for run in found if run['state'] == 'failed']
  if failed:
    blocks.append(('heading', 2, 'Failures'))
  for run in failed:
    blocks += [
      ('heading', 3, run['name']),
      ('paragraph', f'`{run["program"]}`: {run["error"]}'),
      ('code', run['traceback'], f'Last lines of {run["log"]}'),
    ]
  blocks += [('heading', 2, 'How it was made'), ('code', command, '')]
  return blocks


def _over_seeds(found, names) -> list[tuple]:
  """Mean and standard deviation over runs that differ in their seed alone."""
  groups: dict[tuple, list] = {}
  for run in found:
    if run['headlines'] and 'seed' in run['overrides']:
      rest = [(k, v) for k, v in run['overrides'].items() if k != 'seed']
      groups.setdefault(tuple(map(str, rest)), []).append((rest, run))
  rows = []
  for members in groups.values():
    if len(members) > 1:
      rest = ', '.join(f'{key} {value}' for key, value in members[0][0])
      runs = [run for _, run in members]
      cells = (_spread(runs, name) for name in names)
      rows.append((rest or 'all', str(len(members)), *cells))
  if not rows:
    return []
  text = (
    'Mean and standard deviation of the percentages over seeds: what the '
    'randomness of training and attack adds to the intervals above.'
  )
  return [
    ('heading', 2, 'Over seeds'),
    ('paragraph', text),
    ('table', ('besides the seed', 'seeds', *names), rows),
  ]


def _spread(runs, name) -> str:
  values = [
    run['headlines'][name]['percent'] for run in runs
    if name in run['headlines']
  ]
  if len(values) < 2:
    return '–'
  return f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}'


def _cell(headline):
  if headline is None:
    return '–'
  return document.Compared(
    headline['percent'], headline['low'], headline['high']
  )

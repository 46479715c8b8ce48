"""Any table or figure of both papers by name: trains, attacks, proves, shows.

  python -m experiments.reproduce --list
  python -m experiments.reproduce --what=table2 --dataset=cifar10
  python -m experiments.reproduce --what=all --preset=smoke

What is missing is run, one program after another in this process, as their
command lines would; `configs/paper/catalogue.py` has the list. Runs go to
`--root`, which keeps a journal: what is in there is not run again while its
workdir is there, and what a killed run has begun is resumed by its program. One
that fails is told at the end, with the others done. Tables I to III are written
to `tables`, beside the paper's; every other report is that of its workdir, and
`index.html` has links to all of them. `--preset=small` is for two cores,
`paper` for a GPU, `smoke` only shows that it runs, on the first data set of
each, with the fewest codes. With `--publish` what each program measures goes to
docs/results.json as it ends, and how long it took.

Several processes may share a root, each taking what no other is at; on a CPU,
one a core is faster than one on all cores:

  for core in 0 1; do
    taskset -c $core python -m experiments.reproduce --what=all &
  done; wait
"""

import sys
import time

from absl import flags, logging
from etils.epath import Path
import jax

from configs.paper import catalogue
from configs.paper.catalogue import CATALOGUE, Job
from experiments import gallery, publish
from experiments.reproducing import (
  backlog,
  journal,
  paper_tables,
)
from experiments.running import program

__all__ = ['check_device', 'chosen', 'reproduce']

_WHAT = flags.DEFINE_list('what', [], 'Tables and figures, or `all`.')
# A string, as that of `experiments.hardness`, which runs in this process.
_DATASET = flags.DEFINE_string(
  'dataset', '', 'Data sets, by commas; all if empty.'
)
_PRESET = flags.DEFINE_enum(
  'preset', 'small', ['small', 'paper', 'smoke'], 'How large.'
)
_ROOT = flags.DEFINE_string(
  'root', None, 'Folder of all runs; runs, or runs/<preset> if not small.'
)
_LIST = flags.DEFINE_bool('list', False, 'Prints what there is.')
_ANYWAY = flags.DEFINE_bool('anyway', False, 'Runs `paper` on a CPU too.')
_DRY = flags.DEFINE_bool('dry_run', False, 'Prints what would be run.')


def chosen(what, datasets, preset: str) -> list[tuple[str, str]]:
  """Names of tables and figures, each with one data set of theirs.

  Args:
    what: names, or `all`.
    datasets: to take; all if empty, but the first of each in a smoke run.
    preset: small, paper or smoke.

  Raises:
    ValueError: on a name that is none, or a data set that is none of theirs.

  >>> chosen(['table3', 'table4'], ['mnist'], 'small')
  [('table3', 'mnist'), ('table4', '')]
  """
  names = list(CATALOGUE) if 'all' in what else list(what)
  unknown = [name for name in names if name not in CATALOGUE]
  if unknown or not names:
    raise ValueError(
      f'--what={",".join(what)} is no table or figure; there are: all, '
      f'{", ".join(CATALOGUE)} (see --list).'
    )
  known = {d for name in names for d in CATALOGUE[name].datasets if d}
  for dataset in datasets:
    if dataset not in known:
      raise ValueError(
        f'--dataset={dataset} is none of {", ".join(names)}: '
        f'{", ".join(sorted(known)) or "they have one each"}.'
      )
  found = []
  for name in names:
    mine = [d for d in CATALOGUE[name].datasets if not d or d in datasets]
    if not datasets:
      mine = list(CATALOGUE[name].datasets)
      mine = mine[:1] if preset == 'smoke' else mine
    found += [(name, dataset) for dataset in mine]
  return found


def check_device(preset: str, platform: str) -> None:
  """Refuses what takes weeks without an accelerator.

  Raises:
    ValueError: on `paper` on a CPU.

  >>> check_device('paper', 'gpu')
  """
  if preset == 'paper' and platform == 'cpu':
    raise ValueError(
      '--preset=paper needs a GPU or TPU, and JAX finds only a CPU: install '
      'JAX for the device, take --preset=small, or add --anyway.'
    )


def reproduce(
  pairs: list[tuple[str, str]],
  preset: str,
  root: Path,
  dry_run: bool = False,
  published: bool = False,
) -> list[Job]:
  """Runs what is missing; writes the tables and the page of all reports.

  Args:
    pairs: as `chosen` gives them.
    preset: small, paper or smoke.
    root: folder of all runs; keeps `reproduced.json`.
    dry_run: whether to print the command lines of what is missing only.
    published: whether figures go to docs/results.json.

  Returns:
    The jobs that failed; what went wrong has been printed.
  """
  every = [job for pair in pairs for job in catalogue.jobs(*pair, preset)]
  todo = list(dict.fromkeys(every))
  if dry_run:
    for job in backlog.undone(todo, root):
      print(journal.line(job, root))
    return []
  failed = backlog.work_off(todo, preset if published else '', root)
  for what, dataset in pairs:
    if what in catalogue.TABLE_OF:
      page = paper_tables.write_table(root, what, dataset)
      print(page or f'{what} {dataset}: nothing has been run yet.')
  print(gallery.write(root, preset))
  return failed


def _listing() -> str:
  wide = max(map(len, CATALOGUE))
  lines = [
    f'{name:{wide}}  {item.title}'
    + (f' [{", ".join(item.datasets)}]' if any(item.datasets) else '')
    for name, item in CATALOGUE.items()
  ]
  return '\n'.join(lines)


def main(argv):
  del argv
  if _LIST.value:
    print(_listing())
    return
  logging.set_verbosity(logging.WARNING)
  preset = _PRESET.value
  root = program.folder('root', _ROOT.value or journal.default_root(preset))
  datasets = [name for name in _DATASET.value.split(',') if name]
  pairs = chosen(_WHAT.value, datasets, preset)
  if not (_DRY.value or _ANYWAY.value):
    check_device(preset, jax.default_backend())
  published = publish.ASKED.value
  if published and preset == 'smoke':
    raise ValueError(
      '--preset=smoke measures nothing worth a --publish: leave out one of the '
      'two.'
    )
  begin = time.time()
  failed = reproduce(pairs, preset, root, _DRY.value, published)
  for job in failed:
    print('failed:', journal.line(job, root), file=sys.stderr)
  print(f'{len(failed)} failed; {time.time() - begin:.0f} s')
  if failed:
    sys.exit(1)


if __name__ == '__main__':
  program.run(main)

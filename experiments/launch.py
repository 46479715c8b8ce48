"""Sweeps over a config: prints the commands, or runs so many at a time.

  python -m experiments.launch --config=configs/digits.py:smoke \
    --program=train,evaluate --root=runs/sweep
  python -m experiments.launch --config=configs/digits.py:smoke \
    --program=train,evaluate --root=runs/sweep --workers=2 --no-dry_run

`sweep()` in the config file yields overrides; each is a run with a workdir of
its own below the root, whose name says what differs. As it is, one shell
command a run is printed, fit for `xargs` or an array of SLURM; with
`--no-dry_run` they are run here, each program's output in `<workdir>/*.log`. A
failure stops no other run. What has finished is left out next time: start again
to do what failed, was stopped or is missing. `sweep.md` and `sweep.html` in the
root compare the runs.

`--compare` writes that page alone, of runs started elsewhere, and runs
nothing: `unmarked` are those with results whose end no launcher has seen.

`--on=tpu-vm` and `--on=queued-resource` print the commands that create a TPU,
install, run, fetch and delete; they are never run from here.

Status 0: all is done; 1: a run failed; 75: stopped, start again to resume.
"""

from pathlib import Path
import shlex
import sys

from absl import flags
from etils import epath
from ml_collections import config_flags

from experiments.running import (
  locks,
  preemption,
  program,
  study_flags,
)
from experiments.sweeping import (
  jobs,
  run_table,
  sweep_report,
  sweeps,
  tpu_commands,
)
from experiments.sweeping.sweeps import Run

__all__ = ['compare', 'launch', 'shell_lines']

_PROGRAM = flags.DEFINE_list(
  'program', ['train', 'evaluate'], 'What each run does, in order.'
)
_ROOT = flags.DEFINE_string(
  'root', None, 'Folder of all workdirs.', allow_override=True
)
_WORKERS = flags.DEFINE_integer('workers', 1, 'Runs at a time.')
_DRY = flags.DEFINE_bool(
  'dry_run', True, 'Prints the commands only.', allow_override=True
)
_RUN = flags.DEFINE_bool(
  'no-dry_run', False, 'Runs them; absl itself spells it --nodry_run.'
)
_COMPARE = flags.DEFINE_bool(
  'compare', False, 'Compares what has been written, and runs nothing.'
)
_ON = flags.DEFINE_enum(
  'on', 'here', ['here', *tpu_commands.WAYS], 'Where the commands are for.'
)
_TPU: dict[str, flags.FlagHolder] = {
  'name': flags.DEFINE_string('tpu_name', '', 'What the TPU is called.'),
  'zone': flags.DEFINE_string('zone', '', 'Such as us-west4-a.'),
  'project': flags.DEFINE_string('project', '', "gcloud's default if empty."),
  'accelerator_type': flags.DEFINE_string(
    'accelerator_type', 'v5litepod-8', 'Such as v5litepod-8, v4-16, v6e-4.'
  ),
  'runtime_version': flags.DEFINE_string(
    'runtime_version', '', "The accelerator's usual one if empty."
  ),
  'spot': flags.DEFINE_bool('spot', False, 'May it be pre-empted?'),
  'repository': flags.DEFINE_string(
    'repository', '', 'Cloned there; this checkout is copied if empty.'
  ),
}


def shell_lines(runs: list[Run]) -> list[str]:
  """One line a run for any shell: what is left of its programs, joined by &&.

  Args:
    runs: whose workdirs may exist; programs that have finished are left out,
      and so are runs that have.
  """
  lines = []
  for run in runs:
    remote = '://' in run.workdir
    left = run.steps if remote else run.steps[jobs.todo(run) :]
    if left:
      lines.append(' && '.join(shlex.join(step.command) for step in left))
  return lines


def launch(runs: list[Run], root: Path, workers: int, title: str) -> int:
  """Runs what is left to do, shows it, and writes the report.

  Args:
    runs: of `experiments.sweeping.sweeps`.
    root: folder of their workdirs; made where missing.
    workers: runs at a time.
    title: of the report.

  Returns:
    The exit status: 1 if a run failed, else 75 if one was stopped, else 0.

  Raises:
    ValueError: if the root cannot be written to, or another launcher works
      there.
  """
  command = program.command_line('launch')
  with locks.held(root):
    progress, stopped = jobs.work_off(
      runs, workers, run_table.printer(sys.stderr)
    )
    page = sweep_report.write_sweep(root, title, command, runs, progress)
  states = [about.state for about in progress.values()]
  for name, about in progress.items():
    if about.state == 'failed':
      text = '\n'.join(f'  {line}' for line in about.quoted.splitlines())
      print(f'\n{name}: {about.program} failed, see {about.log}\n{text}')
  print(f'\n{run_table.counts(progress)}')
  print(page)
  if stopped or 'stopped' in states:
    print(f'stopped; to resume: {command}')
  if 'failed' in states:
    return 1
  return preemption.STATUS if stopped or 'stopped' in states else 0


def compare(runs: list[Run], root: epath.Path, title: str) -> epath.Path:
  """Writes the report of what lies there, whoever has run it.

  Args:
    runs: of `experiments.sweeping.sweeps`.
    root: folder of their workdirs, perhaps in a bucket.
    title: of the report.

  Returns:
    The path of its page.

  Raises:
    ValueError: if there is no such folder.
  """
  if not root.is_dir():
    raise ValueError(f'--root={root} is no folder: nothing was run there.')

  def state(run):
    if jobs.todo(run) == len(run.steps):
      return 'done'
    return 'unmarked' if sweep_report.headlines(run.workdir) else 'waiting'

  progress = {run.name: jobs.Progress(state(run)) for run in runs}
  print(run_table.counts(progress))
  command = program.command_line('launch')
  return sweep_report.write_sweep(root, title, command, runs, progress)


def _runs(root: str, python: str) -> list[Run]:
  """The runs of the config on the command line."""
  flag = flags.FLAGS['config']
  file = config_flags.get_config_filename(flag)
  fixed = config_flags.get_override_values(flag)
  config = study_flags.config()
  return sweeps.runs(
    config, sweeps.overrides_of(file), root, _PROGRAM.value,
    sweeps.command(file, fixed, python), tuple(fixed),
  )  # fmt: skip


def main(argv):
  del argv
  for flag in ('workdir', 'only'):
    if flags.FLAGS[flag].value:
      raise ValueError(
        f'--{flag} is for one run; a sweep has --root, and a workdir for each.'
      )
  root = _ROOT.value
  if not root:
    raise ValueError('--root is missing: the folder of all workdirs.')
  if _ON.value == 'here' and '://' not in root:
    root = str(Path(root).expanduser())
  if _WORKERS.value < 1:
    raise ValueError(
      f'--workers={_WORKERS.value} must be 1 or more: who would work?'
    )
  title = f'Sweep: {study_flags.config().title}'
  if _COMPARE.value:
    folder = program.folder('root', root)
    print(compare(_runs(root, sys.executable), folder, title))
    return
  dry = _DRY.value and not _RUN.value
  if _ON.value != 'here':
    if not dry:
      raise ValueError(
        f'--on={_ON.value} only prints commands, which cost money once run: '
        'leave --no-dry_run away, look at them and paste them.'
      )
    tpu = tpu_commands.Tpu(
      _ON.value, **{name: flag.value for name, flag in _TPU.items()}
    )
    print(tpu_commands.script(tpu, _runs(root, 'python'), root), end='')
    return
  program.check_no_file('root', root)
  if dry:
    runs = _runs(root, 'python')
    lines = shell_lines(runs)
    print(*lines, sep='\n', end='\n' if lines else '')
    print(
      f'{len(lines)} of {len(runs)} runs are left to do; nothing was started: '
      'add --no-dry_run, or hand the lines on.', file=sys.stderr,
    )  # fmt: skip
    return
  if '://' in root:
    raise ValueError(
      f'--root={root} is no folder of this machine, where logs are written: '
      'run the printed commands instead, whose programs can write there.'
    )
  runs = _runs(root, sys.executable)
  sys.exit(launch(runs, Path(root), _WORKERS.value, title))


if __name__ == '__main__':
  program.run(main)

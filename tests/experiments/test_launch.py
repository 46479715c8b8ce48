"""Sweeps: their names, what is run and run again, failures, signals, commands.

Stand-ins of a few lines take the place of the programs, so that all else is
what users run; a slow test has the programs themselves.
"""

import io
import json
import os
from pathlib import Path
import shlex
import signal
import subprocess
import sys
import threading
import time

from absl import flags
from etils import epath
import ml_collections
from ml_collections import config_flags
import pytest

from configs import digits, mnist
from configs.paper import figure_2
from experiments import launch
from experiments.running import (
  finished,
  locks,
  preemption,
)
from experiments.sweeping import (
  jobs,
  run_table,
  sweep_report,
  sweeps,
)
from experiments.sweeping.jobs import Progress
from rdefense import counting, files
from tests.experiments.contents import contents

ROOT = Path(__file__).parents[2]
# Seed 5 fails until the file `repaired` is there; `slow` waits to be stopped.
STAND_IN = """
import json, pathlib, signal, sys, time
name, seed, workdir = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
here = pathlib.Path(__file__).parent
with open(here / 'started', 'a') as file:
  file.write(f'{name} {seed}\\n')
print(f'{name}: 10%\\r{name}: 100%', flush=True)
if (here / 'slow').exists():
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
  (here / f'waits{seed}').touch()
  time.sleep(60)
if seed == 5 and name == 'evaluate' and not (here / 'repaired').exists():
  raise RuntimeError('on purpose')
tally = {'correct': 9 - seed, 'total': 10, 'percent': 10.0 * (9 - seed),
         'low': 0.0, 'high': 100.0}
conditions = {'clean': tally | {'percent': 95.0, 'eps': 0.0},
              'eps0.1/a': tally | {'eps': 0.1},
              'eps0.2/a': tally | {'percent': 1.25, 'eps': 0.2}}
results = {'config': {'threat': {'eps': 0.1}},
           'settings': {'adv': {'conditions': conditions}}}
kind = {'train': 'metrics.jsonl', 'evaluate': 'results.json'}[name]
(workdir / kind).write_text(json.dumps(results))
"""


def small():
  return ml_collections.ConfigDict(
    {'seed': 0, 'threat': {'eps': 0.1}, 'only': (), 'on': True, 'name': 'a'}
  )


def stand_ins(folder, seeds):
  """A run for each seed of two stand-ins, as `sweeps.command` makes them."""
  script = folder / 'stand_in.py'
  script.write_text(STAND_IN)
  return sweeps.runs(
    small(), [{'seed': seed} for seed in seeds], folder / 'runs',
    ['train', 'evaluate'],
    lambda program, overrides, workdir: [
      sys.executable, '-I', '-S', str(script), program,
      str(overrides['seed']), workdir,
    ],
  )  # fmt: skip


def started(folder):
  """What was started since this was asked last, in order of name."""
  path = folder / 'started'
  lines = path.read_text().splitlines() if path.exists() else []
  path.unlink(missing_ok=True)
  return sorted(lines)


def begun(folder, seeds, workers):
  return launch.launch(
    stand_ins(folder, seeds), folder / 'runs', workers, 'Sweep: stand-ins'
  )


def state(folder):
  found = json.loads((folder / 'runs/sweep.json').read_text())['runs']
  return {run['name']: run['state'] for run in found}


def test_one_of_twelve_fails_and_only_it_is_run_again(tmp_path, capfd):
  assert begun(tmp_path, range(12), workers=4) == 1
  both = ('train', 'evaluate')
  every = sorted(f'{name} {seed}' for name in both for seed in range(12))
  assert started(tmp_path) == every
  out, err = capfd.readouterr()
  assert '12 runs: 1 failed, 11 done' in out
  assert 'seed=5: evaluate failed' in out
  assert 'RuntimeError: on purpose' in out and 'Traceback' in out
  assert '[12/12]' in err and 'seed=5: train\n' in err
  log = (tmp_path / 'runs/seed=5/evaluate.log').read_text()
  assert 'Traceback' in log and 'on purpose' in log
  page = (tmp_path / 'runs/sweep.md').read_text()
  assert '### seed=5' in page and 'RuntimeError: on purpose' in page
  assert '`evaluate`' in page and '90.00<br>[0.00, 100.00]' in page
  assert state(tmp_path).pop('seed=5') == 'failed'
  assert begun(tmp_path, range(12), workers=4) == 1
  assert started(tmp_path) == ['evaluate 5']
  (tmp_path / 'repaired').touch()
  assert begun(tmp_path, range(12), workers=4) == 0
  assert started(tmp_path) == ['evaluate 5']
  assert set(state(tmp_path).values()) == {'done'}
  assert 'Failures' not in (tmp_path / 'runs/sweep.md').read_text()
  assert begun(tmp_path, range(12), workers=4) == 0
  assert not started(tmp_path)


def test_what_was_deleted_or_changed_is_not_done(tmp_path):
  assert begun(tmp_path, [0, 1, 2], workers=3) == 0
  started(tmp_path)
  runs = tmp_path / 'runs'
  (runs / 'seed=0/results.json').unlink()
  for path in (runs / 'seed=1').iterdir():
    path.unlink()
  (runs / 'seed=1').rmdir()
  assert begun(tmp_path, [0, 1, 2], workers=3) == 0
  # The marker of seed 0's training says nothing of results.json.
  assert started(tmp_path) == ['evaluate 0', 'evaluate 1', 'train 1']
  changed = [
    run._replace(config={**run.config, 'name': 'b'})
    for run in stand_ins(tmp_path, [2])
  ]
  assert jobs.todo(changed[0]) == 0
  (runs / 'seed=2/done.json').unlink()
  assert jobs.todo(stand_ins(tmp_path, [2])[0]) == 0


def test_runs_in_a_bucket_are_compared_as_those_of_a_folder(
  tmp_path, bucket, capsys
):
  tally = counting.tally([True] * 3)._asdict()
  results = {
    'config': {'threat': {'eps': 0.1}},
    'settings': {
      'adv': {'conditions': {'eps0.1/a': tally | {'eps': 0.1}}}
    },
  }  # fmt: skip
  for root in (tmp_path / 'runs', bucket):
    runs = sweeps.runs(
      small(), [{'seed': seed} for seed in range(3)], root, ['evaluate'],
      lambda program, overrides, workdir: ['python', program],
    )  # fmt: skip
    for run in runs[:2]:
      files.write_json(f'{run.workdir}/results.json', results)
    finished.mark(runs[0].workdir, 'evaluate', ['python'], runs[0].config, 2.0)
    assert [jobs.todo(run) for run in runs] == [1, 0, 0]
    page = launch.compare(runs, epath.Path(root), 'Sweep: stand-ins')
    assert str(page) == f'{root}/sweep.html'
    assert capsys.readouterr().out == '3 runs: 1 waiting, 1 unmarked, 1 done\n'
  assert contents(bucket) == contents(tmp_path / 'runs')


def test_a_program_that_left_nothing_is_not_done(tmp_path):
  finished.mark(tmp_path, 'train', ['python'], {'seed': 1}, 1.0)
  assert not finished.is_done(tmp_path, 'train', {'seed': 1})


def test_no_more_run_at_a_time_than_workers(tmp_path):
  most = []

  def show(progress):
    states = [about.state for about in progress.values()]
    most.append(states.count('running'))

  jobs.work_off(stand_ins(tmp_path, range(5)), 2, show)
  assert max(most) == 2


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_the_rest_resumes(tmp_path, capfd, number):
  (tmp_path / 'slow').touch()
  handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

  def send():  # once two stand-ins wait, so that our handlers are there
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob('waits*'))) < 2:
      if time.monotonic() > deadline:
        return
      time.sleep(0.02)
    os.kill(os.getpid(), number)

  thread = threading.Thread(target=send)
  thread.start()
  begin = time.monotonic()
  assert begun(tmp_path, range(4), workers=2) == preemption.STATUS
  thread.join()
  assert time.monotonic() - begin < 50, 'the stand-ins had slept to their end'
  out, _ = capfd.readouterr()
  assert '4 runs: 2 stopped, 2 waiting' in out and 'stopped; to resume: ' in out
  assert started(tmp_path) == ['train 0', 'train 1']
  assert handlers == (
    signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  )  # fmt: skip
  (tmp_path / 'slow').unlink()
  assert begun(tmp_path, range(4), workers=2) == 0
  assert len(started(tmp_path)) == 8


def test_a_second_signal_kills_what_does_not_listen(tmp_path):
  code = (
    'import pathlib, signal, sys, time\n'
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
    'pathlib.Path(sys.argv[1], "deaf").touch()\n'
    'time.sleep(60)\n'
  )
  runs = sweeps.runs(
    small(), [{}], tmp_path, ['train'],
    lambda program, overrides, workdir: [sys.executable, '-c', code, workdir],
  )  # fmt: skip
  sent = []

  def show(progress):
    if (tmp_path / 'base/deaf').exists() and len(sent) < 2:
      sent.append(os.kill(os.getpid(), signal.SIGTERM))

  progress, stopped = jobs.work_off(runs, 1, show)
  assert stopped and progress['base'].state == 'stopped'
  assert progress['base'].seconds < 50


def test_a_run_that_stops_by_itself_is_resumed_the_next_time(tmp_path, capfd):
  code = 'import pathlib, sys; p = pathlib.Path(sys.argv[1], "half")\n' + (
    'sys.exit(0 if p.exists() else p.touch() or 75)'
  )
  runs = sweeps.runs(
    small(), [{}], tmp_path, ['train'],
    lambda program, overrides, workdir: [sys.executable, '-c', code, workdir],
  )  # fmt: skip
  assert launch.launch(runs, tmp_path, 1, 'Sweep') == preemption.STATUS
  assert 'to resume' in capfd.readouterr().out
  assert launch.launch(runs, tmp_path, 1, 'Sweep') == 0


def test_a_program_that_cannot_be_started_or_is_killed_has_failed(tmp_path):
  commands = {
    0: ['absent-program'],
    1: [sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)'],
  }
  runs = sweeps.runs(
    small(), [{'seed': 0}, {'seed': 1}], tmp_path, ['train'],
    lambda program, overrides, workdir: commands[overrides['seed']],
  )  # fmt: skip
  progress, stopped = jobs.work_off(runs, 1)
  assert not stopped
  absent, killed = progress.values()
  assert absent.state == killed.state == 'failed'
  assert 'absent-program' in absent.line
  assert killed.line == 'killed by SIGKILL; nothing was printed'


def test_two_launchers_do_not_share_a_root(tmp_path):
  with locks.held(tmp_path):
    with pytest.raises(ValueError, match='another launcher is at work there'):
      launch.launch([], tmp_path, 1, 'Sweep')
  (tmp_path / 'file').touch()
  for root in (tmp_path / 'file', tmp_path / 'file/runs'):
    with pytest.raises(ValueError, match='is a part of it a file'):
      with locks.held(root):
        pass
  with locks.held(tmp_path):
    pass


def test_runs_from_elsewhere_are_compared_without_running(tmp_path, capsys):
  runs = stand_ins(tmp_path, [0, 1, 2])
  for run in runs[:2]:
    for step in run.steps:
      Path(run.workdir).mkdir(parents=True, exist_ok=True)
      subprocess.run(step.command, check=True, capture_output=True)
  assert begun(tmp_path, [0], workers=1) == 0
  started(tmp_path)
  launch.compare(runs, tmp_path / 'runs', 'Sweep')
  assert not started(tmp_path)
  assert state(tmp_path) == {
    'seed=0': 'done', 'seed=1': 'unmarked', 'seed=2': 'waiting'
  }  # fmt: skip
  text = (tmp_path / 'runs/sweep.md').read_text()
  assert '| `seed` | clean | a |' in text and '1.25' not in text
  assert '90.00<br>' in text and '80.00<br>' in text
  assert '85.00 ± 7.07' in text  # of 90 and 80, by hand
  with pytest.raises(ValueError, match='is no folder: nothing was run'):
    launch.compare(runs, tmp_path / 'absent', 'Sweep')


def test_a_terminal_is_redrawn_and_anything_else_gets_lines():
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  at_first = {'a': Progress('running', 'train', 1.0, '5%')}
  later = {'a': Progress('done', 'train', 2.0, '100%')}
  terminal, plain = Terminal(), io.StringIO()
  for stream in (terminal, plain):
    show = run_table.printer(stream)
    for progress in (at_first, at_first, later):
      show(progress)
  assert terminal.getvalue() == (
    '1 run: 1 running\na  running  train  1 s  5%\n'
    '\x1b[2F\x1b[J1 run: 1 done\na  done  train  2 s  100%\n'
  )
  assert plain.getvalue() == '[0/1] a: train\n[1/1] a: done after 2 s\n'


def test_a_table_fits_its_terminal():
  progress = {f'seed={i}': Progress('waiting') for i in range(30)}
  progress['seed=29'] = Progress('running', 'train', 5.0, 'x' * 500)
  lines = run_table.table(progress, width=50, height=12)
  assert len(lines) == 11 and max(map(len, lines)) == 50
  assert lines[1].startswith('seed=29  running  train')
  assert lines[-1] == '... and 21 more'


def test_names_are_stable_safe_and_short():
  names = {
    'seed=1,threat.eps=0.1': {'threat.eps': 0.1, 'seed': 1},
    'only=a+b': {'only': ('a', 'b')},
    'name=..-x-y': {'name': '../x y/'},
  }
  for name, override in names.items():
    assert sweeps.run_name(override) == name
  long = [sweeps.run_name({'name': 'x' * 300 + end}) for end in 'ab']
  assert len(set(long)) == 2 and max(map(len, long)) < 255


@pytest.mark.parametrize(
  'overrides, words',
  [
    ([{'thread.eps': 1}], 'thread.eps, which is no entry.*near it: threat.eps'),
    ([{'threat': {}}], 'threat, which is no entry'),
    ([{'seed': 'one'}], "seed to 'one', but it is 0 in the config"),
    ([{'seed': 0.5}], 'the types differ'),
    ([{'on': 1}], 'the types differ'),
    ([{'seed': 1}, {'seed': 1}], 'both would be written to seed=1'),
    ([{'threat.eps': 1}, {'threat.eps': 1.0}], 'written to threat.eps=1.0'),
    ([{'name': 'A'}, {'name': 'a'}], 'both would be written to name=a'),
    ([{'only': ('a',)}], 'only, which --config.only sets for all runs'),
  ],
)
def test_a_bad_override_is_one_sentence(overrides, words):
  make = sweeps.command('configs/digits.py', {})
  with pytest.raises(ValueError, match=words):
    sweeps.runs(small(), overrides, 'runs', ['train'], make, fixed=('only',))


@pytest.mark.parametrize(
  'body, words',
  [
    ('def sweep():\n  return []', 'yields nothing'),
    ('def sweep():\n  yield 3', 'yields 3, expected mappings'),
  ],
)
def test_a_sweep_of_nothing_is_refused(tmp_path, body, words):
  path = tmp_path / 'config.py'
  path.write_text(body)
  with pytest.raises(ValueError, match=words):
    sweeps.overrides_of(str(path))


def parsed(words):
  """The config that a program sees, with flags as those of `study_flags`."""
  python, minus_m, name, *arguments = words
  assert (python, minus_m) == ('python', '-m')
  own = flags.FlagValues()
  config = config_flags.DEFINE_config_file(
    'config', flag_values=own, sys_argv=arguments
  )
  flags.DEFINE_string('workdir', None, '', flag_values=own)
  own([name, *arguments])
  return config.value.to_dict()


# ml_collections 1.1 reads config files with load_module().
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize('module', [digits, mnist, figure_2])
def test_sweeps_of_configs_are_runs_of_them(module):
  path = Path(module.__file__).relative_to(ROOT)
  config = module.get_config('smoke')
  make = sweeps.command(f'{path}:smoke', {'batch_size': 10}, 'python')
  found = sweeps.runs(
    config, sweeps.overrides_of(str(ROOT / path)), 'runs', ['train'], make
  )
  assert len(found) > 2
  for run in found:
    words = shlex.split(shlex.join(run.steps[0].command))
    assert words == list(run.steps[0].command)
    assert parsed(words) == {**run.config, 'batch_size': 10}


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_values_of_all_types_arrive_as_they_are():
  override = {
    'only': ('nat_pre',), 'threat.eps': 1, 'pretrained': "it's here; rm -rf $x",
    'attacks.pgd100.curve': (), 'runs.nat.keep_optimizer': True,
    'model.width': 3,
  }  # fmt: skip
  make = sweeps.command('configs/digits.py:smoke', {}, 'python')
  (run,) = sweeps.runs(
    digits.get_config('smoke'), [override], 'runs', ['train'], make
  )
  (line,) = launch.shell_lines([run])
  assert parsed(shlex.split(line)) == run.config


def test_headlines_of_certificates(tmp_path):
  tally = {'correct': 1, 'total': 2, 'percent': 50.0, 'low': 1.0, 'high': 99.0}
  voted = {f'eps{e}': {'eps': e, 'bounds': {'best': tally}} for e in (0.1, 0.2)}
  exact = {f'eps{e}': {'eps': e, 'certified': tally} for e in (0.0, 0.3)}
  about = {
    'config': {'threat': {'eps': 0.1}},
    'voted': {'noise': {'conditions': voted}},
    'settings': {'codes': {'conditions': exact}},
  }
  (tmp_path / 'certificates.json').write_text(json.dumps(about))
  found = sweep_report.headlines(tmp_path)
  assert {name: h['certified']['eps'] for name, h in found.items()} == {
    'noise': 0.1, 'codes': 0.3
  }  # fmt: skip


def command_line(arguments, folder):
  """(status, stdout, stderr) of the launcher itself."""
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.launch', *arguments], cwd=ROOT,
    capture_output=True, text=True,
  )  # fmt: skip
  return done.returncode, done.stdout, done.stderr


def test_mistakes_are_one_sentence_and_a_dry_run_starts_nothing(tmp_path):
  """In one process, as their command lines would."""
  script = tmp_path / 'try.py'
  (tmp_path / 'plain.py').write_text(
    'import ml_collections\n'
    'def get_config():\n'
    "  return ml_collections.ConfigDict({'seed': 0, 'title': 'plain'})\n"
  )
  config = f'--config={tmp_path}/plain.py'
  file = tmp_path / 'file'
  file.touch()
  tpu = ['--on=tpu-vm', '--tpu_name=a', '--zone=b']
  tries = {
    'fine': ['--root=runs/x y'],
    'elsewhere': ['--root=gs://b/x'],
    'home': ['--root=~/x'],
    'root': [],
    'workers': ['--root=x', '--workers=0'],
    'program': ['--root=x', '--program=train,paint'],
    'none': ['--root=x', '--program='],
    'file': [f'--root={file}'],
    'below': [f'--root={file}/runs', '--no-dry_run'],
    'bucket': ['--root=gs://b/x', '--no-dry_run'],
    'workdir': ['--root=x', '--workdir=y'],
    'word': ['--root=x', 'word'],
    'paid': ['--root=x', '--no-dry_run', *tpu],
    'type': ['--root=x', '--accelerator_type=v5e-8', *tpu],
  }
  script.write_text(
    'import json, sys\n'
    'from experiments import launch\n'
    'from experiments.running import program\n'
    f'for name, words in {tries!r}.items():\n'
    '  print(f"== {name}", flush=True)\n'
    '  try:\n'
    f'    program.call(launch.main, ["launch", {config!r}, *words])\n'
    '  except ValueError as error:\n'
    '    print(error)\n'
  )
  done = subprocess.run(
    [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  parts = done.stdout.split('== ')[1:]
  told = dict(part.rstrip('\n').split('\n', 1) for part in parts)
  line = told.pop('fine')
  assert line == ' && '.join(
    f"python -m experiments.{name} {config} '--workdir=runs/x y/base'"
    for name in ('train', 'evaluate')
  )
  assert '--workdir=gs://b/x/base' in told.pop('elsewhere')  # it is not opened
  assert f'--workdir={Path.home()}/x/base' in told.pop('home')
  assert '1 of 1 runs are left to do' in done.stderr
  expected = {
    'root': '--root is missing',
    'workers': '--workers=0 must be 1 or more',
    'program': '--program=paint takes no study: train, evaluate, certify',
    'none': '--program is empty',
    'file': 'is a file, not a folder',
    'below': 'is a file, not a folder',
    'bucket': 'is no folder of this machine',
    'workdir': '--workdir is for one run',
    'word': 'word is no flag',
    'paid': '--on=tpu-vm only prints commands',
    'type': '--accelerator_type=v5e-8 is not known here; near it: ',
  }
  assert told.keys() == expected.keys()
  for name, words in expected.items():
    assert words in told[name] and '\n' not in told[name]


@pytest.mark.slow
def test_twelve_smoke_runs_of_digits(tmp_path):
  """About ten minutes of two CPU cores. One fails: its workdir is another's."""
  arguments = [
    '--config=configs/digits.py:smoke', f'--root={tmp_path}', '--workers=2',
    '--no-dry_run',
  ]  # fmt: skip
  broken = 'seed=2,threat.eps=0.15'
  (tmp_path / broken).mkdir()
  (tmp_path / broken / 'config.json').write_text('{"seed": 7}')
  status, out, err = command_line(arguments, tmp_path)
  assert status == 1, err
  assert '12 runs: 1 failed, 11 done' in out
  assert f'{broken}: train failed' in out and 'another config' in out
  page = (tmp_path / 'sweep.md').read_text()
  assert f'### {broken}' in page and '### disc_adv_re' in page
  assert '3 seeds' in page and '4 seeds' in page
  (tmp_path / broken / 'config.json').unlink()
  status, out, err = command_line(arguments, tmp_path)
  assert status == 0, err
  again = [line for line in err.splitlines() if line.endswith(': train')]
  assert again == [f'[11/12] {broken}: train']
  assert '12 runs: 12 done' in out

"""What is worked off, by one process or by several with one folder."""

import contextlib
import time
import types

import pytest

from configs.paper import catalogue
from experiments import publish
from experiments.reproducing import backlog, journal
from experiments.running import (
  locks,
  preemption,
  program,
)
from rdefense import files


def with_sleep(monkeypatch, sleep):
  """Not `time.sleep` itself, which subprocesses of ours are waited for with."""
  clock = types.SimpleNamespace(
    time=time.time, process_time=time.process_time, sleep=sleep
  )
  monkeypatch.setattr(backlog, 'time', clock)


def test_two_processes_share_the_jobs(tmp_path, monkeypatch, capsys):
  """While the other one trains MNIST, this one takes what needs none of it."""
  other, called = contextlib.ExitStack(), []
  root = tmp_path / 'runs'
  pairs = [('table3', 'mnist'), ('model', '')]
  jobs = [job for pair in pairs for job in catalogue.jobs(*pair, 'small')]

  def call(main, command):
    called.append(command[0])

  def sleep(seconds):  # meanwhile, the other one ends all but the last
    lines = [journal.line(job, root) for job in jobs[: len(jobs) - 2]]
    journal.add(root, {line: {'seconds': 1.0} for line in lines})
    other.close()

  monkeypatch.setattr(program, 'call', call)
  with_sleep(monkeypatch, sleep)
  assert other.enter_context(locks.tried(root / 'mnist'))
  assert not backlog.work_off(jobs, '', root)
  assert called == ['idealized', 'evaluate']
  text = capsys.readouterr().out
  assert text.index('idealized') < text.index('Another process is at work')
  assert text.count('done by another process: ') == len(jobs) - 2


def test_codes_are_trained_while_another_evaluates_what_they_begin_with(
  tmp_path, monkeypatch
):
  """The other one has trained the models and goes on in that workdir."""
  jobs = catalogue.jobs('table3', 'mnist', 'small')
  base, codes = jobs[:3], jobs[3:]
  called = []

  def call(main, command):
    called.append(command[0])
    if len(called) == len(codes):
      told = {journal.line(base[-1], tmp_path): {'seconds': 1.0}}
      journal.add(tmp_path, told)

  monkeypatch.setattr(program, 'call', call)

  def sleep(seconds):
    lines = [journal.line(job, tmp_path) for job in base[:-1]]
    journal.add(tmp_path, {line: {'seconds': 1.0} for line in lines})

  with_sleep(monkeypatch, sleep)
  with locks.tried(tmp_path / 'mnist') as mine:
    assert mine
    assert not backlog.work_off(jobs, '', tmp_path)
  assert called == ['train', 'evaluate']


def test_codes_are_trained_while_another_trains_the_first_ones_again():
  """Only what judges waits for models behind the codes of another study."""
  _, again, _, train, evaluate = catalogue.jobs('table3', 'mnist', 'small')
  assert backlog.ready([again, train]) == [again, train]
  assert backlog.ready([again, evaluate]) == [again]


@pytest.mark.parametrize('gently', [True, False])
def test_what_was_stopped_adds_up_its_time(tmp_path, monkeypatch, gently):
  """A killed one has lost count, and publishes none."""
  (job,) = catalogue.jobs('model', '', 'small')
  clock, starts = iter(range(0, 100, 10)), []

  def call(main, command):
    workdir = tmp_path / job.workdir
    workdir.mkdir(exist_ok=True)
    (workdir / 'begun').touch()
    starts.append(command)
    if len(starts) == 1:
      raise preemption.Stopped if gently else KeyboardInterrupt

  def tick():
    return float(next(clock))

  monkeypatch.setattr(program, 'call', call)
  monkeypatch.setattr(publish, 'RESULTS', tmp_path / 'results.json')
  ticking = types.SimpleNamespace(time=tick, process_time=lambda: 0.5 * tick())
  monkeypatch.setattr(backlog, 'time', ticking)
  with pytest.raises(preemption.Stopped if gently else KeyboardInterrupt):
    backlog.work_off([job], 'small', tmp_path)
  assert not backlog.work_off([job], 'small', tmp_path)
  (told,) = journal.read(tmp_path).values()
  assert told['whole'] == gently
  if not gently:
    assert not publish.RESULTS.exists()
    return
  # Two ticks at the start and two at the end of each start, 10 s apart.
  assert told['seconds'] == 2 * 20
  (entry,) = files.read_json(publish.RESULTS).values()
  assert entry['value'] == pytest.approx(2 * 10 / 3600)

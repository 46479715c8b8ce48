"""Runs worked off by so many processes at a time, each told of as it changes.

The programs of a run are processes, one after another, their output in
`<workdir>/<program>.log`. Where one fails, its run has failed and the others go
on; where one exits with status 75, its run was stopped and can be resumed.
SIGINT and SIGTERM are passed on to the processes as SIGTERM; a second one kills
them. What has finished before is not run again, see
`experiments.running.finished`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import os
from pathlib import Path
import re
import shlex
import signal
import subprocess
import time
from typing import NamedTuple

from experiments.running import finished, preemption
from experiments.sweeping.sweeps import Run

__all__ = ['STATES', 'Progress', 'todo', 'work_off']

STATES = ('running', 'failed', 'stopped', 'waiting', 'unmarked', 'done')
_POLL = 0.05  # seconds
_TAIL = 8192  # bytes of a log that are looked at for the last lines
_QUOTED = 30  # lines of a failure


class Progress(NamedTuple):
  """Where a run is.

  Attributes:
    state: one of `STATES`.
    program: that runs, or was the last to run.
    seconds: since the run was begun, this time.
    line: the last line of what it printed; of a failure, its error.
    quoted: of a failure, the last lines of the log, with its traceback.
    log: where all of it lies.
  """

  state: str
  program: str = ''
  seconds: float = 0.0
  line: str = ''
  quoted: str = ''
  log: str = ''


class _Live(NamedTuple):
  """A process of a run: which step it is, and where its log begins."""

  process: subprocess.Popen
  step: int
  log: Path
  offset: int
  begin: float  # of the run
  step_begin: float


def todo(run: Run) -> int:
  """Number of the first step of a run that is left to do; of steps, if none.

  Every step after that is done again: it has read what is written anew.
  """
  for number, step in enumerate(run.steps):
    if not finished.is_done(run.workdir, step.program, run.config):
      return number
  return len(run.steps)


def work_off(
  runs: Sequence[Run],
  workers: int,
  show: Callable[[Mapping[str, Progress]], None] = lambda progress: None,
) -> tuple[dict[str, Progress], bool]:
  """Runs what is left to do.

  Args:
    runs: of one sweep, names being different.
    workers: processes at a time, at least 1.
    show: is given the progress of all runs, many times a second.

  Returns:
    Name -> progress at the end, none of them running; whether a signal has
    ended it.

  Raises:
    ValueError: if there are less than one worker.
  """
  if workers < 1:
    raise ValueError(f'--workers={workers} must be 1 or more: who would work?')
  first = {run.name: todo(run) for run in runs}
  progress = {
    run.name: Progress(
      'done' if first[run.name] == len(run.steps) else 'waiting',
      line='done before' if first[run.name] == len(run.steps) else '',
    )
    for run in runs
  }
  waiting = [run for run in runs if progress[run.name].state == 'waiting']
  live: dict[str, tuple[Run, _Live]] = {}
  with _signals() as received:
    told = 0
    try:
      while live or (waiting and not received):
        while waiting and len(live) < workers and not received:
          run = waiting.pop(0)
          _advance(run, first[run.name], time.monotonic(), live, progress)
        if len(received) > told:
          told = len(received)
          for _, about in live.values():
            _stop(about.process, kill=told > 1)
        show(dict(progress))  # what has been started, however short it is
        time.sleep(_POLL)
        for run, about in list(live.values()):
          _look(run, about, bool(received), live, progress)
    finally:  # an error of ours leaves nobody behind
      for _, about in live.values():
        _stop(about.process, kill=False)
        about.process.wait()
    stopped = bool(received)
  show(dict(progress))
  return progress, stopped


def _advance(run, number, begin, live, progress) -> None:
  """Starts a step of a run, or ends the run after its last one."""
  now = time.monotonic()
  if number == len(run.steps):
    live.pop(run.name, None)
    progress[run.name] = progress[run.name]._replace(
      state='done', seconds=now - begin
    )
    return
  step = run.steps[number]
  log = Path(run.workdir) / f'{step.program}.log'
  try:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'ab') as file:
      file.write(f'$ {shlex.join(step.command)}\n'.encode())
      file.flush()
      offset = file.tell()
      process = subprocess.Popen(
        step.command, stdin=subprocess.DEVNULL, stdout=file,
        stderr=subprocess.STDOUT, env=os.environ | {'PYTHONUNBUFFERED': '1'},
        # Ctrl-C reaches us alone, who pass it on once.
        start_new_session=True,
      )  # fmt: skip
  except OSError as error:
    live.pop(run.name, None)
    progress[run.name] = Progress(
      'failed', step.program, now - begin, str(error), str(error), str(log)
    )
    return
  live[run.name] = run, _Live(process, number, log, offset, begin, now)
  progress[run.name] = Progress(
    'running', step.program, now - begin, log=str(log)
  )


def _look(run, about, stopping, live, progress) -> None:
  """Sees what a process does, or how it has ended."""
  code = about.process.poll()
  now = time.monotonic()
  lines = _last_lines(about.log, about.offset)
  before = progress[run.name]._replace(
    seconds=now - about.begin, line=lines[-1] if lines else ''
  )
  if code is None:
    progress[run.name] = before
    return
  step = run.steps[about.step]
  if code == 0:
    finished.mark(
      run.workdir, step.program, step.command, run.config,
      now - about.step_begin,
    )  # fmt: skip
    last = about.step + 1 == len(run.steps)
    if stopping and not last:
      del live[run.name]
      progress[run.name] = before._replace(state='stopped')
    else:
      progress[run.name] = before
      _advance(run, about.step + 1, about.begin, live, progress)
    return
  del live[run.name]
  if code in (preemption.STATUS, -signal.SIGTERM) or (stopping and code < 0):
    progress[run.name] = before._replace(state='stopped')
    return
  line = before.line or 'nothing was printed'
  if code < 0:
    line = f'killed by {signal.Signals(-code).name}; {line}'
  progress[run.name] = before._replace(
    state='failed', line=line, quoted='\n'.join(_from_traceback(lines))
  )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
  """SIGINT and SIGTERM that come meanwhile, as a list that grows."""
  received: list[int] = []
  handled = (signal.SIGINT, signal.SIGTERM)
  before = {
    number: signal.signal(number, lambda n, frame: received.append(n))
    for number in handled
  }
  try:
    yield received
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _stop(process, kill: bool) -> None:
  """SIGTERM for the program alone, SIGKILL for all that it has started."""
  if process.poll() is None:
    with contextlib.suppress(ProcessLookupError):
      if kill:
        os.killpg(process.pid, signal.SIGKILL)
      else:
        process.terminate()


def _last_lines(log: Path, offset: int) -> list[str]:
  """The last lines of a log that are not empty; a bar's last state is one."""
  try:
    with open(log, 'rb') as file:
      end = file.seek(0, os.SEEK_END)
      file.seek(max(offset, end - _TAIL))
      text = file.read().decode(errors='replace')
  except FileNotFoundError:  # somebody has deleted the workdir
    return []
  text = re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', text)
  lines = [
    ''.join(c for c in line.rpartition('\r')[2] if c.isprintable() or c == '\t')
    for line in text.replace('\r\n', '\n').rstrip('\r').split('\n')
  ]
  return [line.rstrip() for line in lines if line.strip()]


def _from_traceback(lines: list[str]) -> list[str]:
  """From the last traceback on, or the last lines."""
  begins = [i for i, line in enumerate(lines) if line.startswith('Traceback')]
  if not begins:
    return lines[-5:]
  found = lines[begins[-1] :]
  if len(found) <= _QUOTED:
    return found
  return [found[0], '  ...', *found[-_QUOTED + 2 :]]

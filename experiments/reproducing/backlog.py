"""Jobs of both papers that nobody has run and nobody is at, one after another.

Several processes may work off one list in one folder: each takes the first job
whose workdir is free and whose models are there, and keeps the others out of
that workdir meanwhile. What a killed process was at is free again.
"""

from collections.abc import Iterator
import contextlib
import importlib
import time

from etils.epath import Path
import jax

from configs.paper.catalogue import Job
from experiments import publish
from experiments.reproducing import journal
from experiments.running import (
  locks,
  preemption,
  program,
)
from rdefense import provenance

__all__ = ['ready', 'undone', 'work_off']

_POLL = 2.0  # seconds, where all that is left is at work elsewhere


def work_off(todo: list[Job], published: str, root: Path) -> list[Job]:
  """Runs what nobody has run and nobody is at; returns what failed.

  Args:
    todo: jobs, each after those it needs.
    published: preset under which times are published; '' if nothing is.
    root: folder of all runs.
  """
  before = journal.read(root)
  # Before the first one runs: it may make a workdir that others need whole.
  left, failed, told_to_wait = undone(todo, root), [], False
  for i, job in enumerate(todo, 1):
    if job not in left:
      print(f'[{i}/{len(todo)}] done before: {journal.line(job, root)}')
  while left:
    with _first_free(ready(left), root) as mine:
      elsewhere = _ended_since(before, left, root)
      for done in elsewhere:
        left.remove(done)
        print('done by another process:', journal.line(done, root))
      if mine in left:
        left.remove(mine)
        line = journal.line(mine, root)
        print(f'[{todo.index(mine) + 1}/{len(todo)}] {line}', flush=True)
        failed += [] if _run(mine, root, published) else [mine]
    waits = mine is None and not elsewhere
    if waits and not told_to_wait:
      print('Another process is at work; waiting for what it makes.')
    if waits:
      time.sleep(_POLL)
    told_to_wait = waits
  return failed


def undone(todo: list[Job], root: Path) -> list[Job]:
  """Those whose end the journal does not tell, or whose workdir is gone."""
  told = journal.read(root)
  return [
    job
    for job in todo
    if 'seconds' not in told.get(journal.line(job), {})
    or not (root / job.workdir).is_dir()
  ]


def _ended_since(before, left: list[Job], root: Path) -> list[Job]:
  """Those that the journal tells the end of now, and did not then."""
  now = journal.read(root)
  return [
    job
    for job, line in zip(left, map(journal.line, left))
    if 'seconds' in now.get(line, {}) and now[line] != before.get(line)
  ]


@contextlib.contextmanager
def _first_free(jobs: list[Job], root: Path) -> Iterator[Job | None]:
  """The first that no other process is at, which are kept out meanwhile."""
  with contextlib.ExitStack() as kept:
    yield next(
      (
        job
        for job in jobs
        if kept.enter_context(locks.tried(root / job.workdir))
      ),
      None,
    )


def ready(left: list[Job]) -> list[Job]:
  """Jobs that need none of the others that are left.

  >>> train, evaluate = [Job(name, '', 'x') for name in ('train', 'evaluate')]
  >>> codes = Job('train', '', 'x_k2', pretrained='x')
  >>> ready([train, evaluate, codes]) == [train]
  True
  >>> ready([evaluate, codes]) == [evaluate, codes]
  True
  """
  return [
    job
    for i, job in enumerate(left)
    if not any(_needs(job, other) for other in left[:i])
  ]


def _needs(job: Job, other: Job) -> bool:
  """Whether a job goes on with what an earlier one leaves in its workdir."""
  if other.workdir == job.workdir:
    return True
  if other.workdir != job.pretrained or other.program != 'train':
    return False
  own = journal.chosen(job) if job.program == 'train' else []
  # What it trains itself it takes from nobody.
  return not set(own) & set(journal.chosen(other))


def _run(job: Job, root: Path, published: str) -> bool:
  """Whether a job ended well; it is in the journal then, with its time."""
  before = journal.so_far(job, root)
  known = before is not None
  line = journal.line(job)
  main = importlib.import_module(f'experiments.{job.program}').main
  about = provenance.environment()
  told = {name: about[name] for name in ('commit', 'dirty', 'date', 'device')}
  told |= {'whole': known}
  journal.add(root, {line: told})
  begin = journal.Spent(time.time(), time.process_time())

  def spent() -> journal.Spent:
    past = before or journal.Spent(0.0, 0.0)
    return journal.Spent(
      past.clock + time.time() - begin.clock,
      past.processor + time.process_time() - begin.processor,
    )

  try:
    asked = ['--publish'] if published else []
    program.call(main, [job.program, *job.arguments(str(root)), *asked])
  except preemption.Stopped:
    journal.add(root, {line: told | ({'stopped': spent()} if known else {})})
    raise
  except (Exception, SystemExit) as error:
    program.tell(error)
    return False
  taken = spent()
  journal.add(root, {line: told | {'seconds': taken.clock}})
  if published and known:
    on_cpu = about['device'] == 'cpu'
    # Of a CPU what was computed, whatever else the machine was at.
    used = taken.processor if on_cpu else jax.device_count() * taken.clock
    entry = publish.Entry(
      used / 3600, None, None, None, published, journal.line(job, root),
      publish.commit_of(about), about['device'], about['date'],
      'core h' if on_cpu else 'device h',
    )  # fmt: skip
    publish.publish(publish.RESULTS, {journal.key(job, published): entry})
  return True

"""`--multihost`: one process a host, found and watched by JAX's own runtime.

  python -m experiments.evaluate --config=... --workdir=gs://... --multihost

On a TPU slice, under Slurm or Open MPI the processes find each other; elsewhere
each is told `--coordinator=HOST:PORT` (of process 0), `--num_processes` and
`--process_id`. All of them need the same workdir. Where one is lost, the others
stop within a minute; started again, they go on together.
"""

from collections.abc import Callable
import ctypes
import os
import signal
import sys

from absl import flags
import jax

from experiments.running import preemption, program
from rdefense import parallel

__all__ = ['join', 'run']

_MULTIHOST = flags.DEFINE_bool('multihost', False, 'One of several processes.')
_COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT.')
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'Of the run.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'From 0.')
# With the start of a process, less than the minute in which a loss is told.
_PATIENCE = flags.DEFINE_integer(
  'patience', 45, 'Seconds for all processes to start in.', lower_bound=1
)

_HEARTBEAT, _SHUTDOWN = 30, 30  # timeouts in seconds
_LOST = (
  'error: another process of this run was lost, its own log says why; start '
  'all of them again with the same arguments to go on: finished shards and '
  'checkpoints are kept.'
)
_KEPT: list = []  # handlers: C keeps a pointer to them, not a reference


def run(main: Callable) -> None:
  """`program.run` of a main that may be one of several processes."""

  def hosted(argv):
    if not _MULTIHOST.value:
      main(argv)
      return
    join()
    try:
      main(argv)
      parallel.wait('end')
    except BaseException as error:
      program.tell(error)
      status = program.status(error)
      if _of_others(error):
        print(_LOST, file=sys.stderr)
        status = preemption.STATUS
      sys.stdout.flush()
      sys.stderr.flush()
      # Leaving in good order would wait for the others, who wait for us.
      os._exit(status)

  program.run(hosted)


def join() -> None:
  """Finds the other processes of the run, before JAX is used.

  Raises:
    ValueError: where it is not said who they are.
  """
  coordinator, process_id = _COORDINATOR.value, _PROCESS_ID.value
  num_processes = _NUM_PROCESSES.value
  three = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)
  missing = [f'--{flag.name}' for flag in three if flag.value is None]
  if 0 < len(missing) < len(three):
    raise ValueError(
      f'--multihost lacks {", ".join(missing)}: give all three, or none where '
      'JAX finds the processes itself (TPU slices, Slurm, Open MPI).'
    )
  who = 'a process that JAX has found'
  if coordinator and num_processes is not None and process_id is not None:
    _check(coordinator, num_processes, process_id)
    who = f'process {process_id} of {num_processes} at {coordinator}'
  _at_abort(
    f'error: {who} met no others in {_PATIENCE.value} s: start each once, with '
    'its own --process_id and the same --coordinator, a free port of process '
    "0's host that all the others reach.",
    2,
  )
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      initialization_timeout=_PATIENCE.value,
      heartbeat_timeout_seconds=_HEARTBEAT,
      shutdown_timeout_seconds=_SHUTDOWN,
    )
  except ValueError as error:
    raise ValueError(
      f'--multihost finds no cluster here ({error}): give --coordinator, '
      '--num_processes and --process_id.'
    ) from error
  _at_abort(_LOST, preemption.STATUS)


def _of_others(error: BaseException) -> bool:
  """Whether an error says that another process does not answer any more."""
  words = str(error)
  return isinstance(error, jax.errors.JaxRuntimeError) and any(
    code in words for code in ('UNAVAILABLE', 'DEADLINE_EXCEEDED', 'Gloo')
  )


def _check(coordinator: str, num_processes: int, process_id: int) -> None:
  host, _, port = coordinator.rpartition(':')
  if not (host and port.isdigit()):
    raise ValueError(
      f'--coordinator={coordinator} is not HOST:PORT, such as 10.0.0.2:1234.'
    )
  if not 0 <= process_id < num_processes:
    raise ValueError(
      f'--process_id={process_id} is not one of --num_processes='
      f'{num_processes}, which are counted from 0.'
    )


def _at_abort(sentence: str, status: int) -> None:
  """What to say when JAX's runtime aborts this process, which it does in C++.

  The handler is C's: Python's own would run after the end.
  """

  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def last_words(signum):
    del signum
    os.write(2, f'{sentence}\n'.encode())
    os._exit(status)

  _KEPT.append(last_words)
  ctypes.CDLL(None).signal(signal.SIGABRT, last_words)

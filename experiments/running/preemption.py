"""SIGTERM: what a scheduler sends before it takes the machine away.

Who is stopped so ends with `STATUS`, which says: start again, it goes on. An
evaluation or certification stops at once, since its finished shards are on disk
already; training saves a checkpoint first, and where several processes train
together they do so at the same step, by JAX's own protocol.
"""

from collections.abc import Callable, Iterator
import contextlib
import itertools
import signal
import threading

import jax
from jax.experimental import multihost_utils

__all__ = ['STATUS', 'Stopped', 'noticing', 'stop_at_once']

STATUS = 75  # EX_TEMPFAIL of sysexits.h
# Counts what all processes do alike: JAX's protocol needs it to grow.
_TURN = itertools.count()


class Stopped(SystemExit):
  """Ends the program with `STATUS`."""

  def __init__(self):
    super().__init__(STATUS)

  def __str__(self):
    return (
      'stopped by SIGTERM; what is finished has been saved: start again with '
      'the same arguments to go on.'
    )


def stop_at_once() -> None:
  """From now on SIGTERM raises `Stopped`, wherever the program is."""

  def stop(signum, frame):
    del signum, frame
    raise Stopped

  signal.signal(signal.SIGTERM, stop)


@contextlib.contextmanager
def noticing() -> Iterator[Callable[[], bool]]:
  """Holds SIGTERM back while training.

  Yields:
    `() -> bool`, whether to save and stop now: to be asked once a step, by all
    processes, which get the same answer.
  """
  if jax.process_count() > 1:
    reached = multihost_utils.reached_preemption_sync_point
    yield lambda: reached(next(_TURN))
    return
  noticed = threading.Event()
  before = signal.signal(signal.SIGTERM, lambda signum, frame: noticed.set())
  try:
    yield noticed.is_set
  finally:
    signal.signal(signal.SIGTERM, before)

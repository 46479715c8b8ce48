"""Folders that one process at a time works in.

The locks are the kernel's, on the folders themselves: who is killed leaves
nothing behind, and programs that are started inherit none. In a bucket, or on
a mounted drive without locks, nobody is kept out: who works there is alone.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...   with tried(Path(directory)) as mine, tried(Path(directory)) as another:
...     mine, another
(True, False)
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
from pathlib import Path

__all__ = ['held', 'tried', 'waited']


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
  """Makes the folder and keeps other launchers out of it meanwhile.

  Args:
    root: of a sweep.

  Raises:
    ValueError: if it cannot be made or written to, or another holds it.
  """
  with contextlib.ExitStack() as stack:
    try:
      mine = stack.enter_context(tried(root))
    except OSError as error:
      raise ValueError(
        f'--root={root} cannot be made ({error.strerror}): is a part of it a '
        'file, or may it not be written to?'
      ) from error
    if not os.access(root, os.W_OK):
      raise ValueError(f'--root={root} may not be written to.')
    if not mine:
      raise ValueError(
        f'--root={root}: another launcher is at work there; wait for it, or '
        'choose another --root.'
      )
    yield


@contextlib.contextmanager
def tried(folder: os.PathLike) -> Iterator[bool]:
  """Makes a folder, and takes it unless another process has it: whether so.

  Raises:
    OSError: if it cannot be made.
  """
  with _opened(folder) as lock:
    mine = True
    if lock is not None:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        mine = False
      except OSError:
        pass
    yield mine


@contextlib.contextmanager
def waited(folder: os.PathLike) -> Iterator[None]:
  """Makes a folder, and takes it as soon as no other process has it.

  Raises:
    OSError: if it cannot be made.
  """
  with _opened(folder) as lock:
    if lock is not None:
      with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def _opened(folder: os.PathLike) -> Iterator[int | None]:
  """What a lock is taken on until the end; None in a bucket."""
  if '://' in os.fspath(folder):
    yield None
    return
  Path(folder).mkdir(parents=True, exist_ok=True)
  lock = os.open(folder, os.O_RDONLY)
  try:
    yield lock
  finally:
    os.close(lock)

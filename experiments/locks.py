"""A folder that one launcher at a time works in.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory, held(Path(directory)):
...   pass
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
from pathlib import Path

__all__ = ['held']


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
  """Makes the folder and keeps other launchers out of it meanwhile.

  The lock is the kernel's, on the folder itself: a launcher that is killed
  leaves nothing behind. Programs that are started do not inherit it. A mounted
  drive without locks is held by nobody: whoever mounts it is alone there.

  Args:
    root: of a sweep.

  Raises:
    ValueError: if it cannot be made or written to, or another holds it.
  """
  try:
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root, os.O_RDONLY)
  except OSError as error:
    raise ValueError(
      f'--root={root} cannot be made ({error.strerror}): is a part of it a '
      'file, or may it not be written to?'
    ) from error
  try:
    if not os.access(root, os.W_OK):
      raise ValueError(f'--root={root} may not be written to.')
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
        f'--root={root}: another launcher is at work there; wait for it, or '
        'choose another --root.'
      ) from error
    except OSError:
      pass
    yield
  finally:
    os.close(lock)

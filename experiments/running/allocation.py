"""Memory that a program has freed stays with it, for its next arrays."""

import ctypes
import sys

__all__ = ['keep_freed']

# Of malloc.h of glibc, which returns 1 where it has taken a setting.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_LARGEST = 2**31 - 1  # of a C int, in bytes


def keep_freed() -> None:
  """Tells glibc to give no freed memory back; elsewhere it does nothing.

  A compiled function takes one block for all that it computes on the way, tens
  to hundreds of MiB on a CPU, and frees it at its end. By default the kernel
  gets such a block back each time, and clears all of its pages anew for the
  next call. Call it before JAX starts its threads: they are to share one heap.
  """
  if sys.platform != 'linux':
    return
  setting = getattr(ctypes.CDLL(None), 'mallopt', None)
  if setting is None:  # another C library, such as musl
    return
  setting(_ARENA_MAX, 1)
  setting(_TRIM_THRESHOLD, _LARGEST)
  if not setting(_MMAP_THRESHOLD, _LARGEST):  # too high for glibc below 2.36
    setting(_MMAP_MAX, 0)

"""Of glibc's settings, in processes of their own: they are for good."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource
import sys
import numpy as np
from experiments.running import allocation

if sys.argv[1] == 'keep_freed':
  allocation.keep_freed()
for i in range(21):
  if i == 1:  # the first one has to ask for its pages
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.empty(2**26, np.uint8).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(word: str) -> int:
  done = subprocess.run(
    [sys.executable, '-c', _SCRIPT, word],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(done.stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='a setting of glibc')
def test_pages_of_freed_arrays_are_used_again():
  assert _page_faults('keep_freed') < 100 < _page_faults('default')

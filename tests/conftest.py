"""Settings and fixtures of the whole suite, the doctests of rdefense included.

The settings are made when this file is imported, before JAX starts a backend.
"""

import os
import pathlib

from etils.epath import gpath
import fsspec
import fsspec.implementations.memory
import hypothesis
import jax
import matplotlib
import pytest

matplotlib.use('Agg')

# The same examples in every run: a failure is there again for who looks at it.
# Without a deadline: on a busy machine any example may take long.
hypothesis.settings.register_profile(
  'repeatable', derandomize=True, deadline=None
)
hypothesis.settings.load_profile('repeatable')

# Eight CPU devices, so that sharded code is tested on any machine.
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Little of what tests run runs long: compiling takes most of the time, and
# twice as much with the newer emitters of code for CPUs. LLVM's fast selection
# of instructions goes wrong behind the older ones: it made wrong gradients of
# a network with `remat` (jaxlib 0.10.2). What one worker, program or notebook
# has compiled, the others find.
_QUICKLY = os.environ.get('JAX_DISABLE_MOST_OPTIMIZATIONS') not in (
  '0',
  'False',
)
_EMITTERS = (
  '--xla_cpu_use_fusion_emitters=false',
  '--xla_backend_extra_options=-fast-isel=false',
)
if _QUICKLY:
  os.environ['XLA_FLAGS'] = ' '.join(
    (os.environ.get('XLA_FLAGS', ''), *_EMITTERS)
  )
_COMPILED = {
  'jax_disable_most_optimizations': _QUICKLY,
  'jax_compilation_cache_dir': str(_ROOT / '.cache' / 'jax'),
  'jax_persistent_cache_min_compile_time_secs': 0.1,
  'jax_persistent_cache_min_entry_size_bytes': -1,
}
for _name, _value in _COMPILED.items():
  jax.config.update(_name, _value)
  os.environ[_name.upper()] = str(_value)


def pytest_runtest_setup(item):
  if item.get_closest_marker('gpu') and jax.default_backend() != 'gpu':
    pytest.skip(f'needs a GPU; JAX runs on {jax.default_backend()}')


@pytest.fixture
def key():
  """A key that is the same in every run."""
  return jax.random.key(20190610)


class _Bucket(fsspec.implementations.memory.MemoryFileSystem):
  """A bucket in memory, under the name that epath asks for."""

  protocol = ('gcs', 'gs', 'memory')
  store: dict = {}
  pseudo_dirs = ['']

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(str(path).replace('gs://', 'memory://'))

  def makedirs(self, path, exist_ok=False):
    """Nothing: a bucket has objects, and no folders without one."""


@pytest.fixture
def bucket(monkeypatch):
  """gs://workdirs, as etils.epath reaches a bucket through fsspec."""
  fsspec.register_implementation('gcs', _Bucket, clobber=True)
  monkeypatch.setattr(gpath, '_is_tf_installed', lambda: False)
  yield 'gs://workdirs/run'
  _Bucket.store.clear()


@pytest.fixture(scope='session')
def data_dir():
  """The folder of prepared tensorflow-datasets; skips where there is none."""
  named = os.environ.get('TFDS_DATA_DIR')
  path = pathlib.Path(named) if named else _ROOT.parent / 'shared/data/tfds'
  if not path.is_dir():
    pytest.skip(
      f'no datasets: {path} is not a folder; set TFDS_DATA_DIR to one that '
      'tensorflow-datasets has prepared'
    )
  return path

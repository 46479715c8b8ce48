"""The commands that run a sweep on a TPU VM or a slice: printed, never run.

`gcloud compute tpus tpu-vm create` makes a TPU at once or fails; a queued
resource waits until there is one. Either way the code goes to all hosts as a
bundle of git, or is cloned; each run is one command on all hosts at once, with
`--multihost` where there is more than one; what it wrote is fetched; the TPU is
deleted.

>>> accelerator('v4-16')
Accelerator(chips=8, hosts=2, runtime='tpu-ubuntu2204-base')

References:
  https://cloud.google.com/tpu/docs/runtimes,
  https://cloud.google.com/sdk/gcloud/reference/compute/tpus.
"""

from collections.abc import Iterator, Sequence
import difflib
import shlex
from typing import NamedTuple

from experiments.sweeping.sweeps import Run

__all__ = [
  'ACCELERATORS',
  'WAYS',
  'Accelerator',
  'Tpu',
  'accelerator',
  'script',
]

WAYS = ('tpu-vm', 'queued-resource')
_BUNDLE, _FOLDER, _VENV = 'rdefense.bundle', 'rdefense', 'rdefense-venv'


class Accelerator(NamedTuple):
  """What a type of accelerator is."""

  chips: int
  hosts: int
  runtime: str  # version of the software of the TPU VM


class Tpu(NamedTuple):
  """Which TPU: the flags of `experiments.launch` that say so."""

  on: str  # one of `WAYS`
  name: str
  zone: str
  accelerator_type: str
  project: str = ''  # gcloud's own default if empty
  runtime_version: str = ''  # that of the table if empty
  spot: bool = False
  repository: str = ''  # to clone; the checkout at hand is copied if empty


def _by_cores(name: str, runtime: str, sizes: Sequence[int]):
  """Types named after cores: two a chip, four chips a host."""
  return {
    f'{name}-{size}': Accelerator(size // 2, size // 8, runtime)
    for size in sizes
  }


def _by_chips(name: str, runtime: str):
  """Types named after chips: up to eight on one host, else four a host."""
  return {
    f'{name}-{size}': Accelerator(size, 1 if size <= 8 else size // 4, runtime)
    for size in (1, 4, 8, 16, 32, 64, 128, 256)
  }


_LARGE = (128, 256, 512, 1024, 2048, 4096)
ACCELERATORS = {
  **_by_cores('v2', 'tpu-ubuntu2204-base', (8, 32, *_LARGE[:3])),
  **_by_cores('v3', 'tpu-ubuntu2204-base', (8, 32, 64, *_LARGE[:5])),
  **_by_cores('v4', 'tpu-ubuntu2204-base', (8, 16, 32, 64, *_LARGE)),
  **_by_chips('v5litepod', 'v2-alpha-tpuv5-lite'),
  **_by_cores('v5p', 'v2-alpha-tpuv5', (8, 16, 32, 64, *_LARGE)),
  **_by_chips('v6e', 'v2-alpha-tpuv6e'),
}


def accelerator(name: str) -> Accelerator:
  """A type by its name, such as v5litepod-8.

  Raises:
    ValueError: if there is none in the table; the nearest are named.
  """
  if name not in ACCELERATORS:
    full = name.replace('v5e', 'v5litepod')  # as everybody calls it
    near = difflib.get_close_matches(full, ACCELERATORS, n=4, cutoff=0.5)
    raise ValueError(
      f'--accelerator_type={name} is not known here; '
      + (f'near it: {", ".join(near)}.' if near else 'such as v5litepod-8.')
    )
  return ACCELERATORS[name]


def script(tpu: Tpu, runs: Sequence[Run], root: str) -> str:
  """Commands with comments, to be pasted into a shell one after another.

  Args:
    tpu: which TPU.
    runs: with commands as the hosts start them, their interpreter left to us.
    root: of the sweep; in a bucket (gs://) where there are several hosts.

  Raises:
    ValueError: on an unknown accelerator, a missing flag, or several hosts that
      would write to disks of their own.
  """
  about = accelerator(tpu.accelerator_type)
  for flag in ('name', 'zone'):
    if not getattr(tpu, flag):
      word = 'tpu_name' if flag == 'name' else flag
      raise ValueError(f'--{word} is missing: --on={tpu.on} needs it.')
  remote = root.startswith('gs://')
  if about.hosts > 1 and not remote:
    raise ValueError(
      f'--root={root} would be on {about.hosts} disks, one a host of '
      f'{tpu.accelerator_type}: give a folder of a bucket, gs://...'
    )
  parts = [
    f'# {tpu.accelerator_type}: {about.chips} chips on {about.hosts} '
    f'{"host" if about.hosts == 1 else "hosts"}'
  ]
  if tpu.spot and not remote:
    parts.append(
      f'# {root} is on the disk of the TPU VM, which is lost with it: a root '
      'gs://... would outlive a pre-emption.'
    )
  if tpu.spot:
    parts.append(
      '# If it is pre-empted: the last command, then all from the first on; '
      'runs go on\n# from what they have written.'
    )
  for title, commands in _parts(tpu, about, runs, root):
    parts.append('\n'.join([f'# {title}', *commands]))
  return '\n\n'.join(parts) + '\n'


def _parts(
  tpu: Tpu, about: Accelerator, runs: Sequence[Run], root: str
) -> Iterator[tuple[str, list[str]]]:
  yield from _create(tpu, about)
  yield 'Install on every host', _install(tpu)
  python = f'~/{_VENV}/bin/python'
  yield (
    'See whether JAX finds the chips of a host',
    [_ssh(tpu, f'{python} -c "import jax; print(jax.local_devices())"')]
    if about.hosts == 1
    else [
      _ssh(
        tpu,
        f'{python} -c "import jax; jax.distributed.initialize(); '
        'print(jax.process_index(), jax.device_count())"',
      )
    ],
  )
  flags = ['--multihost'] if about.hosts > 1 else []
  lines = []
  for run in runs:
    words = (
      f'{python} {shlex.join([*step.command[1:], *flags])}'
      for step in run.steps
    )
    lines.append(_ssh(tpu, f'cd ~/{_FOLDER} && {" && ".join(words)}'))
  yield 'Run; the same command again resumes', lines
  if root.startswith('gs://'):
    source = shlex.quote(root.rstrip('/'))
    collect = [f'gcloud storage cp --recursive {source} .']
  else:
    # A path of the host: below its checkout unless it is absolute.
    path = root if root.startswith('/') else f'{_FOLDER}/{root}'
    collect = [
      _gcloud(tpu, 'tpu-vm', 'scp', '--recurse', f'{tpu.name}:{path}', '.')
    ]
  yield 'Fetch what was written', collect
  yield 'Delete, or it goes on costing', _delete(tpu)


def _create(tpu, about):
  version = tpu.runtime_version or about.runtime
  kind = f'--accelerator-type={tpu.accelerator_type}'
  spot = ['--spot'] if tpu.spot else []
  if tpu.on == 'tpu-vm':
    words = ('tpu-vm', 'create', tpu.name, kind, f'--version={version}', *spot)
    yield 'Create', [_gcloud(tpu, *words)]
    return
  words = (
    'queued-resources', 'create', tpu.name, f'--node-id={tpu.name}', kind,
    f'--runtime-version={version}', *spot,
  )  # fmt: skip
  yield 'Ask for it; it is made when there is one', [_gcloud(tpu, *words)]
  describe = _gcloud(
    tpu, 'queued-resources', 'describe', tpu.name,
    '--format=value(state.state)',
  )  # fmt: skip
  ends = '^(ACTIVE|FAILED|SUSPENDED)$'
  yield (
    'Wait; go on when it prints ACTIVE',
    [f"until {describe} | grep -E '{ends}'; do sleep 60; done"],
  )


def _install(tpu):
  """Commands that bring code and packages to every host.

  The runtimes come with Python 3.10, which is too old: uv fetches another.
  """
  if tpu.repository:
    source = tpu.repository
    copy = []
  else:
    source = _BUNDLE
    copy = [
      f'git bundle create {_BUNDLE} HEAD',
      _gcloud(tpu, 'tpu-vm', 'scp', _BUNDLE, f'{tpu.name}:', '--worker=all'),
    ]
  steps = (
    f'rm -rf {_FOLDER}',
    f'git clone {shlex.quote(source)} {_FOLDER}',
    'python3 -m pip install --user uv',
    f'python3 -m uv venv --clear --python 3.12 {_VENV}',
    f'python3 -m uv pip install --python {_VENV}/bin/python '
    f"-c {_FOLDER}/constraints.txt -e {_FOLDER} 'jax[tpu]'",
  )
  return [*copy, _ssh(tpu, ' && '.join(steps))]


def _delete(tpu):
  if tpu.on == 'tpu-vm':
    return [_gcloud(tpu, 'tpu-vm', 'delete', tpu.name)]
  words = ('queued-resources', 'delete', tpu.name, '--force')
  return [_gcloud(tpu, *words)]


def _ssh(tpu, command):
  return _gcloud(
    tpu, 'tpu-vm', 'ssh', tpu.name, '--worker=all', f'--command={command}'
  )


def _gcloud(tpu, *words):
  where = [f'--zone={tpu.zone}']
  if tpu.project:
    where.append(f'--project={tpu.project}')
  group, verb, *rest = words
  return shlex.join(['gcloud', 'compute', 'tpus', group, verb, *rest, *where])

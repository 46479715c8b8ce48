"""The commands for a TPU, against what is expected word by word."""

import shlex

import ml_collections
import pytest

from experiments.sweeping import sweeps, tpu_commands
from experiments.sweeping.tpu_commands import Accelerator, Tpu, accelerator

CONFIG = ml_collections.ConfigDict({'seed': 0})


def script(tpu, root, seeds=(0,), programs=('train', 'evaluate')):
  make = sweeps.command('configs/digits.py:smoke', {}, 'python')
  overrides = [{'seed': seed} for seed in seeds]
  runs = sweeps.runs(CONFIG, overrides, root, programs, make)
  return tpu_commands.script(tpu, runs, root)


def commands(text):
  return [line for line in text.splitlines() if line and line[0] != '#']


def test_a_single_host_from_nothing_to_a_report():
  tpu = Tpu('tpu-vm', 'mine', 'us-west4-a', 'v5litepod-8')
  expected = """\
# v5litepod-8: 8 chips on 1 host

# Create
gcloud compute tpus tpu-vm create mine --accelerator-type=v5litepod-8 \
--version=v2-alpha-tpuv5-lite --zone=us-west4-a

# Install on every host
git bundle create rdefense.bundle HEAD
gcloud compute tpus tpu-vm scp rdefense.bundle mine: --worker=all \
--zone=us-west4-a
gcloud compute tpus tpu-vm ssh mine --worker=all \
'--command=rm -rf rdefense && git clone rdefense.bundle rdefense && \
python3 -m pip install --user uv && \
python3 -m uv venv --clear --python 3.12 rdefense-venv && \
python3 -m uv pip install --python rdefense-venv/bin/python \
-c rdefense/constraints.txt -e rdefense '"'"'jax[tpu]'"'"'' --zone=us-west4-a

# See whether JAX finds the chips of a host
gcloud compute tpus tpu-vm ssh mine --worker=all \
'--command=~/rdefense-venv/bin/python -c \
"import jax; print(jax.local_devices())"' --zone=us-west4-a

# Run; the same command again resumes
gcloud compute tpus tpu-vm ssh mine --worker=all \
'--command=cd ~/rdefense && ~/rdefense-venv/bin/python \
-m experiments.train --config=configs/digits.py:smoke --config.seed=0 \
--workdir=runs/sweep/seed=0 && ~/rdefense-venv/bin/python \
-m experiments.evaluate --config=configs/digits.py:smoke --config.seed=0 \
--workdir=runs/sweep/seed=0' --zone=us-west4-a

# Fetch what was written
gcloud compute tpus tpu-vm scp --recurse mine:rdefense/runs/sweep . \
--zone=us-west4-a

# Delete, or it goes on costing
gcloud compute tpus tpu-vm delete mine --zone=us-west4-a
"""
  assert script(tpu, 'runs/sweep') == expected


def test_a_queued_spot_slice_with_a_bucket():
  tpu = Tpu(
    'queued-resource', 'mine', 'us-east5-b', 'v6e-16', 'project',
    spot=True, repository='https://example.org/rdefense.git',
  )  # fmt: skip
  text = script(tpu, 'gs://bucket/sweep', seeds=(0, 1), programs=('train',))
  assert '# v6e-16: 16 chips on 4 hosts' in text
  assert 'If it is pre-empted' in text and 'on the disk' not in text
  create, wait, install, look, first, second, fetch, delete = commands(text)
  where = '--zone=us-east5-b --project=project'
  queued = 'gcloud compute tpus queued-resources'
  assert create == (
    f'{queued} create mine --node-id=mine --accelerator-type=v6e-16 '
    f'--runtime-version=v2-alpha-tpuv6e --spot {where}'
  )
  assert wait == (
    f"until {queued} describe mine '--format=value(state.state)' {where} | "
    "grep -E '^(ACTIVE|FAILED|SUSPENDED)$'; do sleep 60; done"
  )
  assert 'git clone https://example.org/rdefense.git rdefense' in install
  assert 'jax.distributed.initialize()' in look
  for seed, line in enumerate((first, second)):
    *words, command, zone, project = shlex.split(line)
    assert ' '.join(words) == 'gcloud compute tpus tpu-vm ssh mine --worker=all'
    assert f'{zone} {project}' == where
    assert command == (
      '--command=cd ~/rdefense && ~/rdefense-venv/bin/python -m '
      'experiments.train --config=configs/digits.py:smoke '
      f'--config.seed={seed} --workdir=gs://bucket/sweep/seed={seed} '
      '--multihost'
    )
  assert fetch == 'gcloud storage cp --recursive gs://bucket/sweep .'
  assert delete == f'{queued} delete mine --force {where}'


def test_words_that_need_quotes_survive_both_shells():
  make = sweeps.command("configs/it's.py", {'name': 'a b; $c'}, 'python')
  runs = sweeps.runs(CONFIG, [{}], 'runs/x', ['train'], make)
  tpu = Tpu('tpu-vm', 'mine', 'zone', 'v4-8')
  (line,) = [
    line
    for line in commands(tpu_commands.script(tpu, runs, 'runs/x'))
    if 'experiments.train' in line
  ]
  (command,) = [w for w in shlex.split(line) if w.startswith('--command=')]
  remote = shlex.split(command.removeprefix('--command='))
  assert remote[4:] == list(runs[0].steps[0].command[1:])


def test_a_disk_that_goes_with_the_tpu_is_told_of():
  tpu = Tpu('tpu-vm', 'mine', 'zone', 'v6e-1', spot=True)
  assert 'gs://... would outlive a pre-emption' in script(tpu, 'runs/sweep')


@pytest.mark.parametrize(
  'name, chips, hosts, runtime',
  [  # https://cloud.google.com/tpu/docs: VMs of each slice
    ('v2-8', 4, 1, 'tpu-ubuntu2204-base'),
    ('v3-32', 16, 4, 'tpu-ubuntu2204-base'),
    ('v4-8', 4, 1, 'tpu-ubuntu2204-base'),
    ('v4-32', 16, 4, 'tpu-ubuntu2204-base'),
    ('v5litepod-1', 1, 1, 'v2-alpha-tpuv5-lite'),
    ('v5litepod-8', 8, 1, 'v2-alpha-tpuv5-lite'),
    ('v5litepod-16', 16, 4, 'v2-alpha-tpuv5-lite'),
    ('v5litepod-256', 256, 64, 'v2-alpha-tpuv5-lite'),
    ('v5p-16', 8, 2, 'v2-alpha-tpuv5'),
    ('v6e-4', 4, 1, 'v2-alpha-tpuv6e'),
    ('v6e-32', 32, 8, 'v2-alpha-tpuv6e'),
  ],
)
def test_an_accelerator_is_what_its_documentation_says(
  name, chips, hosts, runtime
):
  assert accelerator(name) == Accelerator(chips, hosts, runtime)


@pytest.mark.parametrize(
  'name, near',
  [
    ('v5e-8', 'v5litepod-8'),
    ('v4-9', 'v4-8'),
    ('v5litepod-12', 'v5litepod-128'),
  ],  # fmt: skip
)
def test_an_unknown_accelerator_names_the_nearest(name, near):
  with pytest.raises(ValueError, match='is not known here; near it: ') as error:
    accelerator(name)
  assert near in str(error.value)


@pytest.mark.parametrize(
  'tpu, root, words',
  [
    (Tpu('tpu-vm', '', 'zone', 'v4-8'), 'x', '--tpu_name is missing'),
    (Tpu('tpu-vm', 'a', '', 'v4-8'), 'x', '--zone is missing: --on=tpu-vm'),
    (Tpu('tpu-vm', 'a', 'b', 'v4-16'), 'x', 'on 2 disks, one a host of v4-16'),
  ],
)
def test_a_missing_flag_is_one_sentence(tpu, root, words):
  with pytest.raises(ValueError, match=words):
    script(tpu, root)

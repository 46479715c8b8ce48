"""Several processes on one machine, each with several devices, act as hosts."""

import itertools
import random
import shutil
import signal
import socket
import time

from absl.flags import FLAGS
from absl.testing import flagsaver
import jax
import numpy as np
import pytest

from experiments.running import multihost, preemption
from tests.experiments.test_train_evaluate import (
  NAT,
  SMALL,
  finish,
  parameters,
  rows,
  start,
)

CERTIFIED = [
  '--config=configs/certified_mnist.py:smoke', '--config.data.name=digits',
  "--config.only=('certified_01',)", '--config.certify.batch_size=4',
]  # fmt: skip


def free_port():
  with socket.socket() as found:
    found.bind(('127.0.0.1', 0))
    return found.getsockname()[1]


def start_all(program, arguments, workdir, processes, devices, *more):
  """Starts a program in several processes of several CPU devices each."""
  port = free_port()
  together = [f'--coordinator=127.0.0.1:{port}', f'--num_processes={processes}']
  return [
    start(
      program,
      [*arguments, *more]
      + (
        ['--multihost', *together, f'--process_id={number}']
        if processes > 1
        else []
      ),
      workdir,
      name=f'{program}{number}',
      JAX_NUM_CPU_DEVICES=str(devices),
    )
    for number in range(processes)
  ]


def finish_all(started):
  for process in started:
    finish(process)


DIGITS = [
  '--config=configs/digits.py:smoke', '--config.batch_size=8',
  '--config.checkpoint_every=3',
]  # fmt: skip


def made(tmp_path_factory, *commands):
  """A workdir in which one process on one device has run some programs."""
  folder = tmp_path_factory.mktemp('alone') / 'run'
  for program, arguments in commands:
    finish(start(program, arguments, folder))
  return folder


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """One model of the digits, attacked behind two settings."""
  return made(tmp_path_factory, ('train', NAT), ('evaluate', SMALL))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """The whole smoke run of the digits."""
  return made(tmp_path_factory, ('train', DIGITS), ('evaluate', DIGITS))


@pytest.fixture(scope='module')
def decided(tmp_path_factory):
  train = [*CERTIFIED, '--only=certified_01']
  return made(tmp_path_factory, ('train', train), ('certify', CERTIFIED))


def assert_close(folder, alone, model='nat'):
  """Parameters: gradients are summed over devices in another order."""
  for one, other in zip(
    jax.tree.leaves(parameters(folder, model)),
    jax.tree.leaves(parameters(alone, model)),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def assert_same(folder, alone):
  table, expected = rows(folder), rows(alone)
  assert table.keys() == expected.keys()
  for name, values in expected.items():
    if name.endswith('margin'):  # sums of another order, in another batch
      np.testing.assert_allclose(table[name], values, rtol=1e-4, atol=1e-5)
    else:
      np.testing.assert_array_equal(table[name], values, name)


def test_two_hosts_train_and_attack_as_one(alone, tmp_path):
  folder = tmp_path / 'run'
  finish_all(start_all('train', NAT, folder, 2, 2))
  assert_close(folder, alone)
  shutil.rmtree(folder / 'models')
  shutil.copytree(alone / 'models', folder / 'models')
  finish_all(start_all('evaluate', SMALL, folder, 2, 2))
  assert_same(folder, alone)
  shards = sorted(p.name for p in folder.glob('records/nat_pre/clean/*'))
  assert shards == [f'shard-{number:05d}.npz' for number in range(4)]
  assert (folder / 'report.html').exists()


def words(process):
  return process.stderr_path.read_text().splitlines()


@pytest.mark.parametrize(
  'given, sentence',
  [
    ({'coordinator': 'h:1'}, 'lacks --num_processes, --process_id: give all'),
    ({'coordinator': 'h', 'num_processes': 2, 'process_id': 0}, 'HOST:PORT'),
    (
      {'coordinator': 'h:1', 'num_processes': 2, 'process_id': 2},
      '--process_id=2 is not one of --num_processes=2',
    ),
    ({}, '--multihost finds no cluster here'),
  ],
)
def test_a_mistake_is_one_sentence(given, sentence, monkeypatch):
  def initialize(*given, **timeouts):
    raise ValueError('coordinator_address should be defined.')  # JAX's words

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  monkeypatch.setattr(multihost, '_at_abort', lambda sentence, status: None)
  FLAGS(['program'])
  with flagsaver.flagsaver(multihost=True, **given):
    with pytest.raises(ValueError, match=sentence):
      multihost.join()


def test_a_silent_coordinator_is_told_in_the_end(tmp_path):
  process = start(
    'train',
    [*NAT, '--multihost', '--coordinator=127.0.0.1:1', '--num_processes=2',
     '--process_id=1', '--patience=1'],
    tmp_path / 'run',
  )  # fmt: skip
  assert process.wait(timeout=300) == 2
  told = words(process)[-1]
  assert told.startswith('error: process 1 of 2 at 127.0.0.1:1 met no others')


@pytest.mark.slow
@pytest.mark.parametrize('processes, devices', [(1, 8), (2, 4), (4, 2)])
def test_verdicts_do_not_depend_on_hosts_and_devices(
  processes, devices, tmp_path, whole
):
  folder = tmp_path / 'run'
  train = [*DIGITS, '--only=nat,adv']
  finish_all(start_all('train', train, folder, processes, devices))
  for model in ('nat', 'adv'):
    assert_close(folder, whole, model)
  shutil.rmtree(folder / 'models')
  shutil.copytree(whole / 'models', folder / 'models')
  finish_all(start_all('evaluate', DIGITS, folder, processes, devices))
  assert_same(folder, whole)


@pytest.mark.slow
def test_twenty_kills_change_nothing(whole, decided, tmp_path):
  """`kill -9` and SIGTERM, of one process of two and of both, at any time."""
  rng = random.Random(0)
  kills = []
  # With the seconds within which a signal is sent: about what a run takes.
  jobs = [('train', [*DIGITS, '--only=nat'], whole, 10),
          ('evaluate', DIGITS, whole, 16),
          ('certify', CERTIFIED, decided, 6)]  # fmt: skip
  for turn, (program, arguments, undisturbed, seconds) in enumerate(
    itertools.cycle(jobs)
  ):
    if len(kills) >= 20:
      break
    # A run may end before it is killed: then this turn has no kill at all.
    folder = tmp_path / f'{program}{turn}'
    if program != 'train':
      shutil.copytree(undisturbed / 'models', folder / 'models')
    kills += until_done(program, arguments, folder, rng, seconds)
    if program == 'train':
      assert_close(folder, undisturbed)
    else:
      assert_same(folder, undisturbed)
  print(kills)
  assert {how for _, how, _ in kills} == {signal.SIGKILL, signal.SIGTERM}
  assert {many for _, _, many in kills} == {1, 2}
  assert {name for name, _, _ in kills} == {'train', 'evaluate', 'certify'}


def until_done(program, arguments, folder, rng, seconds):
  """Kills the first runs of a program, each at some time, until one is left.

  Returns:
    What was done: (program, signal, how many processes it was sent to).
  """
  kills = []
  while True:
    started = start_all(program, arguments, folder, 2, 2)
    if len(kills) == 4:
      finish_all(started)
      return kills
    how = rng.choice([signal.SIGKILL, signal.SIGTERM])
    hit = rng.choice([started, [rng.choice(started)]])
    time.sleep(rng.uniform(2, seconds))
    hit = [process for process in hit if process.poll() is None]
    if not hit:
      finish_all(started)
      return kills
    for process in hit:
      process.send_signal(how)
    begin = time.monotonic()
    codes = [process.wait(timeout=120) for process in started]
    assert time.monotonic() - begin < 60, 'it hung'
    kills.append((program, how, len(hit)))
    for process, code in zip(started, codes, strict=True):
      if process not in hit and code:
        told = words(process)[-1]
        # Who is killed while it starts is not lost: nobody has met it yet.
        early = 'met no others' in told
        assert code == (2 if early else preemption.STATUS), words(process)
        assert early or 'was lost' in told or 'SIGTERM' in told, told

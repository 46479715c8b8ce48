"""SIGTERM is held back while a step of training runs, and ends all else."""

import signal

import pytest

from configs import digits
from experiments import train
from experiments.running import preemption, program
from rdefense import checkpoints


@pytest.fixture
def handler():
  """Puts back what SIGTERM did before."""
  before = signal.getsignal(signal.SIGTERM)
  yield before
  signal.signal(signal.SIGTERM, before)


def test_an_evaluation_ends_at_once(handler, capsys):
  preemption.stop_at_once()

  def main():
    signal.raise_signal(signal.SIGTERM)
    pytest.fail('it went on')

  with pytest.raises(preemption.Stopped) as stopped:
    main()
  assert program.status(stopped.value) == preemption.STATUS == 75
  program.tell(stopped.value)
  assert capsys.readouterr().err.startswith('stopped by SIGTERM; what is')


def test_training_saves_and_goes_on_to_the_same_bits(
  handler, tmp_path, monkeypatch
):
  config = digits.get_config('smoke')
  config.runs.nat.num_steps = 6
  run = dict(config.runs.nat)
  share = train._share

  def stopped_at_the_third(run, step):
    if step == 2:
      signal.raise_signal(signal.SIGTERM)
    return share(run, step)

  train.train(config, tmp_path / 'whole', 'nat')
  with monkeypatch.context() as patched:
    patched.setattr(train, '_share', stopped_at_the_third)
    with pytest.raises(preemption.Stopped):
      train.train(config, tmp_path / 'stopped', 'nat')
  assert signal.getsignal(signal.SIGTERM) == handler
  models = tmp_path / 'stopped/models/nat'
  assert checkpoints.latest_step(models) == 3
  last = train.train(config, tmp_path / 'stopped', 'nat')
  assert last['step'] == run['num_steps'] == 6
  metrics = [tmp_path / name / 'nat.metrics.jsonl'
             for name in ('whole', 'stopped')]  # fmt: skip
  assert metrics[0].read_text() == metrics[1].read_text()


def test_programs_know_what_to_end_with():
  assert program.status(RuntimeError('a bug')) == 1
  assert program.status(FileNotFoundError('a mistake')) == 2
  assert program.status(SystemExit(3)) == 3

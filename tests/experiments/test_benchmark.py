"""What the benchmark does with its competitors; never a time."""

import json

from absl import flags
from absl.testing import flagsaver
import jax
import numpy as np
import pytest

from experiments import benchmark
from experiments.measuring import timing
from rdefense.models import mnist_cnn


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver():
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['benchmark'])
    yield


@pytest.fixture(scope='module')
def batch():
  x = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
  params = mnist_cnn().init(jax.random.key(3), x[0])
  return params, x, np.arange(4, dtype=np.int32)


def test_equal_work_stays_in_the_ball_and_repeats(batch):
  params, x, y = batch
  attack = benchmark.attack(2, 'next', x, y)
  z = attack(params)
  assert 0 < np.abs(z - x).max() <= benchmark._EPS * (1 + 1e-5)
  assert z.min() >= 0 and z.max() <= 1
  np.testing.assert_array_equal(z, attack(params))


def test_quick_figures_are_not_published():
  with flagsaver.flagsaver(quick=True, publish=True):
    with pytest.raises(ValueError, match='publish'):
      benchmark.main(['benchmark'])


def test_what_is_measured_is_published(tmp_path, monkeypatch, capsys):
  path = tmp_path / 'results.json'
  figures = {'a_over_b': timing.Figure(np.array([1.5]))}
  monkeypatch.setattr(timing.publish, 'RESULTS', path)
  monkeypatch.setattr(benchmark, 'measure', lambda size, workdir: figures)
  with flagsaver.flagsaver(publish=True):
    benchmark.main(['benchmark'])
  assert json.loads(path.read_text())['benchmark/a_over_b']['value'] == 1.5
  assert 'a_over_b' in capsys.readouterr().out


@pytest.mark.slow
def test_a_quick_run_measures_everything(monkeypatch):
  # The peers' own code warns and reuses keys; neither is our business.
  with jax.debug_key_reuse(False), jax.numpy_rank_promotion('allow'):
    found = benchmark.measure(benchmark.QUICK)
  assert set(found) > {
    'pgd_step_over_gradient',
    'gradient_over_matmul',
    'training_step_vs_default/wide_resnet',
  }
  for figure in found.values():
    assert np.isfinite(figure.samples).all() and (figure.samples > 0).all()

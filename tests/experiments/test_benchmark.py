"""The benchmark's arithmetic and its peers' networks; never a time."""

import json

from absl import app, flags
from absl.testing import flagsaver
import jax
import numpy as np
import pytest

from experiments import benchmark
from rdefense.losses import cross_entropy
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


def logits_of(params, x):
  return jax.vmap(mnist_cnn().apply, (None, 0))(params, x)


def test_flops_agree_with_the_compilers_count(batch):
  params, x, y = batch

  def gradient(params, x, y):
    def loss(x, y):
      return cross_entropy(mnist_cnn().apply(params, x), y)

    return jax.vmap(jax.grad(loss))(x, y)

  forward = jax.jit(logits_of).lower(params, x).cost_analysis()['flops']
  both = jax.jit(gradient).lower(params, x, y).cost_analysis()['flops']
  count = benchmark.network_flops()
  # The compiler also counts biases, pooling and the softmax.
  assert count < forward / 4 < 1.03 * count
  assert 2 * count < both / 4 < 2 * 1.03 * count


@pytest.mark.parametrize('pool', [benchmark.flax_pool, benchmark.max_pool])
def test_the_flax_peer_is_the_same_network(batch, pool):
  params, x, _ = batch
  theirs = benchmark.FlaxNetwork(pool).apply(benchmark.flax_params(params), x)
  benchmark.check_equal('flax', theirs, logits_of(params, x))


def test_the_torch_peer_is_the_same_network(batch):
  pytest.importorskip('torch')
  params, x, y = batch
  images, labels = benchmark.to_torch(x, y)
  theirs = benchmark.torch_network(params)(images).detach()
  benchmark.check_equal('torch', theirs, logits_of(params, x))
  assert labels.tolist() == y.tolist()


@pytest.mark.parametrize('wrong', [0.01, np.nan])
def test_a_different_network_is_not_measured(wrong):
  with pytest.raises(RuntimeError, match='logits of foo'):
    benchmark.check_equal('foo', np.full((2, 10), wrong), np.zeros((2, 10)))


def test_competitors_take_turns_and_the_first_round_does_not_count():
  calls = []
  seconds = benchmark.take_turns(
    {name: lambda name=name: calls.append(name) for name in 'abc'}, 2
  )
  assert ''.join(calls) == 'abc' * 3
  assert list(seconds) == ['a', 'b', 'c']
  assert all(len(s) == 2 and (s >= 0).all() for s in seconds.values())


def test_equal_work_stays_in_the_ball_and_repeats(batch):
  params, x, y = batch
  attack = benchmark.attack(2, 'next', x, y)
  z = attack(params)
  assert 0 < np.abs(z - x).max() <= benchmark._EPS * (1 + 1e-5)
  assert z.min() >= 0 and z.max() <= 1
  np.testing.assert_array_equal(z, attack(params))


def test_a_figure_is_a_median_between_quartiles():
  figure = benchmark.Figure(np.array([9.0, 1.0, 2.0, 4.0, 3.0]), 'at least 2')
  assert figure.quartiles == [2.0, 3.0, 4.0]
  found = benchmark.entries({'a_over_b': figure})['benchmark/a_over_b']
  assert (found.value, found.low, found.high) == (3.0, 2.0, 4.0)
  assert found.target == 'at least 2' and found.unit == 'times'
  line = benchmark.table({'a_over_b': figure}).splitlines()[1]
  assert line.split() == 'a_over_b 3 2 to 4 at least 2'.split()


def test_a_missing_peer_is_one_sentence(capsys):
  assert benchmark.installed('json')
  assert capsys.readouterr().out == ''
  assert not benchmark.installed('json', 'no_such_peer')
  out = capsys.readouterr().out
  assert out.count('\n') == 1 and 'no_such_peer' in out


def test_quick_figures_are_not_published():
  with flagsaver.flagsaver(quick=True, publish=True):
    with pytest.raises(app.UsageError, match='publish'):
      benchmark.main(['benchmark'])


def test_what_is_measured_is_published(tmp_path, monkeypatch, capsys):
  path = tmp_path / 'results.json'
  figures = {'a_over_b': benchmark.Figure(np.array([1.5]))}
  monkeypatch.setattr(benchmark.publish, 'RESULTS', path)
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
  expected = {'pgd_step_over_gradient', 'gradient_over_matmul'}
  assert expected < set(found)
  for figure in found.values():
    assert np.isfinite(figure.samples).all() and (figure.samples > 0).all()

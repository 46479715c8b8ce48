"""The peers' networks are ours, and different ones are not measured."""

import jax
import numpy as np
import pytest

from experiments.measuring import peers
from rdefense.models import max_pool, mnist_cnn


@pytest.fixture(scope='module')
def batch():
  x = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
  params = mnist_cnn().init(jax.random.key(3), x[0])
  return params, x, np.arange(4, dtype=np.int32)


def logits_of(params, x):
  return jax.vmap(mnist_cnn().apply, (None, 0))(params, x)


@pytest.mark.parametrize('pool', [peers.flax_pool, max_pool])
def test_the_flax_peer_is_the_same_network(batch, pool):
  params, x, _ = batch
  theirs = peers.FlaxNetwork(pool).apply(peers.flax_params(params), x)
  peers.check_equal('flax', theirs, logits_of(params, x))


def test_the_torch_peer_is_the_same_network(batch):
  pytest.importorskip('torch')
  params, x, y = batch
  images, labels = peers.to_torch(x, y)
  theirs = peers.torch_network(params)(images).detach()
  peers.check_equal('torch', theirs, logits_of(params, x))
  assert labels.tolist() == y.tolist()


@pytest.mark.parametrize('wrong', [0.01, np.nan])
def test_a_different_network_is_not_measured(wrong):
  with pytest.raises(RuntimeError, match='logits of foo'):
    peers.check_equal('foo', np.full((2, 10), wrong), np.zeros((2, 10)))


def test_a_missing_peer_is_one_sentence(capsys):
  assert peers.installed('json')
  assert capsys.readouterr().out == ''
  assert not peers.installed('json', 'no_such_peer')
  out = capsys.readouterr().out
  assert out.count('\n') == 1 and 'no_such_peer' in out

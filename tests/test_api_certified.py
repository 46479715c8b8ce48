"""`api.certify` refuses mistakes when made, and lets go of networks."""

import gc
import weakref

import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import api

CODES = np.float32([[0.0], [1.0]])
IMAGES = np.random.default_rng(0).random((3, 2, 3, 1)).astype(np.float32)


def network():
  """Weights, and the classifier that closes over them."""
  weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6)))
  return weights, lambda x: weights @ x.reshape(-1)


@pytest.mark.parametrize(
  ('codes', 'options', 'words'),
  [
    (255 * CODES, {}, 'codes span .0, 255.*divide by 255'),
    (CODES[:, 0], {}, r'codes have shape \(2,\)'),
    (CODES, {'norm': 'l3'}, "norm='l3' is unknown"),
    (CODES, {'max_nodes': 0}, 'max_nodes=0 must be at least 1'),
    (CODES, {'batch_size': 0}, 'batch_size=0 must be at least 1'),
    (CODES, {'leaf_size': 3}, 'leaf_size=3 must be a power of two'),
  ],
)
def test_mistakes_are_told_when_it_is_made(codes, options, words):
  with pytest.raises(ValueError, match=words):
    api.certify(network()[1], codes, **options)


def test_an_option_that_there_is_not_is_refused_when_it_is_made():
  with pytest.raises(TypeError, match='max_node'):
    api.certify(network()[1], CODES, max_node=3)


@pytest.mark.parametrize('label', [0, 1])
def test_a_network_of_nan_decides_nothing(label):
  lost = lambda x: jnp.nan * network()[1](x)
  with pytest.raises(ValueError, match='logits of image 0 are NaN'):
    api.certify(lost, CODES)(IMAGES, np.full(3, label), 0.1)


def test_a_network_is_let_go_of():
  weights, logits_fn = network()
  decide = api.certify(logits_fn, CODES)
  decide(IMAGES, np.zeros(3, int), 0.1)
  held = weakref.ref(weights)
  del weights, logits_fn, decide
  gc.collect()
  assert held() is None

"""Certificates of codes and of votes through the face of the library."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import api, defenses
from rdefense.certify import randomized
from rdefense.certify.randomized import fixed_codes
from rdefense.certify.reachable import reachable
from tests.api.linear import CODES, IMAGES, LABELS, logits_fn


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
    (CODES, {'leaf_size': 2.0}, 'leaf_size=2.0 must be a whole number'),
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
    api.certify(lost, CODES)(IMAGES, np.full(5, label), 0.1)


def test_a_network_is_let_go_of():
  weights, network_fn = network()
  decide = api.certify(network_fn, CODES)
  decide(IMAGES, LABELS % 2, 0.1)
  held = weakref.ref(weights)
  del weights, network_fn, decide
  gc.collect()
  assert held() is None


def test_codes_may_be_a_list_and_logits_are_of_one_image():
  found = api.certify(logits_fn, CODES.tolist())(IMAGES, LABELS, 0.1)
  same = api.certify(logits_fn, CODES)(IMAGES, LABELS, 0.1)
  np.testing.assert_array_equal(found.status, same.status)
  with pytest.raises(ValueError, match=r'gives shape \(\) for one image'):
    api.certify(lambda x: x.sum(), CODES)(IMAGES, LABELS, 0.1)


def test_at_eps_0_certified_is_right_and_refuted_is_wrong():
  """Away from the middle of the codes, where a pixel has no choice."""
  images = np.where(IMAGES < 0.5, 0.3, 0.7).astype(np.float32)
  decide = api.certify(logits_fn, CODES)
  right = (
    api.predict(logits_fn, defenses.nearest_code(CODES))(
      jax.random.key(0), images
    )
    == LABELS
  )
  found = decide(images, LABELS, 0.0)
  assert (found.status == np.where(right, 1, 2)).all()
  wider = decide(images, LABELS, 0.25)  # every pixel may be either code
  assert (wider.lower <= found.lower + 1e-4).all()
  assert (wider.status == 2).all()


def test_randomised_certificates_are_those_of_the_votes():
  codes, sigma = np.array([[0.0], [1.0]]), 0.2
  defense = defenses.rand_disc_fixed(codes, sigma, alpha=40.0)
  images = np.stack([np.full((3, 3, 1), v, np.float32) for v in (0.1, 0.5)])
  logits_fn = lambda x: jnp.stack([0.5 - x.mean(), x.mean() - 0.5])
  certify = api.certify_randomized(
    logits_fn, defense, randomized.fixed_codes(codes, sigma), 100, 0.01
  )
  labels = np.array([0, 1])
  found = certify(jax.random.key(0), images, labels, 0.02)
  assert randomized.best(found)[0] > 0.5  # far from the threshold
  assert randomized.best(found)[1] < 0.2  # on it: a coin
  with pytest.raises(ValueError, match='labels span'):
    certify(jax.random.key(0), images, labels + 1, 0.02)


def test_too_few_votes_are_refused():
  with pytest.raises(ValueError, match='num_votes=5 must be at least 11'):
    api.certify_randomized(None, None, None, num_votes=5)


def test_shares_spend_the_delta_they_are_given():
  seen = []

  def spy(images, eps, shares):
    seen.append(shares)
    return shares

  defense = defenses.gaussian(0.2)
  logits_fn = lambda x: jnp.stack([0.5 - x.mean(), x.mean() - 0.5])
  images = np.full((1, 3, 3, 1), 0.1, np.float32)
  for delta in (0.2, 0.001):
    certify = api.certify_randomized(logits_fn, defense, spy, 100, delta)
    (shares,) = certify(jax.random.key(0), images, np.array([0]), 0.02)
    # All of 100 votes are right: the exact bound is (delta / 2)^(1 / 100).
    np.testing.assert_allclose(shares[0], (delta / 2) ** 0.01, rtol=1e-6)


@pytest.mark.parametrize('norm', ['linf', 'l2', 'l1'])
def test_certificates_are_of_the_norm_they_are_asked_for(norm):
  rng = np.random.default_rng(0)
  weights = rng.normal(size=(3, 12)).astype(np.float32)
  logits_fn = lambda x: jnp.asarray(weights) @ x.reshape(-1)
  codes = rng.random((4, 3), np.float32)
  images = rng.random((20, 2, 2, 3), np.float32)
  predict = api.predict(logits_fn, defenses.nearest_code(codes, norm=norm))
  labels = predict(jax.random.key(0), images)
  found = api.certify(logits_fn, codes, norm)(images, labels, 0.03)
  ambiguous = [
    (reachable(x, codes, 0.03, norm).sum(-1) > 1).sum() for x in images
  ]
  np.testing.assert_array_equal(found.ambiguous, ambiguous)
  certified, refuted = found.status == 1, found.status == 2
  for _ in range(20):
    noise = rng.uniform(-0.03, 0.03, images.shape)
    z = np.clip(images + noise, 0, 1).astype(np.float32)
    same = predict(jax.random.key(0), z) == labels
    assert same[certified].all()
  fooled = predict(jax.random.key(0), found.witness) != labels
  assert fooled[refuted].all() and refuted.any()


def test_votes_of_a_defense_that_draws_nothing_prove_nothing(key):
  certify = api.certify_randomized(
    logits_fn, defenses.nearest_code(CODES), fixed_codes(CODES, 0.2), 60
  )
  with pytest.raises(ValueError, match='draws nothing, .* take api.certify'):
    certify(key, IMAGES, LABELS, 0.05)


def test_a_mistake_is_told_before_any_vote(key):
  drawn = []

  def counted(image):
    jax.debug.callback(lambda: drawn.append(1))
    return logits_fn(image)

  noisy = defenses.rand_disc_fixed(CODES, 0.2, 40.0)
  certify = api.certify_randomized(counted, noisy, fixed_codes(CODES, 0.2), 60)
  with pytest.raises(ValueError, match='eps=3 '):
    certify(key, IMAGES, LABELS, 3)
  assert not drawn
  with pytest.raises(ValueError, match='certifier=0.2 is no function'):
    api.certify_randomized(logits_fn, noisy, 0.2)
  with pytest.raises(ValueError, match='sigma=8'):
    fixed_codes(CODES, 8)
  with pytest.raises(ValueError, match='span'):
    fixed_codes([[0.0], [2.0]], 0.2)


def test_images_may_be_a_list():
  decide = api.certify(logits_fn, CODES, max_nodes=4)
  found = decide(list(IMAGES), list(LABELS), 0.0)
  assert (found.status == decide(IMAGES, LABELS, 0.0).status).all()

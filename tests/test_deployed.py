"""What the deployed pipeline says: draw by draw, whatever the batch."""

import jax
import numpy as np
import pytest

from rdefense import deployed, losses
from rdefense.defenses import Defense, gaussian, identity
from rdefense.parallel import layout

RNG = np.random.default_rng(4)
PARAMS = RNG.normal(size=(3, 12)).astype(np.float32)
IMAGES = RNG.random((7, 2, 2, 3), np.float32)
INDEX = np.array([3, 1, 4, 15, 9, 2, 6])


def apply(params, x):
  return params @ x.ravel()


def noise(codes, alpha):
  del codes, alpha
  fn = lambda key, x: x + 0.3 * jax.random.normal(key, x.shape)
  return Defense(fn, fn)


PLAIN = deployed.Target(apply, lambda codes, alpha: identity(), PARAMS)
NOISY = deployed.Target(apply, noise, PARAMS, num_draws=5)
LOGITS = IMAGES.reshape(7, -1) @ PARAMS.T
LABELS = LOGITS.argmax(1)


def judged(target, rows=slice(None), where=None):
  key = jax.random.key(0)
  return deployed.judge(
    target, key, INDEX[rows], IMAGES[rows], LABELS[rows], where
  )


def test_a_deterministic_pipeline_is_asked_once():
  draws, margins = judged(PLAIN)
  np.testing.assert_array_equal(draws, LABELS[:, None])
  top = np.sort(LOGITS, 1)
  np.testing.assert_allclose(margins, top[:, -1] - top[:, -2], atol=1e-5)


def test_draws_belong_to_examples_not_to_batches():
  draws, margins = judged(NOISY)
  assert draws.shape == (7, 5) and len(np.unique(draws)) > 1
  one_device = layout(jax.devices()[:1])
  for rows in (slice(0, 1), slice(2, 7)):
    some, their_margins = judged(NOISY, rows, one_device)
    np.testing.assert_array_equal(some, draws[rows])
    np.testing.assert_allclose(their_margins, margins[rows], atol=1e-5)


def test_fewer_than_no_draws_are_an_error():
  with pytest.raises(ValueError, match='num_draws=-2 must be at least 0'):
    judged(NOISY._replace(num_draws=-2))


def test_logits_that_are_none_are_no_class():
  broken = PARAMS.copy()
  broken[1, 0] = np.nan
  with pytest.raises(ValueError, match='logits of image 3 are NaN'):
    judged(PLAIN._replace(params=broken))


def test_margins_are_means_over_draws_that_have_keys_of_their_own(key):
  noise, labels = gaussian(0.3), np.array([0, 1, 2, 0, 1, 2, 0])
  target = deployed.Target(apply, lambda *_: noise, PARAMS, num_draws=5)
  draws, margin = deployed.judge(target, key, INDEX, IMAGES, labels)
  for row, (index, image) in enumerate(zip(INDEX, IMAGES, strict=True)):
    logits = []
    for draw in range(5):
      own = jax.random.fold_in(jax.random.fold_in(key, draw), index)
      logits.append(apply(PARAMS, noise.apply(own, image)))
    assert draws[row].tolist() == [int(drawn.argmax()) for drawn in logits]
    mean = np.mean([losses.margin(drawn, labels[row]) for drawn in logits])
    np.testing.assert_allclose(margin[row], mean, atol=1e-5)

"""Bad images, labels, options and keys are refused by every call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import api, attacks, defenses, losses
from tests.api.linear import (
  CODES,
  IMAGES,
  LABELS,
  NOISY,
  SHAPE,
  logits_fn,
  make_attack,
)

CALLS = {
  'transform': lambda images, labels: api.transform(defenses.binning(2))(
    jax.random.key(0), images
  ),
  'predict': lambda images, labels: api.predict(logits_fn, defenses.identity())(
    jax.random.key(0), images
  ),
  'accuracy': lambda images, labels: api.accuracy(
    logits_fn, defenses.identity()
  )(jax.random.key(0), images, labels),
  'attack': lambda images, labels: make_attack()(
    jax.random.key(0), images, labels
  ),
  'certify': lambda images, labels: api.certify(logits_fn, CODES)(
    images, labels, 0.1
  ),
}


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize(
  'images, message',
  [
    (255 * IMAGES, 'divide by 255'),
    (2 * IMAGES - 2, 'undo the normalisation'),
    (np.full_like(IMAGES, np.nan), 'NaN'),
    (IMAGES[0], 'add a batch axis'),
    (IMAGES[:0], 'empty batch'),
    (np.ones(IMAGES.shape, int), 'dtype int64'),
  ],
  ids=['bytes', 'normalised', 'nan', 'rank', 'empty', 'integers'],
)
def test_bad_images_are_refused_everywhere(name, images, message):
  with pytest.raises(ValueError, match=message):
    CALLS[name](images, LABELS[: len(images)])


@pytest.mark.parametrize('name', ['accuracy', 'attack'])
@pytest.mark.parametrize(
  'labels, message',
  [
    (LABELS[:-1], r'\(4,\) for 5 images'),
    (np.eye(3)[LABELS], 'one-hot'),
    (LABELS + 3, 'classes 0 to 2'),
    (LABELS - 3, 'classes 0 to 2'),
    (LABELS.astype(float), 'expected integers'),
  ],
  ids=['count', 'one-hot', 'too-large', 'negative', 'floats'],
)
def test_bad_labels_are_refused(name, labels, message):
  with pytest.raises(ValueError, match=message):
    CALLS[name](IMAGES, labels)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'backward': 'none'}, 'backward'),
    ({'start': 'middle'}, 'start'),
    ({'num_restarts': 0}, 'num_restarts=0'),
    ({'num_steps': -1}, 'num_steps=-1 must be at least 0'),
    ({'num_steps': 3.0}, 'num_steps=3.0 must be a whole number'),
    ({'num_draws': 2.5}, 'num_draws=2.5 must be a whole number'),
    ({'average': 'median'}, "average='median' is unknown"),
    ({'defense': lambda x: x}, 'defense=.* has no `apply`.*Defense of two'),
    ({'threat': 0.3}, r'threat=0.3 is none: .* linf\(0.1\)'),
    ({'tx': attacks.sign}, r'tx=.* is no Optax .* attacks.sign\(0.02\)'),
    ({'loss': 'margin'}, "loss='margin' is no function of logits"),
    ({'loss': losses.cw}, r'loss=.* is no function of logits .*cw\(50.0\)'),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_bad_options_are_refused_before_any_image(options, message):
  with pytest.raises(ValueError, match=message):
    make_attack(**options)


@pytest.mark.parametrize(
  'bad, message',
  [
    (0, 'key=0 is no random key'),
    (None, 'key=None is no random key'),
    (np.zeros((2, 2), np.uint32), 'no random key'),
    (jax.random.split(jax.random.key(0)), r'shape \(2,\): give one key'),
  ],
  ids=['seed', 'none', 'raw-keys', 'keys'],
)
def test_what_is_no_key_is_refused(bad, message):
  calls = {
    'transform': lambda: api.transform(NOISY)(bad, IMAGES),
    'predict': lambda: api.predict(logits_fn, NOISY)(bad, IMAGES),
    'accuracy': lambda: api.accuracy(logits_fn, NOISY)(bad, IMAGES, LABELS),
    'attack': lambda: make_attack()(bad, IMAGES, LABELS),
  }
  for call in calls.values():
    with pytest.raises(ValueError, match=message):
      call()


def test_a_raw_key_is_a_key():
  run = make_attack()
  raw = run(jax.random.PRNGKey(3), IMAGES, LABELS)
  np.testing.assert_array_equal(raw, run(jax.random.key(3), IMAGES, LABELS))


@pytest.mark.parametrize(
  'logits_fn, shape',
  [(lambda x: x.sum(), r'\(\)'), (lambda x: jnp.zeros((5, 3)), r'\(5, 3\)')],
  ids=['scalar', 'batched'],
)
def test_logits_of_a_batch_are_refused(key, logits_fn, shape):
  call = logits_fn, defenses.identity()
  for run in (
    lambda: api.accuracy(*call)(key, IMAGES, LABELS),
    lambda: api.predict(*call)(key, IMAGES),
  ):
    with pytest.raises(ValueError, match=f'gives shape {shape} for one image'):
      run()


@pytest.mark.parametrize('transform', [jax.jit, jax.vmap, jax.grad])
def test_api_inside_what_compiles_is_told(transform, key):
  run = lambda images: api.transform(defenses.binning(2))(key, images).sum()
  with pytest.raises(ValueError, match='images are traced: rdefense.api'):
    transform(run)(jnp.asarray(IMAGES))


def test_logits_that_are_none_are_no_class(key):
  lost = lambda x: jnp.log(x.mean() - 0.5 + jnp.zeros(3))
  images = np.stack([np.full(SHAPE, v, np.float32) for v in (0.9, 0.8, 0.2)])
  with pytest.raises(ValueError, match='logits of image 2 are NaN'):
    api.predict(lost, defenses.identity())(key, images)


@pytest.mark.parametrize(
  'classifier, message',
  [
    (3, 'logits_fn=3 is no function of one image'),
    (lambda params, x: x.reshape(-1), 'is no function of one image .*lambda'),
    (lambda x: (x.reshape(-1), {}), 'gives a tuple, expected an array'),
  ],
  ids=['a number', 'apply of a network', 'a pair'],
)
def test_what_is_no_classifier_is_refused(classifier, message, key):
  defense = defenses.identity()
  with pytest.raises(ValueError, match=message):
    api.accuracy(classifier, defense)(key, IMAGES, LABELS)
  with pytest.raises(ValueError, match=message):
    api.predict(classifier, defense)(jax.random.key(0), IMAGES)
  with pytest.raises(ValueError, match=message):
    api.certify(classifier, CODES)(IMAGES, LABELS, 0.1)

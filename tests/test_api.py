"""The notebook's face: right answers on whole batches, clear refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import api, attacks, defenses, losses, threats
from rdefense.certify import randomized

SHAPE = (2, 3, 1)
RNG = np.random.default_rng(9)
W = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
W -= W.mean((1, 2, 3), keepdims=True)  # so that small changes decide
IMAGES = RNG.uniform(0.4, 0.6, (5, *SHAPE)).astype(np.float32)
logits_fn = lambda x: (jnp.asarray(W) * x[None]).sum((1, 2, 3))
LABELS = np.einsum('khwc,bhwc->bk', W, IMAGES).argmax(1)
CODES = np.float32([[0.0], [1.0]])
NOISY = defenses.Defense(
  lambda key, x: x + jax.random.normal(key, x.shape),
  lambda key, x: x + jax.random.normal(key, x.shape),
)


def make_attack(defense=None, num_steps=4, **options):
  parts = {
    'threat': threats.linf(0.1),
    'loss': losses.margin,
    'tx': attacks.steepest('linf', 0.1),
  }
  return api.attack(
    logits_fn,
    defense or defenses.identity(),
    num_steps=num_steps,
    **(parts | options),
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
  accuracy = api.accuracy(logits_fn, defenses.identity())
  with pytest.raises(ValueError, match=f'gives shape {shape} for one image'):
    accuracy(key, IMAGES, LABELS)


@pytest.mark.parametrize('surrogate', [False, True])
def test_transform_is_the_defense_on_each_image(surrogate, key):
  defense = defenses.binning(3)
  got = api.transform(defense, surrogate)(key, IMAGES)
  fn = defense.surrogate if surrogate else defense.apply
  # Compiled or not, sums of three products may round differently.
  expected = jax.vmap(fn, (None, 0))(key, IMAGES)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_example_i_has_the_key_folded_with_i(key):
  got = api.transform(NOISY)(key, IMAGES)
  for i, image in enumerate(got):
    noise = jax.random.normal(jax.random.fold_in(key, i), SHAPE)
    np.testing.assert_allclose(image, IMAGES[i] + noise, rtol=1e-5, atol=1e-6)
  assert len(np.unique(got - IMAGES)) == IMAGES.size


def test_predictions_and_accuracy_are_those_of_numpy(key):
  predict = api.predict(logits_fn, defenses.identity())
  np.testing.assert_array_equal(predict(key, IMAGES), LABELS)
  accuracy = api.accuracy(logits_fn, defenses.identity())
  wrong = LABELS.copy()
  wrong[:2] = (wrong[:2] + 1) % 3
  assert accuracy(key, IMAGES, LABELS) == 1.0
  assert accuracy(key, IMAGES, wrong) == pytest.approx(0.6)


@pytest.mark.parametrize(
  'convert',
  [np.asarray, jnp.asarray, lambda a: a.astype('f8'), lambda a: a.tolist()],
  ids=['numpy', 'jax', 'float64', 'list'],
)
def test_arrays_of_other_libraries_and_lists_are_welcome(convert, key):
  accuracy = api.accuracy(logits_fn, defenses.identity())
  labels = LABELS.tolist()
  assert accuracy(key, convert(IMAGES), labels) == 1.0


def test_an_attack_finds_the_worst_corner_of_a_linear_classifier(key):
  # Two classes, so that the margin is linear: its minimum is a corner.
  w = W[0] - W[1]
  logit = (w * IMAGES).sum((1, 2, 3))
  run = api.attack(
    lambda x: jnp.stack([(w * x).sum(), 0.0]),
    defenses.identity(),
    threats.linf(0.01),
    losses.margin,
    attacks.steepest('linf', 0.01),
    num_steps=3,
    num_restarts=2,
  )
  z = run(key, IMAGES, (logit < 0).astype(int))
  attacked = (w * z).sum((1, 2, 3)) * np.sign(logit)
  expected = np.abs(logit) - 0.01 * np.abs(w).sum()
  corner = np.abs(attacked - expected) < 1e-5
  assert (corner | (attacked < 0)).all()  # it stops once it has won
  assert corner.any()
  assert (attacked < np.abs(logit)).all()
  assert np.abs(z - IMAGES).max() <= 0.01 + 2**-24


def test_attacked_images_lose_accuracy_and_stay_in_the_threat(key):
  defense = defenses.binning(9)
  key_attack, key_judge = jax.random.split(key)
  z = make_attack(defense, backward='identity', num_steps=8)(
    key_attack, IMAGES, LABELS
  )
  assert z.shape == IMAGES.shape and z.dtype == np.float32
  assert np.abs(z - IMAGES).max() <= 0.1 + 2**-24
  accuracy = api.accuracy(logits_fn, defense)
  clean = accuracy(jax.random.clone(key_judge), IMAGES, LABELS)
  assert accuracy(key_judge, z, LABELS) < clean


def test_the_same_key_gives_the_same_images_and_no_image_is_changed(key):
  run, before = make_attack(start='random'), IMAGES.copy()
  first = run(key, IMAGES, LABELS)
  again = run(jax.random.clone(key), IMAGES, LABELS)
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(IMAGES, before)


def test_any_optax_chain_is_an_attack(key):
  run = api.attack(
    logits_fn,
    defenses.binning(9),
    threats.l2(0.5),
    losses.cross_entropy,
    optax.adam(0.05),
    num_steps=3,
    backward='surrogate',
    start='clean',
  )
  z = run(key, IMAGES, LABELS)
  gap = np.sqrt(((z - IMAGES).astype(np.float64) ** 2).sum((1, 2, 3)))
  assert (gap <= 0.5 * (1 + 1e-5)).all() and gap.max() > 0


def test_a_randomised_defense_is_attacked_on_the_mean_of_its_draws():
  """Noise of standard deviation 1 hides weights of some tenths."""
  run = make_attack(NOISY, num_steps=3, num_draws=200, start='clean')
  z = run(jax.random.key(0), IMAGES, LABELS)
  best = make_attack(num_steps=3, start='clean')
  # Linear logits: the true gradient does not depend on the noise, but which
  # class is second does, so the corner is that of the most frequent one.
  assert np.abs(z - IMAGES).max() <= 0.1 + 6e-8
  margins = [
    np.mean([losses.margin(logits_fn(a), y) for a, y in zip(images, LABELS)])
    for images in (IMAGES, z, best(jax.random.key(0), IMAGES, LABELS))
  ]
  assert margins[1] < margins[0] - 0.5 * (margins[0] - margins[2])


@pytest.mark.parametrize(
  'defense',
  [
    NOISY,
    defenses.chain(defenses.gaussian(0.02), defenses.nearest_code(CODES)),
  ],
  ids=['noise', 'codes behind noise'],
)
def test_a_randomised_defense_is_not_attacked_on_its_luckiest_draw(
  defense, key
):
  """Behind codes, noise makes nothing of a black image."""
  images = np.concatenate([np.zeros_like(IMAGES[:1]), IMAGES])
  with pytest.raises(ValueError, match='num_draws=0 is for a deterministic'):
    make_attack(defense)(key, images, [0, *LABELS])


@pytest.mark.parametrize('target', [1, 2])
def test_an_attack_towards_a_class_makes_it_win(target, key):
  network = lambda x: jnp.append(0.0, x.ravel() - 0.6)
  images = np.full((2, 1, 2, 1), 0.5, np.float32)
  z = api.attack(
    network,
    defenses.identity(),
    threats.linf(0.3),
    losses.towards_class(losses.margin, target),
    attacks.sign(0.05),
    num_steps=6,
    start='clean',
  )(key, images, [0, 0])
  classes = api.predict(network, defenses.identity())
  assert classes(jax.random.key(1), z).tolist() == [target, target]


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

"""Gaussian noise, RandDisc and RandMix: keys, limits, derivatives."""

# Shapes are few: most of the time goes into compiling random numbers.

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rdefense.defenses import nearest_code
from rdefense.defenses.assignment import mixture, nearest_center
from rdefense.defenses.centers import (
  adaptive,
  fixed,
  iterated_kmeans,
  sampled,
)
from rdefense.defenses.randomized import (
  discretize_with,
  gaussian,
  rand_disc,
  rand_disc_fixed,
  rand_disc_steep,
  rand_mix,
  rand_mix_fixed,
)

CODES = np.float32([[0.1, 0.2, 0.9], [0.8, 0.3, 0.1], [0.5, 0.9, 0.4]])
OPTIONS = dict(sigma=0.1, tau=0.1, num_centers=3, num_samples=20, gamma=40.0)
TINY = 1e-9  # noise that does not move a float32 between 0.1 and 1

MEMBERS = {
  'gaussian': lambda: gaussian(0.1),
  'rand_disc': lambda: rand_disc(**OPTIONS, alpha=40.0),
  'rand_mix': lambda: rand_mix(**OPTIONS, alpha=40.0),
  'rand_disc_steep': lambda: rand_disc_steep(**OPTIONS, alpha=40.0),
  'rand_disc_fixed': lambda: rand_disc_fixed(CODES, 0.1, 40.0),
  'rand_mix_fixed': lambda: rand_mix_fixed(CODES, 0.1, 40.0),
}


@pytest.fixture
def x():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform(0.1, 1, (6, 5, 3)), jnp.float32)


def twice(fn, key, x):
  """`fn` with the same key again, on purpose."""
  return fn(jax.random.clone(key), x)


# ------------------------------------------------------------------ keys


@pytest.mark.parametrize('name', MEMBERS)
def test_a_key_determines_the_image_and_another_gives_another(name, x, key):
  for fn in MEMBERS[name]():
    first = twice(fn, key, x)
    assert first.shape == x.shape and first.dtype == jnp.float32
    np.testing.assert_array_equal(twice(fn, key, x), first)
    other = fn(jax.random.fold_in(jax.random.clone(key), 1), x)
    assert (abs(other - first) > 1e-2).any()


def test_one_key_is_one_noise_and_one_choice_of_centers(x, key):
  seen = []

  def spy(pixels, centers):
    seen.append((pixels, centers))
    return pixels

  for find in (
    sampled(adaptive(3, 40.0), 20, 0.1),
    sampled(iterated_kmeans(3, 2), 20, 0.1),
    fixed(CODES),
  ):
    for fn in discretize_with(find, 0.1, spy, spy):
      twice(fn, key, x)
  pixels, centers = seen[0]
  for other, _ in seen:
    np.testing.assert_array_equal(other, pixels)
  for (_, one), (_, other) in zip(seen[::2], seen[1::2]):
    np.testing.assert_array_equal(one, other)
  # What the paper's names give for that key.
  disc = rand_disc(**OPTIONS, alpha=40.0)
  mix = rand_mix(**OPTIONS, alpha=40.0)
  hard = nearest_center(pixels, centers)
  soft = mixture(pixels, centers, 40.0)
  np.testing.assert_array_equal(twice(disc.apply, key, x), hard)
  for fn in (disc.surrogate, mix.apply, mix.surrogate):
    np.testing.assert_array_equal(twice(fn, key, x), soft)


def test_steepness_of_deployed_and_surrogate_mixtures(x, key):
  # Each side equals the plain mixture of that steepness, to the bit.
  by_alpha = {
    alpha: twice(rand_mix(**OPTIONS, alpha=alpha).apply, key, x)
    for alpha in (40.0, 200.0, 400.0)
  }
  for defense, hard, soft in (
    (rand_disc_steep(**OPTIONS, alpha=40.0), 400.0, 40.0),
    (rand_disc_steep(**OPTIONS, alpha=40.0, steep_alpha=200.0), 200.0, 40.0),
    (rand_mix(**OPTIONS, alpha=200.0, surrogate_alpha=40.0), 200.0, 40.0),
  ):
    for fn, alpha in zip(defense, (hard, soft)):
      np.testing.assert_array_equal(twice(fn, key, x), by_alpha[alpha])
  fixed_mix = rand_mix_fixed(CODES, 0.1, 200.0, surrogate_alpha=40.0)
  for fn, alpha in zip(fixed_mix, (200.0, 40.0)):
    alone = rand_mix_fixed(CODES, 0.1, alpha).apply
    np.testing.assert_array_equal(twice(fn, key, x), twice(alone, key, x))


# ----------------------------------------------------------------- noise


def test_gaussian_adds_normal_noise_without_clipping(key):
  x = jnp.ones((60, 60, 3))
  defense = gaussian(0.15)
  noise = np.asarray(defense.apply(key, x) - x)
  assert stats.kstest(noise.ravel() / 0.15, 'norm').pvalue > 1e-3
  assert noise.max() > 0.3  # beyond white
  np.testing.assert_array_equal(twice(defense.surrogate, key, x) - x, noise)
  grad = jax.grad(lambda x: twice(defense.apply, key, x).sum())(x)
  np.testing.assert_array_equal(grad, 1)


def test_noise_on_pixels_and_on_samples_is_independent():
  # Of one key: the noise on a pixel, and that on the centre that copies it.
  x = jnp.full((1, 1, 1), 0.5)

  def run(key):
    spy = lambda pixels, centers: jnp.stack([pixels[0, 0], centers[0]])
    find = sampled(adaptive(1, 0.0), 1, 0.1)
    return discretize_with(find, 0.1, spy, spy).apply(key, x)

  both = np.asarray(jax.vmap(run)(jax.random.split(jax.random.key(1), 4000)))
  correlation = np.corrcoef(both[..., 0].T)[0, 1]
  assert abs(correlation) < 4 / np.sqrt(4000)  # four standard errors
  for i in range(2):
    scaled = (both[:, i, 0] - 0.5) / 0.1
    assert stats.kstest(scaled, 'norm').pvalue > 1e-3


# ---------------------------------------------------------------- limits


def test_without_noise_gaussian_is_the_identity(x, key):
  np.testing.assert_array_equal(gaussian(TINY).apply(key, x), x)


def test_without_noise_fixed_centers_are_nearest_code(x, key):
  defense = rand_disc_fixed(CODES, TINY, 40.0)
  expected = nearest_code(CODES, norm='l2').apply(jax.random.clone(key), x)
  np.testing.assert_array_equal(defense.apply(key, x), expected)


def test_without_noise_fixed_mixtures_are_soft_assignments(x, key):
  got = rand_mix_fixed(CODES, TINY, 40.0).apply(key, x)
  square = ((np.float64(x)[:, :, None] - CODES) ** 2).sum(-1)
  weight = np.exp(-40 * square)
  expected = weight @ CODES / weight.sum(-1, keepdims=True)
  # An error of 1e-7 in x moves the mixture by at most 80 times that.
  np.testing.assert_allclose(got, expected, atol=1e-5)


def test_without_noise_rand_disc_gives_pixels_of_the_image(x, key):
  options = OPTIONS | dict(sigma=TINY, tau=TINY)
  out = rand_disc(**options, alpha=40.0).apply(key, x)
  colours = {tuple(v) for v in np.asarray(out).reshape(-1, 3).tolist()}
  assert len(colours) <= 3
  assert colours <= {tuple(v) for v in np.asarray(x).reshape(-1, 3).tolist()}


def test_as_alpha_grows_rand_mix_tends_to_rand_disc(x, key):
  hard = rand_disc(**OPTIONS, alpha=40.0).apply(key, x)
  share = [
    float(
      (abs(twice(rand_mix(**OPTIONS, alpha=a).apply, key, x) - hard) < 1e-3)
      .all(-1)
      .mean()
    )
    for a in (10.0, 100.0, 1e7)
  ]
  assert share[0] < share[1] < share[2] == 1


def test_a_two_tone_image_is_restored_from_its_noise(key):
  clean = jnp.zeros((6, 5, 3)).at[2:4].set(1.0)
  options = OPTIONS | dict(num_centers=2)
  out = np.asarray(rand_disc(**options, alpha=40.0).apply(key, clean))
  assert len(np.unique(out.reshape(-1, 3), axis=0)) == 2
  # Black and white are 17 standard deviations of the noise apart.
  np.testing.assert_array_equal(out > 0.5, clean > 0.5)


# ----------------------------------------------------------- derivatives


def test_the_gradient_of_rand_mix_is_its_difference_quotient():
  # For one key in float64: moving a pixel by 1e-6 changes no choice, so the
  # quotient sees the values of the centres and not their probabilities.
  rng = np.random.default_rng(0)
  defense = rand_mix(0.1, 0.1, 3, 12, 8.0, 20.0)
  with jax.enable_x64(True):
    x = jnp.asarray(rng.uniform(size=(3, 4, 2)))
    slope = jnp.asarray(rng.normal(size=x.shape))

    @jax.jit
    def f(x):
      return (defense.surrogate(jax.random.key(3), x) * slope).sum()

    got = np.asarray(jax.grad(f)(x)).ravel()
    step = 1e-6
    basis = step * np.eye(x.size).reshape(-1, *x.shape)
    numeric = [float(f(x + e) - f(x - e)) / (2 * step) for e in basis]
  # Curvature of about alpha^2 times the squared step, and rounding / step.
  np.testing.assert_allclose(got, numeric, atol=1e-7)
  assert abs(got).max() > 0.1


def test_other_numbers_are_not_compiled_again(x):
  traces = []

  @jax.jit
  def run(codes, sigma, tau, gamma, alpha):
    traces.append(None)
    key, other = jax.random.split(jax.random.key(0))
    return (
      rand_disc(sigma, tau, 2, 9, gamma, alpha).surrogate(key, x),
      rand_mix_fixed(codes, sigma, alpha).apply(other, x),
    )

  one = run(CODES, *np.float32([0.1, 0.1, 40, 40]))
  other = run(CODES / 2, *np.float32([0.2, 0.3, 10, 5]))
  assert len(traces) == 1
  assert not any(np.allclose(a, b) for a, b in zip(one, other))


# ------------------------------------------------------------- bad input


@pytest.mark.parametrize(
  'change, message',
  [
    ({'sigma': 0.0}, 'sigma=0.0 .*positive'),
    ({'sigma': -0.1}, 'sigma=-0.1 '),
    ({'sigma': 32}, 'sigma=32 is larger than 1.*divide by 255'),
    ({'tau': 0}, 'tau=0 .*positive'),
    ({'tau': 32}, 'tau=32 is larger than 1.*divide by 255'),
    ({'alpha': 0.0}, 'alpha=0.0 .*positive'),
    ({'alpha': -40.0}, '^alpha=-40.0 '),
    ({'alpha': np.inf}, 'alpha=inf .*finite'),
    ({'gamma': -1.0}, 'gamma=-1.0 .*at least 0'),
    ({'gamma': np.inf}, 'gamma=inf .*finite'),
    ({'num_centers': 0}, 'num_centers=0 .*at least 1'),
    ({'num_samples': 0}, 'num_samples=0 .*at least 1'),
    ({'num_centers': 21}, 'num_centers=21 exceeds num_samples=20'),
  ],
  ids=str,
)
@pytest.mark.parametrize('build', [rand_disc, rand_mix, rand_disc_steep])
def test_bad_arguments_are_named(build, change, message):
  with pytest.raises(ValueError, match=message):
    build(**(OPTIONS | {'alpha': 40.0} | change))


@pytest.mark.parametrize(
  'build, message',
  [
    (lambda: gaussian(0), 'sigma=0 .*positive'),
    (lambda: gaussian(float('nan')), 'sigma=nan'),
    (lambda: rand_mix(**OPTIONS, alpha=1, surrogate_alpha=0), 'gate_alpha=0 '),
    (lambda: rand_disc_steep(**OPTIONS, alpha=1, steep_alpha=0), 'steep_alpha'),
    (lambda: rand_disc_fixed(CODES, 0.0, 1.0), 'sigma=0.0 '),
    (lambda: rand_disc_fixed(CODES, 0.1, 0.0), 'alpha=0.0 '),
    (lambda: rand_mix_fixed(CODES, 0.1, -1.0), '^alpha=-1.0 '),
    (lambda: rand_mix_fixed(CODES, 0.1, 1.0, 0.0), 'surrogate_alpha=0.0 '),
    (lambda: rand_disc_fixed(CODES[0], 0.1, 1.0), r'shape \(3,\)'),
    (lambda: rand_mix_fixed(255 * CODES, 0.1, 1.0), 'divide by 255'),
  ],
)
def test_bad_arguments_of_the_others_are_named(build, message):
  with pytest.raises(ValueError, match=message):
    build()


@pytest.mark.parametrize('build', [rand_disc_fixed, rand_mix_fixed])
@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_an_image_of_other_channels_is_refused(build, side, key):
  fn = getattr(build(CODES, 0.1, 40.0), side)
  message = 'image has 1 channels, the codes have 3'
  with pytest.raises(ValueError, match=message):
    fn(key, jnp.zeros((2, 2, 1)))

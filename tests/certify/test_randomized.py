"""Certificates of randomised defenses against attacks whose effect is exact."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rdefense import defenses
from rdefense.certify import randomized
from rdefense.certify.cells import law, midpoints, reach
from rdefense.defenses import centers
from rdefense.threats import linf

CODES = np.array([[0.0], [1.0]])
SIGMA = 0.15


def _laws(image, codes):
  """Of every outcome of a few pixels behind k codes, `[k^n]`."""
  thresholds, found = midpoints(codes[:, 0]), np.ones(1)
  for value in image.reshape(-1):
    found = np.outer(found, law(np.array(value), thresholds, SIGMA))
    found = found.reshape(-1)
  return found


@settings(max_examples=40)
@given(
  st.lists(st.floats(0, 1), min_size=2, max_size=4),
  st.integers(0, 10_000),
  st.sampled_from([0.02, 0.1, 0.25]),
  st.sampled_from([CODES, np.array([[0.9], [0.2], [0.6]])]),
)
def test_no_attack_gets_below_a_certificate(pixels, seed, eps, codes):
  """Random classifiers of all outcomes, random and corner attacks: exact."""
  image = np.float32(pixels).reshape(1, 1, -1, 1)
  rng = np.random.default_rng(seed)
  classes = rng.integers(0, 3, len(codes) ** len(pixels))
  clean = np.bincount(classes, _laws(image, codes), minlength=3)
  label = clean.argmax()
  others = np.delete(np.arange(3), label)
  shares = np.array([[clean[label], 1 - clean[others].max()]])
  found = randomized.fixed_codes(codes, SIGMA)(image, eps, shares)
  bound = randomized.best(found)[0]
  steps = [-1, 0, 1]
  moves = [*itertools.product(steps, repeat=len(pixels))]
  moves += [*rng.uniform(-1, 1, (20, len(pixels)))]
  for move in moves:
    attacked = np.clip(image.reshape(-1) + eps * np.array(move), 0, 1)
    after = np.bincount(classes, _laws(attacked, codes), minlength=3)
    assert after[label] - after[others].max() >= bound - 1e-6
  for name, margin in found.margin.items():
    assert margin[0] <= bound, name


def test_noise_alone_is_cohens_radius():
  image = np.full((1, 10, 10, 1), 0.5, np.float32)
  shares = np.array([[0.95, 0.97]])
  found = randomized.noise_alone(0.5)(image, 0.02, shares)
  moved = reach(0.02) * 10 / 0.5
  least = stats.norm.cdf(stats.norm.ppf(shares[0]) - moved)
  np.testing.assert_allclose(
    found.margin['neyman_pearson'], [least.sum() - 1], atol=1e-5
  )
  np.testing.assert_allclose(found.divergence, [moved**2 / 2], rtol=1e-5)


def test_bounds_of_noise_are_in_their_order():
  image = np.random.default_rng(0).random((4, 5, 5, 3)).astype(np.float32)
  shares = np.full((4, 2), 0.98)
  margin = randomized.noise_alone(0.3)(image, 0.02, shares).margin
  assert (margin['pinsker'] <= margin['kl'] + 1e-8).all()
  for name in ('kl', 'renyi'):
    assert (margin[name] <= margin['neyman_pearson'] + 1e-8).all()


@pytest.mark.parametrize(
  'shares, words',
  [
    (np.array([0.99, 0.9, 0.9]), r'shape \(3,\) for 3 images'),
    ([[0.99, 0.99]], r'shape \(1, 2\) for 3 images'),
    ([[1.5, 0.9]] * 3, r'span \[0.9, 1.5\].*probabilities'),
    ([[np.nan, 0.9]] * 3, 'probabilities'),
    ([[-0.1, 0.9]] * 3, 'probabilities'),
  ],
)
def test_what_are_no_shares_certifies_nothing(shares, words):
  """Margins above 1 came of them, or those of another image."""
  images = np.full((3, 2, 2, 1), 0.5, np.float32)
  for certify in (
    randomized.noise_alone(0.2),
    randomized.fixed_codes(CODES, 0.2),
    _adaptive(num_draws=2),
  ):
    with pytest.raises(ValueError, match=words):
      certify(images, 0.01, shares)


def test_shares_may_be_a_list():
  images = np.full((1, 2, 2, 1), 0.5, np.float32)
  certify = randomized.noise_alone(0.2)
  assert 0 < randomized.best(certify(images, 0.01, [[0.9, 0.9]]))[0] < 0.8


def test_noise_is_certified_against_what_float32_reaches():
  """At small radii the threat's projection is out by more than 1e-6 of eps."""
  eps, sigma = 1e-4, 0.1
  x = np.linspace(0, 1, 900, dtype=np.float32).reshape(1, 30, 30, 1)
  z = np.asarray(linf(eps).project(x[0] + 1, x[0]))
  moved = ((np.float64(z) - x[0]) ** 2).sum() / sigma**2
  found = randomized.noise_alone(sigma)(x, eps, np.array([[0.9, 0.9]]))
  assert found.divergence[0] >= moved / 2


def test_a_bound_that_is_no_number_hides_no_other():
  found = randomized.Certified(
    np.zeros(2),
    {'kl': np.array([0.5, np.nan]), 'renyi': np.array([np.nan, np.nan])},
  )
  best = randomized.best(found)
  assert best[0] == 0.5 and not best[1] > 0


def test_a_little_noise_has_a_certificate():
  """Losses of some thousand: their exponentials are beyond float64."""
  image = np.round(np.random.default_rng(0).random((2, 7, 7, 1)))
  certify = randomized.fixed_codes(CODES, sigma=0.015)
  found = certify(image.astype(np.float32), 0.45, np.full((2, 2), 0.99))
  exact = found.margin['neyman_pearson']
  assert np.isfinite(exact).all()
  assert (exact >= found.margin['renyi']).all() and (exact > 0.9).all()
  assert (randomized.best(found) == exact).all()


def test_codes_hide_more_than_noise_alone():
  image = np.random.default_rng(0).random((3, 5, 5, 1)).astype(np.float32)
  shares = np.full((3, 2), 0.99)
  alone = randomized.noise_alone(SIGMA)(image, 0.05, shares)
  behind = randomized.fixed_codes(CODES, SIGMA)(image, 0.05, shares)
  assert (behind.divergence < alone.divergence).all()
  assert (randomized.best(behind) > randomized.best(alone)).all()


def _adaptive(num_draws=100, num_samples=20, sigma=SIGMA, tau=0.15):
  choose = centers.adaptive(2, 40.0)
  return randomized.adaptive_codes(
    choose, sigma, tau, num_samples, jax.random.key(0), num_draws
  )


def test_centres_are_chosen_among_the_samples_that_are_paid_for():
  seen = []

  def choose(key, samples):
    seen.append(samples.shape)
    return samples[:2]

  image = np.random.default_rng(3).random((1, 4, 4, 1)).astype(np.float32)
  certify = randomized.adaptive_codes(
    choose, SIGMA, 0.15, 20, jax.random.key(0)
  )
  certify(image, 0.01, np.full((1, 2), 0.99))
  assert set(seen) == {(20, 1)}


def test_adaptive_centres_cost_what_paper_b_says():
  image = np.random.default_rng(1).random((2, 6, 6, 1)).astype(np.float32)
  eps, shares = 0.005, np.full((2, 2), 0.999)
  found = _adaptive(400)(image, eps, shares)
  first = 20 * eps**2 / (2 * 0.15**2)
  # Independently: the average over fresh centres from the defense itself.
  find = centers.sampled(centers.adaptive(2, 40.0), 20, 0.15)
  second = []
  for seed, x in enumerate(jnp.asarray(image)):
    keys = jax.random.split(jax.random.key(7 + seed), 400)
    middle = np.asarray(jax.vmap(find, (0, None))(keys, x))[..., 0].mean(-1)
    x = np.asarray(x)
    p = stats.norm.cdf((middle[:, None] - x.reshape(-1)) / SIGMA)
    worst = 0
    for move in (-eps, eps):
      q = stats.norm.cdf((middle[:, None] - (x.reshape(-1) + move)) / SIGMA)
      gap = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
      worst = np.maximum(worst, gap)
    second.append(worst.sum(-1).mean())
  estimate = first + np.array(second)
  noise = 36 * eps**2 / (2 * SIGMA**2)
  assert (found.divergence >= estimate * 0.98).all()
  # The confidence bound adds some share of what the noise alone would cost.
  assert (found.divergence <= estimate + 0.2 * noise).all()
  assert (found.divergence < first + noise).all()


def test_centres_of_an_image_are_its_own_whatever_the_batch():
  image = np.random.default_rng(2).random((3, 6, 6, 1)).astype(np.float32)
  certify, shares = _adaptive(400), np.full((3, 2), 0.999)
  together = certify(image, 0.005, shares, np.array([7, 3, 5]))
  alone = certify(image[1:], 0.005, shares[1:], np.array([3, 5]))
  np.testing.assert_array_equal(together.divergence[1:], alone.divergence)
  assert together.divergence[0] != certify(image, 0.005, shares).divergence[0]


def test_first_term_ends_every_certificate_beyond_eps_0015():
  """PROTOCOL B4: with s = 100 and tau = 0.15, U > 1/2 from eps 0.015 on.

  The 16 pixels after the samples cost a sixth of these at most.
  """
  image = np.zeros((1, 4, 4, 1), np.float32)
  certify = _adaptive(num_samples=100)
  shares = np.ones((1, 2))
  assert certify(image, 0.0138, shares).margin['pinsker'][0] > 0
  assert certify(image, 0.0151, shares).margin['pinsker'][0] < 0


def test_colour_takes_centres_for_known():
  image = np.random.default_rng(2).random((2, 4, 4, 3)).astype(np.float32)
  found = _adaptive()(image, 0.01, np.full((2, 2), 0.99))
  squared = reach(0.01) ** 2 * 3 * (20 / 0.15**2 + 16 / SIGMA**2)
  np.testing.assert_allclose(found.divergence, squared / 2, rtol=1e-4)


def test_certified_defense_is_the_one_that_is_drawn():
  """The laws of the certificate are frequencies of `rand_disc_fixed`."""
  image = jnp.linspace(0, 1, 12).reshape(3, 4, 1)
  defense = defenses.rand_disc_fixed(CODES, sigma=SIGMA, alpha=40.0)
  keys = jax.random.split(jax.random.key(0), 20_000)
  seen = np.asarray(jax.vmap(defense.apply, (0, None))(keys, image)).mean(0)
  expected = law(np.asarray(image)[..., 0], np.array([0.5]), SIGMA)[..., 1]
  # 5 standard errors of 20,000 draws.
  np.testing.assert_allclose(seen[..., 0], expected, atol=5 * 0.5 / 141)


@pytest.mark.parametrize(
  ('call', 'match'),
  [
    (lambda x, s: randomized.noise_alone(0.0), 'sigma=0.0 must be positive'),
    (lambda x, s: randomized.noise_alone(32), 'sigma=32 .* divide by 255'),
    (lambda x, s: randomized.noise_alone(0.1)(x, -1, s), 'eps=-1 must be at'),
    (lambda x, s: randomized.noise_alone(0.1)(9 * x, 0.1, s), 'images span'),
    (lambda x, s: _adaptive(num_draws=1), 'num_draws=1 must be at least 2'),
    (lambda x, s: _adaptive(sigma=0), 'sigma=0 must be positive'),
    (lambda x, s: _adaptive(tau=0), 'tau=0 must be positive'),
    (lambda x, s: _adaptive(num_samples=0), 'num_samples=0 must be at least 1'),
    (lambda x, s: _adaptive()(x, -1, s), 'eps=-1 must be at least 0'),
  ],
)
def test_errors(call, match):
  with pytest.raises(ValueError, match=match):
    call(np.ones((1, 2, 2, 1), np.float32), np.full((1, 2), 0.9))


def test_an_average_of_draws_is_bounded_above_as_often_as_it_says():
  rng, delta = np.random.default_rng(0), 0.1
  for number, p in ((20, 0.05), (200, 0.5), (50, 0.01)):
    drawn = (rng.random((4000, number)) < p).astype(float)
    bound = randomized._mean_above(drawn, np.ones(4000), delta)
    assert (bound < p).mean() <= delta
    assert bound.mean() < p + 14 / np.sqrt(number)


def test_the_bound_of_an_average_is_that_of_maurer_and_pontil_theorem_4():
  drawn = np.array([[0.0, 0.2, 0.1, 0.5]])
  log = np.log(2 / 0.01)
  expected = 0.2 + np.sqrt(2 * np.var(drawn, ddof=1) * log / 4) + 7 * log / 9
  got = randomized._mean_above(drawn, np.ones(1), 0.01)
  np.testing.assert_allclose(got, expected)

"""Choice of centres against exact probabilities, scikit-learn and NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans

from rdefense.defenses import centers as c

SAMPLES = np.float32(
  [[0.1, 0.2, 0.3], [0.9, 0.8, 0.3], [0.4, 0.4, 0.1], [0.2, 0.1, 0.9]]
)


def draws(choose, samples, num, seed=0):
  """Which samples were chosen, `[num, k]`, recognised by their values."""
  keys = jax.random.split(jax.random.key(seed), num)
  got = np.asarray(jax.jit(jax.vmap(choose, (0, None)))(keys, samples))
  same = (got[:, :, None] == np.asarray(samples)).all(-1)
  assert (same.sum(-1) == 1).all()  # distinct samples, unchanged
  return same.argmax(-1)


def exact(samples, num_centers, log_weight):
  """Probability of every sequence of choices, multiplied out in float64."""
  samples = np.asarray(samples, np.float64)
  square = ((samples[:, None] - samples[None]) ** 2).sum(-1)
  table = {}
  for path in itertools.product(range(len(samples)), repeat=num_centers):
    probability = 1 / len(samples)
    for j in range(1, num_centers):
      logs = log_weight(square[list(path[:j])].min(0))
      weight = np.exp(logs - logs.max())
      probability *= weight[path[j]] / weight.sum()
    table[path] = probability
  return table


def p_value(chosen, table):
  """Of the chi-square test; cells expected below five are pooled."""
  paths, counts = np.unique(chosen, axis=0, return_counts=True)
  seen = {tuple(p): n for p, n in zip(paths.tolist(), counts)}
  observed = np.array([seen.get(path, 0) for path in table], float)
  expected = np.array(list(table.values())) * len(chosen)
  assert observed[expected == 0].sum() == 0
  rare = expected < 5
  observed = np.append(observed[~rare], observed[rare].sum())
  expected = np.append(expected[~rare], expected[rare].sum())
  if expected[-1] < 1:
    observed, expected = observed[:-1], expected[:-1]
    expected *= observed.sum() / expected.sum()
  return stats.chisquare(observed, expected).pvalue


# Keys are fixed, so a test that passes once always does: 1e-3 is a threshold
# that one right implementation in a thousand would miss.


@pytest.mark.parametrize('gamma', [0.0, 2.0, 8.0])
def test_adaptive_choice_has_the_probabilities_of_the_paper(gamma):
  chosen = draws(c.adaptive(3, gamma), SAMPLES, 20_000)
  weight = lambda gamma: lambda square: gamma * square
  assert p_value(chosen, exact(SAMPLES, 3, weight(gamma))) > 1e-3
  # The test tells other temperatures, and the weights of k-means++, apart.
  assert p_value(chosen, exact(SAMPLES, 3, weight(gamma + 0.5))) < 1e-6
  repeats = (np.diff(np.sort(chosen, 1)) == 0).any(1).mean()
  assert repeats > 0.04  # a chosen sample keeps the weight 1


def test_weights_beyond_the_range_of_float32_keep_their_ratios():
  # From black: 40 * 3 = 120 to white, 0.7 and 1.5 less to two near-whites.
  near = [1 - np.sqrt(1 - d / 120) for d in (0.7, 1.5)]
  samples = np.float32([[0] * 3, [1] * 3, *([1 - n] * 3 for n in near)])
  square = (np.float64(samples) ** 2).sum(-1)
  assert (40 * square[1:] > 118).all()  # exp overflows float32 from 89 on
  chosen = draws(c.adaptive(2, 40.0), samples, 20_000)
  assert p_value(chosen, exact(samples, 2, lambda square: 40 * square)) > 1e-3
  after_black = chosen[chosen[:, 0] == 0, 1]
  assert set(after_black.tolist()) == {1, 2, 3}


def test_kmeans_pp_draws_with_squared_distances_and_never_repeats():
  chosen = draws(c.kmeans_pp(3), SAMPLES, 20_000)

  def log_square(square):
    with np.errstate(divide='ignore'):
      return np.log(square)

  assert p_value(chosen, exact(SAMPLES, 3, log_square)) > 1e-3
  assert (np.diff(np.sort(chosen, 1)) > 0).all()
  unsquared = exact(SAMPLES, 3, lambda square: log_square(square) / 2)
  assert p_value(chosen, unsquared) < 1e-6


CHOOSERS = {
  'adaptive': c.adaptive(3, 40.0),
  'kmeans_pp': c.kmeans_pp(3),
  'iterated_kmeans': c.iterated_kmeans(3, 4),
  'fixed': c.fixed(SAMPLES[:3]),
}


@pytest.mark.parametrize('name', CHOOSERS)
def test_equal_samples_give_their_value_and_finite_gradients(name, key):
  samples = jnp.full((20, 3), 0.25)
  value, pull = jax.vjp(lambda samples: CHOOSERS[name](key, samples), samples)
  grad = pull(jnp.ones_like(value))[0]
  assert np.isfinite(grad).all()
  if name != 'fixed':
    np.testing.assert_array_equal(value, 0.25)
    # Three centres depend on the samples with weights that sum to 1.
    np.testing.assert_allclose(grad.sum(0), 3, rtol=1e-6)


@pytest.mark.parametrize('name', CHOOSERS)
def test_a_key_determines_the_centers(name, key):
  choose = CHOOSERS[name]
  samples = np.random.default_rng(0).uniform(size=(20, 3)).astype(np.float32)
  first = choose(key, samples)
  again = choose(jax.random.clone(key), samples)
  np.testing.assert_array_equal(again, first)
  other = choose(jax.random.fold_in(jax.random.clone(key), 1), samples)
  assert first.shape == other.shape == (3, 3)
  assert np.array_equal(first, other) == (name == 'fixed')


@pytest.mark.parametrize('choose', [c.adaptive(4, 8.0), c.kmeans_pp(4)])
def test_gradients_flow_through_values_and_not_through_probabilities(
  choose, key
):
  chosen = np.asarray(choose(key, SAMPLES))
  index = (chosen[:, None] == SAMPLES).all(-1).argmax(-1)
  jacobian = jax.jacrev(lambda s: choose(jax.random.clone(key), s))(SAMPLES)
  expected = np.zeros((4, 3, 4, 3))
  for j, i in enumerate(index):
    expected[j, :, i, :] = np.eye(3)
  np.testing.assert_array_equal(jacobian, expected)


def test_fixed_centers_ignore_samples_and_their_gradient(key):
  codes, samples = SAMPLES[:2], np.float32(np.ones((5, 3)))
  value, pull = jax.vjp(lambda s: c.fixed(codes)(key, s), samples)
  np.testing.assert_array_equal(value, codes)
  np.testing.assert_array_equal(pull(jnp.ones_like(value))[0], 0)


# ------------------------------------------------------------ Lloyd


def blobs(seed):
  rng = np.random.default_rng(seed)
  middle = rng.uniform(size=(4, 1, 3))
  return np.float32(middle + 0.08 * rng.normal(size=(4, 20, 3))).reshape(-1, 3)


def lloyd(samples, centers, num_iterations):
  samples, centers = np.float64(samples), np.float64(centers)
  for _ in range(num_iterations):
    square = ((samples[:, None] - centers) ** 2).sum(-1)
    near = square.argmin(1)
    centers = np.stack(
      [
        samples[near == j].mean(0) if (near == j).any() else center
        for j, center in enumerate(centers)
      ]
    )
  return centers, near


@pytest.mark.parametrize('num_iterations', [1, 2, 10])
def test_lloyd_is_scikit_learns_from_the_same_start(num_iterations):
  for seed in range(3):
    samples, key = blobs(seed), jax.random.key(seed)
    start = np.asarray(c.kmeans_pp(4)(key, samples))
    got = c.iterated_kmeans(4, num_iterations)(jax.random.clone(key), samples)
    reference = KMeans(
      4, init=start, n_init=1, max_iter=num_iterations, tol=0
    ).fit(samples)
    # Means of 20 float32 numbers below 2.
    np.testing.assert_allclose(got, reference.cluster_centers_, atol=1e-6)
    np.testing.assert_allclose(
      got, lloyd(samples, start, num_iterations)[0], atol=1e-6
    )
    assert not np.allclose(got, start, atol=1e-3)


def test_an_empty_cluster_keeps_its_center(key):
  # Two distinct values for three centres: the third repeats one of the first
  # two and, as ties go to the lowest index, gets no sample.
  samples = np.float32([[0.0], [0.0], [0.75], [0.75], [0.75]])
  got = np.asarray(c.iterated_kmeans(3, 3)(key, samples))
  assert sorted(set(got.ravel().tolist())) == [0.0, 0.75]


def test_gradients_of_means_go_to_their_members(key):
  samples = blobs(0)
  got = jax.jacrev(lambda s: c.iterated_kmeans(4, 10)(key, s))(samples)
  start = c.kmeans_pp(4)(jax.random.clone(key), samples)
  _, near = lloyd(samples, start, 10)
  member = (near == np.arange(4)[:, None]).astype(float)
  member /= member.sum(1, keepdims=True)
  expected = np.einsum('js,cd->jcsd', member, np.eye(3))
  np.testing.assert_allclose(got, expected, rtol=1e-6)


# --------------------------------------------------------- sampling


LEVELS = jnp.broadcast_to(jnp.arange(6.0).reshape(2, 3, 1), (2, 3, 3))


def counts_of(samples):
  return np.bincount(np.rint(samples[:, 0]).astype(int), minlength=6)


def test_pixels_are_drawn_uniformly_with_replacement(key):
  got = np.asarray(c.sample_pixels(key, LEVELS, 6000, 0.05))
  assert got.shape == (6000, 3)
  assert stats.chisquare(counts_of(got)).pvalue > 1e-3
  noise = got - np.rint(
    got
  )  # of its own for every sample, though pixels repeat
  assert len(np.unique(noise)) > 17_000  # of 18,000; float32 may collide
  assert stats.kstest(noise.ravel() / 0.05, 'norm').pvalue > 1e-3
  correlation = np.corrcoef(noise.T) - np.eye(3)
  assert abs(correlation).max() < 4 / np.sqrt(6000)  # four standard errors


def test_images_of_a_batch_do_not_share_indices(key):
  x = jnp.stack([LEVELS, LEVELS])
  sample = jax.vmap(lambda key, x: c.sample_pixels(key, x, 6000, 0.05))
  one, other = np.rint(sample(jax.random.split(key), x))
  # 1/6 on average, with a standard error of 0.005.
  assert abs((one == other).all(-1).mean() - 1 / 6) < 0.02


def test_gradients_of_samples_count_how_often_a_pixel_was_drawn(key):
  sample = lambda x: c.sample_pixels(jax.random.clone(key), x, 6000, 0.05)
  got, pull = jax.vjp(sample, LEVELS)
  grad = pull(jnp.ones_like(got))[0]
  np.testing.assert_array_equal(grad[..., 0].ravel(), counts_of(got))


def test_sampled_centers_lie_near_pixels_of_the_image(key):
  x = np.random.default_rng(0).uniform(size=(4, 4, 3)).astype(np.float32)
  found = c.sampled(c.kmeans_pp(3), 20, 1e-5)(key, x)
  apart = abs(np.asarray(found)[:, None] - x.reshape(-1, 3)).max(-1).min(1)
  assert (apart < 1e-4).all() and (apart > 0).all()


# -------------------------------------------------------- bad input


@pytest.mark.parametrize(
  'build, message',
  [
    (lambda: c.adaptive(0, 1.0), 'num_centers=0 .*at least 1'),
    (lambda: c.kmeans_pp(-1), 'num_centers=-1 '),
    (lambda: c.iterated_kmeans(0, 3), 'num_centers=0 '),
    (lambda: c.iterated_kmeans(2, 0), 'num_iterations=0 .*kmeans_pp'),
    (lambda: c.adaptive(2, -0.5), 'gamma=-0.5 .*at least 0'),
    (lambda: c.adaptive(2, np.inf), 'gamma=inf .*finite'),
    (lambda: c.adaptive(2, np.nan), 'gamma=nan'),
    (lambda: c.sampled(c.kmeans_pp(2), 0, 0.1), 'num_samples=0 .*at least 1'),
    (lambda: c.sampled(c.kmeans_pp(2), 9, 0.0), 'tau=0.0 .*positive'),
    (lambda: c.fixed([0.0, 1.0]), r'shape \(2,\).*codes\[:, None\]'),
    (lambda: c.fixed(np.zeros((0, 3))), 'non-empty'),
    (lambda: c.fixed([[0.0], [255.0]]), r'\[0, 255\].*divide by 255'),
    (lambda: c.fixed([[np.nan]]), 'NaN'),
  ],
)
def test_bad_arguments_are_named(build, message):
  with pytest.raises(ValueError, match=message):
    build()


@pytest.mark.parametrize(
  'num_samples, tau, message', [(0, 0.1, 'num_samples=0 '), (3, -1, 'tau=-1 ')]
)
def test_bad_sampling_is_named(num_samples, tau, message, key):
  with pytest.raises(ValueError, match=message):
    c.sample_pixels(key, jnp.zeros((2, 2, 1)), num_samples, tau)


@pytest.mark.parametrize(
  'choose', [c.adaptive(5, 1.0), c.kmeans_pp(5), c.iterated_kmeans(5, 1)]
)
def test_more_centers_than_samples_are_refused(choose, key):
  with pytest.raises(ValueError, match='num_centers=5 exceeds the 4 samples'):
    jax.jit(choose)(key, SAMPLES)


def test_codes_of_other_channels_are_refused(key):
  message = 'image has 1 channels, the codes have 3'
  with pytest.raises(ValueError, match=message):
    c.fixed(SAMPLES)(key, jnp.zeros((2, 2, 1)))


def test_other_numbers_are_not_compiled_again():
  traces = []

  @jax.jit
  def find(gamma, tau, x):
    traces.append(None)
    return c.sampled(c.adaptive(2, gamma), 30, tau)(jax.random.key(0), x)

  x = np.random.default_rng(0).uniform(size=(4, 4, 1)).astype(np.float32)
  one = find(np.float32(0.1), np.float32(0.1), x)
  other = find(np.float32(90), np.float32(0.2), x)
  assert len(traces) == 1 and not np.allclose(one, other)

"""Idealised images against enumerations: their noise, skeletons and codes."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest
from scipy import stats

from rdefense.analysis import idealized

# In a corner, on an edge, and inside of a grid of 40 x 40 levels.
PLANE = idealized.make_model(
  [[0, 0], [0, 39], [20, 19]], 19, sigma=1.5, num_levels=40
)
LINE = idealized.make_model([[3], [60], [255]], 57, sigma=2.5)


def enumerated(model, code):
  """Probability of each pixel that a code can become, pixel by pixel."""
  weights = {}
  steps = range(-model.reach, model.reach + 1)
  for step in itertools.product(steps, repeat=model.codes.shape[1]):
    pixel = tuple(int(v) for v in code + np.array(step))
    if all(0 <= v < model.num_levels for v in pixel):
      weights[pixel] = max(map(abs, step))
  total = sum(np.exp(-(t**2) / model.sigma**2) for t in range(model.reach + 1))
  sizes = {t: [*weights.values()].count(t) for t in weights.values()}
  return {
    pixel: np.exp(-(t**2) / model.sigma**2) / total / sizes[t]
    for pixel, t in weights.items()
  }


@pytest.mark.parametrize('model', [PLANE, LINE], ids=['plane', 'line'])
def test_offsets_have_the_enumerated_probabilities(model):
  offset, probability = idealized.offsets(model)
  np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-12)
  for code, row in zip(model.codes, probability, strict=True):
    expected = enumerated(model, code)
    got = {
      tuple(pixel): p
      for pixel, p in zip((code + offset).tolist(), row, strict=True)
      if p
    }
    assert got.keys() == expected.keys()
    for pixel, p in expected.items():
      assert got[pixel] == pytest.approx(p, rel=1e-12)


@settings(max_examples=40)
@given(st.floats(0.2, 50), st.integers(0, 60))
def test_the_law_has_the_ratios_of_a_gaussian_and_adds_up(sigma, reach):
  law = idealized.noise_law(sigma, reach)
  assert law.sum() == pytest.approx(1, rel=1e-12)
  # Of SciPy's normal density whose variance is sigma^2 / 2.
  t = np.arange(reach + 1)
  density = stats.norm.pdf(t, scale=sigma / np.sqrt(2))
  # Below 1e-300 float64 has fewer digits.
  np.testing.assert_allclose(
    law, density / density.sum(), rtol=1e-9, atol=1e-300
  )


@pytest.mark.parametrize('model', [PLANE, LINE], ids=['plane', 'line'])
def test_samples_follow_the_law_around_each_code(model, key):
  k = len(model.codes)
  skeleton = np.broadcast_to(np.arange(k)[:, None, None], (k, 150, 150))
  images = idealized.sample(key, model, skeleton)
  assert images.dtype == np.uint8
  assert images.shape == (*skeleton.shape, model.codes.shape[1])
  for code, pixels in zip(model.codes, images, strict=True):
    law = enumerated(model, code)
    values, counts = np.unique(
      pixels.reshape(-1, pixels.shape[-1]), axis=0, return_counts=True
    )
    seen = dict(zip(map(tuple, values.tolist()), counts, strict=True))
    assert seen.keys() <= law.keys()
    expected = np.array([150**2 * p for p in law.values()])
    found = np.array([seen.get(pixel, 0) for pixel in law])
    often = expected >= 5  # below, chi-square is no approximation
    groups = [np.append(v[often], v[~often].sum()) for v in (found, expected)]
    keep = groups[1] > 0
    # A correct sampler fails at one key of ten thousand.
    assert stats.chisquare(*(g[keep] for g in groups)).pvalue > 1e-4


def test_the_same_key_gives_the_same_images_and_another_does_not(key):
  skeleton = np.zeros((2, 9, 9), int)
  first = idealized.sample(jax.random.clone(key), LINE, skeleton)
  again = idealized.sample(jax.random.clone(key), LINE, skeleton)
  other = idealized.sample(jax.random.fold_in(key, 1), LINE, skeleton)
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


@pytest.mark.parametrize('block', [1, 2, 4, 8])
def test_skeletons_are_blocks_with_uniform_marginals(block, key):
  index = idealized.blocks(3, 8, block)(key, 2000)
  assert index.shape == (2000, 8, 8)
  corners = index[:, ::block, ::block]
  np.testing.assert_array_equal(
    index, np.kron(corners, np.ones((1, block, block), int))
  )
  counts = np.bincount(corners.ravel(), minlength=3)
  assert stats.chisquare(counts).pvalue > 1e-4
  if block < 8:  # neighbouring blocks are independent
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (corners[:, 0, 0], corners[:, 0, 1]), 1)
    assert stats.chi2_contingency(pairs).pvalue > 1e-4


@pytest.mark.parametrize('nu', [0, 1.9, 2])
def test_perturbations_are_all_codebooks_that_near(nu):
  model = idealized.make_model([[0], [9]], 9, 1.0, num_levels=11)
  expected = {
    pair
    for pair in itertools.product(range(11), repeat=2)
    if max(abs(pair[0] - 0), abs(pair[1] - 9)) <= nu
  }
  got = idealized.perturbations(model, nu)
  assert got.shape == (len(expected), 2, 1)
  assert set(map(tuple, got[..., 0].tolist())) == expected


def test_perturbations_move_channels_together():
  got = idealized.perturbations(PLANE, 1)
  # In the corners 2 x 2 pixels, inside 3 x 3.
  assert got.shape == (4 * 4 * 9, 3, 2)
  assert np.abs(got - PLANE.codes).max() == 1
  assert len(np.unique(got.reshape(len(got), -1), axis=0)) == len(got)
  with pytest.raises(ValueError, match='nu=20 allows up to .* codebooks of 3'):
    idealized.perturbations(PLANE, 20)


def test_byte_arrays_do_not_wrap_around():
  values, codes = np.uint8([[0], [250]]), np.uint8([[255]])
  assert idealized.distances(values, codes).tolist() == [[255], [5]]


TWO = [[0], [80]]


@pytest.mark.parametrize(
  'arguments, words',
  [
    (([[0.0], [1.0]], 1, 1), 'codes are float64 .* not pixels in'),
    (([[5]], 1, 1), 'k at least 2'),
    (([0, 80], 80, 1), r'shape \(2,\)'),
    (([[0], [256]], 80, 1), r'codes span \[0, 256\]'),
    ((TWO, 81, 1), '80 levels apart, fewer than separation=81'),
    ((TWO, 0, 1), 'separation=0 must be positive'),
    ((TWO, 80, 0), 'sigma=0 must be positive'),
    ((TWO, 80, 1, 257), 'num_levels=257, expected 2 to 256'),
    ((TWO, 80, 1, 80), r'codes span \[0, 80\], expected levels from 0 to 79'),
    ((TWO, 80, 1, 256, 11), 'reach=11, expected 0 to 10: .* an eighth'),
  ],
  ids=str,
)
def test_models_that_are_none_are_refused(arguments, words):
  with pytest.raises(ValueError, match=words):
    idealized.make_model(*arguments)


@pytest.mark.parametrize('block', [0, 3, 9])
def test_blocks_that_do_not_fit_are_refused(block):
  with pytest.raises(ValueError, match=f'block={block} does not divide side=8'):
    idealized.blocks(2, 8, block)

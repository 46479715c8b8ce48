"""Laws of cells against SciPy, simulation, and a search over the ball."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from rdefense.certify import divergences
from rdefense.certify.cells import axes, cells, law, midpoints, reach
from rdefense.threats import linf

CODES = st.lists(
  st.integers(0, 20).map(lambda n: n / 20), min_size=2, max_size=5, unique=True
)


@given(CODES, st.floats(0, 1), st.floats(0.02, 0.5))
def test_law_is_that_of_the_normal(codes, value, sigma):
  thresholds = midpoints(np.array(codes))
  edges = [-np.inf, *thresholds, np.inf]
  reference = np.diff(stats.norm.cdf(edges, value, sigma))
  found = law(np.array([value]), thresholds, sigma)[0]
  np.testing.assert_allclose(found, reference, atol=1e-14)


def test_tails_are_exact():
  found = law(np.array([0.0, 1.0]), np.array([0.5]), 0.05)
  np.testing.assert_allclose(found[0, 1], stats.norm.sf(10), rtol=1e-12)
  np.testing.assert_allclose(found[1, 0], stats.norm.cdf(-10), rtol=1e-12)


def test_grid_of_colours_is_one_pixel_a_channel():
  codes = np.array(list(itertools.product((0.25, 0.75), repeat=3)))
  image = np.random.default_rng(0).random((2, 3, 3, 3)).astype(np.float32)
  found = cells(image, codes, 0.1, 0.05)
  assert found.counts.sum(-1).tolist() == [27, 27]
  # By hand: noise, then the nearest of the eight codes.
  rng = np.random.default_rng(1)
  noisy = image[0, 0, 0] + 0.1 * rng.standard_normal((200_000, 3))
  nearest = ((noisy[:, None] - codes) ** 2).sum(-1).argmin(-1)
  simulated = codes[nearest].mean(0)
  up = law(image[0, 0, 0], np.array([0.5]), 0.1)[:, 1]
  # 5 standard errors of a mean of 200,000 draws at most 1/4 from its own.
  np.testing.assert_allclose(simulated, 0.25 + 0.5 * up, atol=5 * 0.25 / 447)


def test_axes_refuse_what_is_no_grid():
  assert axes(np.array([[0.0, 0.0], [1.0, 1.0]])) is None
  assert axes(np.array([[0.2], [0.1], [0.9]]))[0].tolist() == [0.1, 0.2, 0.9]


@settings(max_examples=40)
@given(CODES, st.floats(0, 1), st.floats(0.05, 0.4), st.floats(0.01, 0.3))
def test_divergences_are_worst_at_an_end(codes, value, sigma, eps):
  """What the module claims for KL and Renyi, on a grid inside the ball."""
  value = float(np.float32(value))
  image = np.full((1, 1, 1, 1), value, np.float32)
  found = cells(image, np.array(codes)[:, None], sigma, eps)
  inside = np.clip(np.linspace(value - eps, value + eps, 41), 0, 1)
  p = law(np.array([value]), midpoints(np.array(codes)), sigma)[0]
  q = law(inside, midpoints(np.array(codes)), sigma)
  every = [stats.entropy(p, each) for each in q]
  assert divergences.kl(found)[0] >= max(every) - 1e-12
  with np.errstate(divide='ignore'):
    every = np.log((p**3 / q**2).sum(-1)) / 2
  assert divergences.renyi(found, 3.0)[0] >= max(every) - 1e-9
  with np.errstate(divide='ignore'):
    every = np.log((q**3 / p**2).sum(-1)) / 2
  assert divergences.renyi(found, 3.0, reverse=True)[0] >= max(every) - 1e-9


@pytest.mark.parametrize('eps', [1e-4, 1e-3, 0.01, 0.1])
def test_the_threat_itself_stays_within_reach(eps):
  """In float32 its projection gets a little beyond eps."""
  x = np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64, 1)
  moved = [np.asarray(linf(eps).project(x + s, x)) for s in (-1.0, 1.0)]
  distance = max(np.abs(np.float64(z) - np.float64(x)).max() for z in moved)
  assert eps < distance <= reach(eps)
  assert reach(0) == 0


@pytest.mark.parametrize(
  ('changes', 'match'),
  [
    ({'sigma': 0.0}, 'sigma=0.0 must be positive'),
    ({'sigma': 32}, 'sigma=32 is larger than 1'),
    ({'eps': -0.1}, 'eps=-0.1 must be at least 0'),
    ({'codes': np.array([[0.0, 0, 0], [1, 1, 1]])}, 'image has 1 channels'),
    ({'images': np.zeros((2, 2, 1))}, 'images have shape'),
  ],
)
def test_errors(changes, match):
  arguments = {
    'images': np.zeros((1, 2, 2, 1), np.float32),
    'codes': np.array([[0.0], [1.0]]),
    'sigma': 0.1,
    'eps': 0.1,
  }
  with pytest.raises(ValueError, match=match):
    cells(**(arguments | changes))


def test_codes_that_are_no_grid_have_no_closed_form():
  images = np.zeros((1, 2, 2, 2), np.float32)
  with pytest.raises(ValueError, match='no grid over the axes'):
    cells(images, np.array([[0.0, 0.0], [1.0, 1.0]]), 0.1, 0.1)

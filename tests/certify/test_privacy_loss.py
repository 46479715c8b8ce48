"""Bounds of events against all laws, all events and all ends of small images.

The reference knows nothing of curves or grids: it lists every outcome of a few
pixels under every choice of ends, and sorts them by likelihood ratio.
"""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import special, stats

from rdefense.certify import divergences, privacy_loss
from rdefense.certify.cells import Cells, cells
from rdefense.certify.privacy_loss import least_event
from rdefense.certify.trade_offs import sides


def _best_test(p, q, share) -> float:
  """Neyman and Pearson: the least q of an event of p's probability share."""
  with np.errstate(divide='ignore', invalid='ignore'):
    order = np.argsort(np.where(p > 0, q / p, np.inf))
  p, q = p[order], q[order]
  taken = np.clip(share - (np.cumsum(p) - p), 0, p)
  return float((q * np.where(p > 0, taken / np.maximum(p, 1e-300), 0)).sum())


def _product(laws) -> np.ndarray:
  found = np.ones(1)
  for each in laws:
    found = np.outer(found, each).reshape(-1)
  return found


def _attacks(found: Cells, pixels) -> list[np.ndarray]:
  """Laws of all pixels together, under every choice of ends."""
  return [
    _product([ends[v] for ends, v in zip(choice, pixels)])
    for choice in itertools.product((found.low, found.high), repeat=len(pixels))
  ]


def _worst(found: Cells, pixels, share) -> float:
  p = _product(found.law[pixels])
  return min(_best_test(p, q, share) for q in _attacks(found, pixels))


def _by_slopes(found: Cells, pixels, share) -> float:
  """max over l of e^-l (s - delta(l)), the worst law anew for every l."""
  p, slopes = _product(found.law[pixels]), np.exp(np.linspace(-12, 12, 481))
  delta = np.max([
    np.maximum(0, p - slopes[:, None] * q).sum(1)
    for q in _attacks(found, pixels)
  ], axis=0)  # fmt: skip
  return float(((share - delta) / slopes).max())


IMAGES = st.lists(st.integers(0, 255), min_size=1, max_size=5)
SHARES = st.floats(0.3, 0.9999)


@settings(max_examples=60)
@given(
  IMAGES,
  st.sampled_from([0.08, 0.15, 0.3]),
  st.sampled_from([0.03, 0.1, 0.3]),
  st.sampled_from([(0.0, 1.0), (0.1, 0.5, 0.9)]),
  SHARES,
)
def test_bound_is_below_attacks_and_close(pixels, sigma, eps, codes, share):
  image = np.float32(pixels).reshape(1, 1, -1, 1) / np.float32(255)
  found = cells(image, np.array(codes)[:, None], sigma, eps)
  place = np.searchsorted(np.unique(pixels), pixels)
  truth = _worst(found, place, share)
  bound = least_event(found, np.array([[share]]))[0, 0]
  assert bound <= truth + 1e-12
  # The ends of one pixel may be chosen in view of others, in a handful of
  # pixels by no more than this; and anew for every slope of the curve.
  assert bound >= min(truth, _by_slopes(found, place, share)) - 0.05


def test_one_sided_pixels_are_exact():
  """Black pixels only: a binomial likelihood ratio, by SciPy."""
  image = np.zeros((1, 6, 6, 1), np.float32)
  found = cells(image, np.array([[0.0], [1.0]]), 0.2, 0.2)
  ups = np.arange(37)
  p = stats.binom.pmf(ups, 36, found.law[0, 1])
  q = stats.binom.pmf(ups, 36, found.high[0, 1])
  for share in (0.6, 0.9, 0.99):
    bound = least_event(found, np.array([[share]]))[0, 0]
    # The grid splits losses: second order in its step.
    np.testing.assert_allclose(bound, _best_test(p, q, share), atol=1e-3)
    assert bound <= _best_test(p, q, share)


def test_many_small_moves_are_one_normal_move():
  """Grey pixels, tiny moves: the central limit theorem names the answer."""
  image = np.full((1, 60, 60, 1), 0.5, np.float32)
  sigma, eps = 0.15, 0.003
  found = cells(image, np.array([[0.0], [1.0]]), sigma, eps)
  # A fair coin moved by d is told apart by 2 d, in deviations.
  distance = 60 * 2 * (special.ndtr(eps / sigma) - 0.5)
  expected = special.ndtr(special.ndtri(0.99) - distance)
  bound = least_event(found, np.array([[0.99]]))[0, 0]
  np.testing.assert_allclose(bound, expected, atol=0.005)


def test_images_of_many_pixels_go_the_short_way(monkeypatch):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (3, 9, 9, 1)).astype(np.float32) / 255
  found = cells(image, np.array([[0.0], [1.0]]), 0.15, 0.02)
  shares = np.array([[0.99, 0.8]] * 3)
  step_by_step = least_event(found, shares)
  monkeypatch.setattr(privacy_loss, '_MAX_STEPS', 10)
  at_once = least_event(found, shares)
  assert (at_once <= step_by_step + 1e-9).all()
  assert (at_once >= step_by_step - 0.05).all()


def test_batch_changes_nothing():
  rng = np.random.default_rng(1)
  image = rng.integers(0, 256, (40, 5, 5, 1)).astype(np.float32) / 255
  image[20:] = image[20:].round()  # as wide a grid as the others do not need
  codes, shares = np.array([[0.0], [1.0]]), np.full((40, 1), 0.97)
  together = least_event(cells(image, codes, 0.15, 0.05), shares)
  for i in (0, 17, 39):
    alone = least_event(cells(image[i : i + 1], codes, 0.15, 0.05), shares[:1])
    # Sums over more values, all of them zero but these, round differently.
    np.testing.assert_allclose(alone[0], together[i], rtol=1e-9)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 255), min_size=4, max_size=30), SHARES)
def test_never_below_what_divergences_allow(pixels, share):
  image = np.float32(pixels).reshape(1, 1, -1, 1) / np.float32(255)
  found = cells(image, np.array([[0.0], [1.0]]), 0.15, 0.04)
  p = np.array([share])
  exact = least_event(found, p[None])[0]
  assert exact >= divergences.least_kl(p, divergences.kl(found)) - 0.01


def test_no_radius_takes_nothing():
  image = np.random.default_rng(2).random((2, 4, 4, 1)).astype(np.float32)
  found = cells(image, np.array([[0.0], [1.0]]), 0.1, 0.0)
  shares = np.array([[0.9, 0.5], [1.0, 0.01]])
  np.testing.assert_allclose(least_event(found, shares), shares, atol=1e-6)


@pytest.mark.parametrize('pixels', [[0.0], [0.0, 1.0, 0.3], [0.42, 0.5]])
@pytest.mark.parametrize('sigma', [0.012, 0.02])
def test_a_little_noise_is_bounded_and_below_the_truth(pixels, sigma):
  """Windows of up to some thousand, where e^l is no number."""
  image = np.float32(pixels).reshape(1, 1, -1, 1)
  found = cells(image, np.array([[0.0], [1.0]]), sigma, 0.45)
  place = np.searchsorted(np.unique(image), image.reshape(-1))
  for share in (0.6, 0.99):
    bound = least_event(found, np.array([[share]]))[0, 0]
    assert 0 <= bound <= _worst(found, place, share) + 1e-12


def test_certainty_costs_everything():
  """An end that reaches what the clean pixel cannot: nothing is left of it."""
  law = np.array([[1.0, 0.0]])
  gone = np.array([[0.0, 1.0]])
  found = Cells(np.ones((1, 1)), law, law, gone)
  assert least_event(found, np.array([[0.999]]))[0, 0] == 0


@given(st.integers(0, 255), st.floats(0.01, 0.2))
def test_hulls_dominate_both_ends(pixel, eps):
  image = np.full((1, 1, 1, 1), pixel / 255, np.float32)
  found = cells(image, np.array([[0.0], [0.4], [1.0]]), 0.15, eps)
  ends = sides(found)
  for share in np.linspace(0.05, 0.95, 7):
    hull = _best_test(ends.hull.clean[0], ends.hull.attacked[0], share)
    for attacked in (found.low[0], found.high[0]):
      assert hull <= _best_test(found.law[0], attacked, share) + 1e-12


@pytest.mark.parametrize('masses', ['clean', 'attacked'])
def test_pairs_are_probabilities(masses):
  image = np.linspace(0, 1, 50, dtype=np.float32).reshape(1, 1, 50, 1)
  ends = sides(cells(image, np.array([[0.0], [0.3], [1.0]]), 0.1, 0.07))
  for pairs in (ends.strong, ends.weak, ends.hull):
    np.testing.assert_allclose(getattr(pairs, masses).sum(-1), 1, atol=1e-12)


def test_an_attack_that_tells_all_leaves_nothing():
  """Noise of a thousandth, a ball of everything: one end is certain."""
  image = np.full((1, 2, 2, 1), 0.3, np.float32)
  found = cells(image, np.array([[0.1], [0.5], [0.9]]), 0.001, 1.0)
  assert (least_event(found, np.array([[0.999, 0.6]])) == 0).all()

"""Losses on a grid, against outcomes one by one and SciPy's binomials."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from rdefense.certify import loss_grids
from rdefense.certify.trade_offs import Pairs

WINDOW = 16.0


def laws(masses) -> np.ndarray:
  found = np.array(masses, np.float64)
  return found / found.sum()


def literal_deltas(p, q) -> np.ndarray:
  slopes = np.exp(loss_grids.points(WINDOW))
  return np.maximum(0, p - slopes[:, None] * q).sum(1)


def positive(size):
  return st.lists(st.floats(0.05, 1.0), min_size=size, max_size=size).map(laws)


@settings(max_examples=40)
@given(positive(4), positive(4))
def test_a_pair_keeps_both_its_masses_and_loses_no_delta(p, q):
  losses = loss_grids.on_grid(Pairs(p[None], q[None]), WINDOW)
  points = loss_grids.points(WINDOW)
  np.testing.assert_allclose(losses.mass.sum(), 1.0, rtol=1e-12)
  np.testing.assert_allclose((losses.mass * np.exp(-points)).sum(), 1.0)
  excess = loss_grids.deltas(losses)[0] - literal_deltas(p, q)
  assert excess.min() >= -1e-12
  assert excess.max() <= WINDOW / len(points)  # one step of the grid


def test_what_an_attack_rules_out_is_endless():
  pair = Pairs(np.array([[0.7, 0.2, 0.1]]), np.array([[1.0, 0.0, 0.0]]))
  losses = loss_grids.on_grid(pair, WINDOW)
  np.testing.assert_allclose(losses.endless, 0.3)
  assert (loss_grids.deltas(losses) >= 0.3 - 1e-15).all()


@settings(max_examples=20)
@given(st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.integers(1, 60))
def test_throws_of_a_coin_are_binomial(p, q, count):
  coin = Pairs(np.array([[1 - p, p]]), np.array([[1 - q, q]]))
  rows = loss_grids.transforms(loss_grids.on_grid(coin, WINDOW))
  total = loss_grids.composed(np.array([[count]]), rows, WINDOW)
  heads = np.arange(count + 1)
  exact = literal_deltas(
    stats.binom.pmf(heads, count, p), stats.binom.pmf(heads, count, q)
  )
  found = loss_grids.deltas(total)[0]
  assert (found >= exact - 1e-12).all()
  # What may lie beyond the grid is told, and added.
  near = np.abs(loss_grids.points(WINDOW)) < WINDOW / 4
  assert ((found - exact)[near] <= 0.01 + total.endless[0]).all()


@settings(max_examples=20)
@given(positive(3), positive(3), positive(2), positive(2))
def test_one_by_one_and_all_at_once_agree(p, q, r, s):
  pairs = [Pairs(p[None], q[None]), Pairs(r[None], s[None])]
  first, second = (loss_grids.on_grid(pair, WINDOW) for pair in pairs)
  stepped = loss_grids.convolved(
    loss_grids.deltas(first)[0], loss_grids.atoms(pairs[1], WINDOW)
  )
  both = loss_grids.Losses(
    np.concatenate([first.mass, second.mass]),
    np.concatenate([first.endless, second.endless]),
    WINDOW,
  )
  rows = loss_grids.transforms(both)
  at_once = loss_grids.composed(np.array([[1, 1]]), rows, WINDOW)
  middle = np.abs(loss_grids.points(WINDOW)) < WINDOW / 4
  np.testing.assert_allclose(
    loss_grids.deltas(at_once)[0][middle], stepped[middle], atol=1e-9
  )


def test_sums_beyond_the_grid_are_told():
  coin = Pairs(np.array([[0.1, 0.9]]), np.array([[0.9, 0.1]]))
  rows = loss_grids.transforms(loss_grids.on_grid(coin, WINDOW))
  few, many = (
    loss_grids.composed(np.array([[count]]), rows, WINDOW).endless[0]
    for count in (1, 40)  # losses of 1.8 and 70 on average; the grid ends at 8
  )
  assert few < 1e-9
  assert many == 1.0


@pytest.mark.parametrize('size', [1e-300, 1e-6])
def test_losses_beyond_the_grid_are_raised(size):
  """Upwards is the safe side: one of -690 or -13, and one of as much more."""
  p = np.array([[size, 1 - 2 * size, size]])
  q = np.array([[1 - 2 * size, size, size]])
  losses = loss_grids.on_grid(Pairs(p, q), WINDOW)
  np.testing.assert_allclose(losses.mass.sum() + losses.endless, 1.0)
  assert (loss_grids.deltas(losses)[0] >= literal_deltas(p, q) - 1e-15).all()

"""Refinement on all colours, against all members of a cluster."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
import numpy as np
from scipy.spatial import distance

from rdefense.defenses import refinement


def test_exact_recentring_agrees_with_all_members(blobs):
  rows = np.arange(0, len(blobs.counts), 60)
  fit = refinement.assign(blobs, rows, 'l1')
  moved = refinement._recentre_exactly(blobs, fit)
  for code, row in enumerate(moved):
    members = np.flatnonzero(fit.near == code)
    points = blobs.values[members].astype(float)
    totals = distance.cdist(points, points, 'cityblock') @ blobs.counts[members]
    assert row == members[totals.argmin()]


@given(
  st.sampled_from(['l1', 'l2', 'linf']),
  st.integers(1, 12),
  st.booleans(),
  st.integers(0, 99),
)
@settings(max_examples=30)
def test_reassigning_a_few_agrees_with_assigning_all(
  blobs, norm, num_moved, nearby, seed
):
  rng = np.random.default_rng(seed)
  size = len(blobs.counts)
  rows = np.sort(rng.choice(size, 20, replace=False))
  fit = refinement.assign(blobs, rows, norm)
  free = np.setdiff1d(np.arange(size), rows)
  moved = rows.copy()
  out = rng.choice(20, num_moved, replace=False)
  # Neighbours in lexicographic order: a medoid that moves a little.
  new = free[np.searchsorted(free, rows[out]).clip(max=len(free) - 1)]
  moved[out] = new if nearby else rng.choice(free, num_moved, replace=False)
  assume(len(np.unique(moved)) == 20)
  again = refinement.reassign(blobs, fit, moved, norm)
  whole = refinement.assign(blobs, moved, norm)
  np.testing.assert_array_equal(again.first, whole.first)
  np.testing.assert_array_equal(again.second, whole.second)
  assert again.total == whole.total
  # Of medoids at one distance either may be named.
  values = blobs.values.astype(float)
  order = {'l1': 1, 'l2': 2, 'linf': np.inf}[norm]
  for which, expected in (
    (again.near, whole.first),
    (again.following, whole.second),
  ):
    apart = np.linalg.norm(values - values[moved[which]], order, axis=1)
    np.testing.assert_allclose(apart, expected, rtol=1e-12)
  assert (again.near != again.following).all()


def test_no_move_is_no_work(blobs):
  fit = refinement.assign(blobs, np.arange(5), 'l1')
  assert refinement.reassign(blobs, fit, np.arange(5), 'l1') is fit

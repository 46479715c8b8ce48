"""Data processing against coins tried one by one, and against each other."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from rdefense.certify import divergences
from rdefense.certify.cells import Cells

PROBABILITIES = st.floats(0.001, 0.999)


def _coins(p, q):
  return np.array([p, 1 - p]), np.array([q, 1 - q])


@given(PROBABILITIES, PROBABILITIES)
def test_least_is_where_the_coins_are_as_far(p, q):
  """With the divergence of two coins, the bound finds the coin again."""
  p, q = max(p, q), min(p, q)
  clean, attacked = _coins(p, q)
  gap = np.array([stats.entropy(clean, attacked)])
  found = divergences.least_kl(np.array([p]), gap)[0]
  assert found <= q + 1e-9
  # Near its minimum a divergence is flat: its root is exact to sqrt(1e-16).
  np.testing.assert_allclose(found, q, atol=1e-6)
  order = 2.5
  renyi = np.log((clean**order * attacked ** (1 - order)).sum()) / (order - 1)
  found = divergences.least_renyi(np.array([p]), np.array([renyi]), order)[0]
  np.testing.assert_allclose(found, q, atol=1e-6)
  back = np.log((attacked**order * clean ** (1 - order)).sum()) / (order - 1)
  found = divergences.least_renyi(np.array([p]), np.array([back]), order, True)
  np.testing.assert_allclose(found, [q], atol=1e-6)


@given(PROBABILITIES, st.floats(0, 5))
def test_data_processing_is_never_worse_than_pinsker(p, gap):
  p, gap = np.array([p]), np.array([gap])
  # At no divergence at all the root is exact to sqrt(1e-16).
  assert (
    divergences.least_kl(p, gap) >= divergences.least_pinsker(p, gap) - 1e-7
  )


def test_renyi_near_one_is_kl():
  law, low = np.array([[0.3, 0.7]]), np.array([[0.1, 0.9]])
  found = Cells(np.array([[5.0]]), law, low, law)
  np.testing.assert_allclose(
    divergences.renyi(found, 1 + 1e-6), divergences.kl(found), rtol=1e-5
  )
  expected = 5 * stats.entropy(law[0], low[0])
  np.testing.assert_allclose(divergences.kl(found), [expected], rtol=1e-8)


def test_what_an_image_has_not_does_not_count():
  law = np.array([[0.5, 0.5], [1.0, 0.0]])
  gone = np.array([[0.5, 0.5], [0.0, 1.0]])
  found = Cells(np.array([[3.0, 0.0], [3.0, 1.0]]), law, law, gone)
  assert divergences.kl(found).tolist() == [0, np.inf]
  assert divergences.renyi(found, 2.0).tolist() == [0, np.inf]


def test_of_an_unknown_divergence_nothing_is_left():
  p, unknown = np.array([0.99]), np.array([np.nan])
  assert divergences.least_kl(p, unknown) == 0
  for reverse in (False, True):
    assert divergences.least_renyi(p, unknown, 2.0, reverse) == 0
  assert not divergences.least_pinsker(p, unknown) > 0


def test_order_has_to_exceed_one():
  law = np.array([[0.5, 0.5]])
  with pytest.raises(ValueError, match='order=1 must be above 1'):
    divergences.renyi(Cells(np.ones((1, 1)), law, law, law), 1)

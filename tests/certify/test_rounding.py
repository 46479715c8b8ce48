"""What is said to be lost covers other orders of sums, and not much more."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.certify.interval import interval
from rdefense.certify.reachable import Box
from rdefense.certify.rounding import evaluated, rounded
from tests.certify.networks import NETWORKS


def in_order(weights, x, order):
  """x @ weights in float32, added up one by one in some order."""
  total = np.zeros(weights.shape[1], np.float32)
  for i in order:
    total = total + x[i] * weights[i]
  return total


@pytest.mark.parametrize('size', [1.0, 1e6])
def test_any_order_of_sums_is_covered(size):
  rng = np.random.default_rng(0)
  first, second = (
    (size * rng.normal(size=s)).astype(np.float32) for s in ((40, 12), (12, 3))
  )
  x = rng.random((5, 40)).astype(np.float32)
  fn = lambda x: jnp.matmul(jax.nn.relu(jnp.matmul(x, first)), second)
  values, lost = jax.jit(lambda x: evaluated(fn, x))(x)
  exact = np.maximum(np.float64(x) @ first, 0) @ second
  seen = np.abs(values - exact).max(0)
  for _ in range(20):
    orders = rng.permutation(40), rng.permutation(12)
    for row, value in zip(x, values, strict=True):
      hidden = np.maximum(in_order(first, row, orders[0]), 0)
      other = in_order(second, hidden, orders[1])
      seen = np.maximum(seen, np.abs(other - value))
  assert (seen > 0).all() and (seen <= lost).all()
  assert (lost <= 1e-4 * np.abs(values).max()).all()


def test_the_worst_order_is_covered():
  x = np.float32([[2.0**24, 1.0, 1.0, 1.0]])
  weights = np.ones((4, 1), np.float32)
  found = [
    in_order(weights, x[0], order)[0]
    for order in itertools.permutations(range(4))
  ]
  assert max(found) - min(found) == 4
  fn = lambda x: jnp.matmul(x, weights)
  assert evaluated(fn, x)[1] >= 4
  box = Box(*jnp.concatenate([x, x]))
  assert rounded(fn, box, jnp.zeros(4), again=4) >= 4


@pytest.mark.parametrize('name', NETWORKS)
def test_both_are_as_wide_as_intervals_around_a_point(name):
  fn, shape = NETWORKS[name](0)
  x = np.random.default_rng(1).random(shape, np.float32)

  @jax.jit
  def both(x):
    box = interval(fn, x, x)
    _, lost = evaluated(fn, x[None])
    zero = jnp.zeros_like(x)
    return box.high - box.low, lost, rounded(fn, Box(x, x), zero, again=100)

  width, lost, more = both(x)
  np.testing.assert_allclose(lost, width / 2, rtol=0.3)
  assert (more > 0).all()


def test_what_a_maximum_shuts_off_is_not_carried_on():
  fn = lambda x: jnp.maximum(x, jnp.float32([0.0, 0.0, -3.0]))
  box = Box(jnp.float32([-2, -2, -2]), jnp.float32([-1, 1, 1]))
  lost = rounded(fn, box, jnp.float32([0.5, 0.5, 0.5]), again=0)
  assert lost.tolist() == [0.0, 0.5, 0.5]
  least = lambda x: jnp.minimum(x[0], x[1])[None]
  box = Box(jnp.float32([0, 2]), jnp.float32([1, 3]))
  assert rounded(least, box, jnp.float32([0.25, 0.5]), again=0) == 0.25


def test_numbers_beyond_float32_are_lost_altogether():
  fn = lambda x: jnp.maximum(1e38 * x.sum() - 1e38 * x[0], 0.0)[None]
  _, lost = evaluated(fn, jnp.full((1, 9), 9.0))
  assert not jnp.isfinite(lost).any()


@pytest.mark.parametrize('name', ['evaluated', 'rounded'])
def test_a_layer_without_bounds_is_named(name):
  x, fn = jnp.ones(2), jnp.tanh
  with pytest.raises(ValueError, match="layer 'tanh' with 1"):
    if name == 'evaluated':
      evaluated(fn, x[None])
    else:
      rounded(fn, Box(x, x), x, again=0)


def test_a_maximum_is_shut_off_only_beyond_what_is_lost():
  fn = lambda x: jnp.maximum(jnp.matmul(x, jnp.ones((4, 1))), 2.0**24 + 2)
  for order in itertools.permutations([2.0**24, 1.0, 1.0, 1.0]):
    x = jnp.float32(order)  # 2^24 + 2 in one order of sums, + 4 in another
    assert evaluated(fn, x[None])[1] >= 2
    assert rounded(fn, Box(x, x), jnp.zeros(4), again=4) >= 2

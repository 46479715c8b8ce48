"""Bounds of both kinds: no value escapes, and each is as tight as it says."""

import functools
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.certify.interval import interval
from rdefense.certify.linear import linear
from rdefense.certify.operations import operations
from tests.certify.networks import NETWORKS

every_network = pytest.mark.parametrize('name', NETWORKS)


@functools.cache
def compiled(name, seed=0):
  fn, shape = NETWORKS[name](seed)
  both = lambda low, high: (interval(fn, low, high), linear(fn, low, high))
  return jax.jit(jax.vmap(fn)), jax.jit(both), shape


def a_box(rng, shape, width):
  """Of pixels of which some are fixed."""
  x = rng.random(shape)
  width = width * rng.random(shape) * (rng.random(shape) < 0.7)
  box = np.clip(x - width, 0, 1), np.clip(x + width, 0, 1)
  return tuple(end.astype(np.float32) for end in box)


def points(rng, low, high, count):
  """Of the box, half of them corners."""
  t = rng.random((count, *low.shape))
  t[::2] = np.rint(t[::2])
  inside = low + np.float32(t) * (high - low)
  return np.clip(inside, low, high).astype(np.float32)


@every_network
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([0.0, 1e-3, 0.1, 1.0]))
def test_no_sampled_point_escapes(name, seed, width):
  rng = np.random.default_rng(seed)
  evaluate, both, shape = compiled(name)
  low, high = a_box(rng, shape, width)
  box, bound = jax.device_get(both(low, high))
  x = points(rng, low, high, 64)
  values = np.asarray(evaluate(x))
  assert (box.low <= values).all() and (values <= box.high).all()
  assert (bound.lower <= values).all()
  flat = bound.coefs.reshape(len(bound.coefs), -1).astype(np.float64)
  plane = x.reshape(len(x), -1) @ flat.T + bound.const
  assert (plane <= values + 1e-6).all()
  assert (bound.lower >= box.low).all()


@every_network
def test_on_a_point_both_are_its_value(name):
  evaluate, both, shape = compiled(name)
  x = np.random.default_rng(1).random(shape, np.float32)
  box, bound = jax.device_get(both(x, x))
  values = np.asarray(evaluate(x[None]))[0]
  # Rounding as it might be at worst, not as it is.
  np.testing.assert_allclose(box.low, values, atol=1e-2)
  np.testing.assert_allclose(box.high, values, atol=1e-2)
  np.testing.assert_allclose(bound.lower, values, atol=3e-3)


@every_network
def test_linear_bounds_are_tighter_on_small_boxes(name):
  _, both, shape = compiled(name)
  rng = np.random.default_rng(2)
  boxes = [both(*a_box(rng, shape, 0.05)) for _ in range(10)]
  gain = np.array([bound.lower - box.low for box, bound in boxes])
  assert (gain >= 0).all() and gain.mean() > 0


def test_without_rounding_the_box_is_narrower_by_little():
  _, both, shape = compiled('cnn')
  fn, _ = NETWORKS['cnn']()
  low, high = a_box(np.random.default_rng(5), shape, 0.1)
  outward, _ = both(low, high)
  plain = interval(fn, low, high, outward=False)
  assert (outward.low < plain.low).all() and (plain.high < outward.high).all()
  np.testing.assert_allclose(plain.low, outward.low, atol=1e-2)


def test_affine_functions_are_bounded_by_their_corners():
  weights = jnp.float32(np.random.default_rng(3).normal(size=(6, 2)))
  fn = lambda x: jnp.matmul(x, weights) - 0.5
  low, high = jnp.zeros(6), jnp.linspace(0, 1, 6)
  corners = jnp.array([*itertools.product(*zip(low, high, strict=True))])
  values = np.asarray(jax.vmap(fn)(corners))
  box, bound = interval(fn, low, high), linear(fn, low, high)
  np.testing.assert_allclose(box.low, values.min(0), atol=1e-5)
  np.testing.assert_allclose(box.high, values.max(0), atol=1e-5)
  np.testing.assert_allclose(bound.lower, values.min(0), atol=1e-5)


def test_one_relu_has_the_lines_of_the_paper():
  # Below: t where h >= -l, else 0. Above: h (t - l) / (h - l).
  relu = lambda x: jnp.stack([jnp.maximum(x[0], 0), -jnp.maximum(x[0], 0)])
  bound = linear(relu, jnp.array([-1.0]), jnp.array([3.0]))
  np.testing.assert_allclose(bound.coefs[:, 0], [1.0, -0.75], atol=1e-6)
  np.testing.assert_allclose(bound.const, [0.0, -0.75], atol=1e-5)
  bound = linear(relu, jnp.array([-3.0]), jnp.array([1.0]))
  np.testing.assert_allclose(bound.coefs[:, 0], [0.0, -0.25], atol=1e-6)


def test_only_the_worst_outputs_get_lines_and_what_is_known_is_kept():
  fn, shape = NETWORKS['cnn'](0)
  low, high = a_box(np.random.default_rng(5), shape, 0.1)
  every = jax.jit(linear, static_argnums=0)(fn, low, high)
  box = interval(fn, low, high).low
  assert every.outputs.tolist() == [0, 1, 2]
  known = jnp.full(3, -jnp.inf).at[box.argmin()].set(100.0)
  some = jax.jit(linear, static_argnums=(0, 4))(fn, low, high, known, 1)
  (output,) = some.outputs.tolist()
  assert output == np.argsort(box)[1]
  np.testing.assert_allclose(some.coefs[0], every.coefs[output], atol=1e-5)
  np.testing.assert_allclose(some.const[0], every.const[output], atol=1e-5)
  expected = np.maximum(box, known)
  expected[output] = every.lower[output]
  np.testing.assert_allclose(some.lower, expected, atol=1e-5)


def test_batches_are_bounded_image_by_image():
  _, both, shape = compiled('cnn')
  rng = np.random.default_rng(4)
  lows, highs = map(
    np.stack, zip(*(a_box(rng, shape, 0.1) for _ in range(5)), strict=True)
  )
  box, bound = jax.jit(jax.vmap(both))(lows, highs)
  for i in range(5):
    alone, alone_linear = both(lows[i], highs[i])
    np.testing.assert_allclose(box.low[i], alone.low, atol=1e-5)
    np.testing.assert_allclose(bound.lower[i], alone_linear.lower, atol=1e-5)


def test_rounding_cannot_close_an_interval():
  # 2**24 + 1 is no float32: sums that lose the 1 must not exclude it.
  fn = lambda x: jnp.stack([x.sum()])
  x = jnp.float32([2.0**24, 1.0, 1.0, 1.0])
  box = interval(fn, x, x)
  assert box.low[0] <= 2**24 and box.high[0] >= 2**24 + 3
  assert linear(fn, x, x).lower[0] <= 2**24


def test_a_line_of_what_is_no_number_is_none():
  weights = jnp.float32([[1.0, jnp.nan], [1.0, 1.0]])
  fn = lambda x: jnp.matmul(jax.nn.relu(jnp.matmul(x, weights)), jnp.eye(2))
  known = jnp.float32([5.0, 5.0])
  bound = linear(fn, jnp.zeros(2), jnp.ones(2), known)
  assert not bound.const[1] <= 0 and jnp.isnan(bound.lower[1])


@pytest.mark.parametrize(
  'fn, words',
  [
    (lambda x: jnp.tanh(x), "layer 'tanh' with 1"),
    (lambda x: x * x, "layer '(mul|square|integer_pow)' with"),
    (lambda x: 1 / (x + 1), "layer 'div' with 1"),
    (lambda x: (4 * x).astype(jnp.int32) * 1.0, 'to int32 has no bound'),
    (lambda x: x.astype(jnp.bfloat16) * 1, 'to bfloat16 has no bound'),
    (
      lambda x: jax.lax.reduce(x, 1.0, lambda a, b: a + 2 * b, (0,))[None],
      "layer 'reduce' with 1",
    ),
    (lambda x: jax.nn.softmax(x), "layer '(exp|reduce_max|stop_gradient)'"),
  ],
)
@pytest.mark.parametrize('bound', [interval, linear])
def test_a_layer_without_bounds_is_named(bound, fn, words):
  if fn(jnp.ones(2)).sum() == 1:  # softmax: its maximum has an interval bound
    words = 'layer'
  with pytest.raises(ValueError, match=words):
    bound(fn, jnp.zeros(2), jnp.ones(2))


def test_a_maximum_over_windows_has_no_linear_bound():
  pool = lambda x: jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, (2,), (2,), 'VALID'
  )
  low, high = jnp.zeros(4), jnp.ones(4)
  assert interval(pool, low, high).high.tolist() == [1.0, 1.0]
  with pytest.raises(ValueError, match="'reduce_window_max' has no linear"):
    linear(pool, low, high)


def test_a_constant_function_is_refused():
  with pytest.raises(ValueError, match='does not depend on its input'):
    operations(lambda x: jnp.ones(2), jnp.zeros(3))


def test_sums_in_any_order_are_within_both_bounds():
  # One by one from the left these are 2^24; from the right, 2^24 + 4.
  for order in itertools.permutations([2.0**24, 1.0, 1.0, 1.0]):
    x = jnp.float32(order)
    fn = lambda x: jnp.matmul(x, jnp.ones((4, 1)))
    box = interval(fn, x, x)
    assert box.low[0] <= 2**24 and box.high[0] >= 2**24 + 4
    assert linear(fn, x, x).lower[0] <= 2**24
    # Each of two equal sums may come out anywhere between: coefficients of x
    # cancel, errors of the layer do not.
    twice = lambda x: jnp.matmul(
      jnp.matmul(x, jnp.ones((4, 2))), jnp.float32([[1.0], [-1.0]])
    )
    assert linear(twice, x, x).lower[0] <= -4

"""Batches: sizes, compaction, devices, loops, costs and compilations."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import (
  batch_attack,
  pgd,
  pieces,
  run,
  steepest,
  stop_when_fooled,
)
from rdefense.defenses import Defense, binning, identity
from rdefense.parallel import layout

NUM, SHAPE, NUM_STEPS = 100, (4, 4, 1), 6
_RNG = np.random.default_rng(0)
PARAMS = _RNG.normal(size=(3, 16)).astype(np.float32)
X = _RNG.uniform(size=(NUM, *SHAPE)).astype(np.float32)
Y = (X.reshape(NUM, -1) @ PARAMS.T).argmax(-1)
EPS = np.float32(0.12)
INDEX = np.arange(NUM)
EVERYONE = np.ones(NUM, bool)


def noisy():
  """Adds noise that depends on the key alone: keys show in the margins."""

  def fn(key, x):
    return x + 1e-3 * jax.random.normal(key, x.shape)

  return Defense(fn, fn)


def maker(kind='best', start='random', counter=None):
  """`operands -> Attack` on a linear classifier behind four levels."""
  # Noise alone: past the outermost code a surrogate's gradient is rounding.
  defense = noisy() if kind == 'noisy' else binning(4)
  keep = 'best' if kind == 'best' else 'last'

  def make_attack(operands):
    params, eps = operands
    if counter is not None:
      counter.append(None)
    oracle = gradients.through(
      lambda x: params @ x.ravel(), defense, losses.margin
    )
    tx = steepest('linf', eps / 4)
    attack = pgd(oracle, tx, threats.linf(eps), start, keep)
    return stop_when_fooled(attack) if kind == 'best' else attack

  return make_attack


@functools.cache
def compiled(kind='best', devices=8, compact=True, loop='host'):
  where = layout(jax.devices()[:devices])
  return batch_attack(maker(kind), where, compact, loop)


def in_batches(attack, batch_size, order=INDEX, num_steps=NUM_STEPS):
  """All examples, taken in some order, as columns by example."""
  parts = []
  for begin in range(0, NUM, batch_size):
    rows = order[begin : begin + batch_size]
    parts.append(
      attack(
        (PARAMS, EPS),
        jax.random.key(5),
        num_steps,
        INDEX[rows],
        X[rows],
        Y[rows],
        EVERYONE[rows],
      )
    )
  back = np.argsort(order)
  return [np.concatenate(columns)[back] for columns in zip(*parts)]


def assert_same(mine, theirs):
  """Gradient counts equal; images and margins to float32 rounding."""
  for a, b in zip(mine[:2], theirs[:2], strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
  np.testing.assert_array_equal(mine[2], theirs[2])


@functools.cache
def reference(kind='best'):
  """One scan over the whole of each example, without the driver."""

  def one(key, x, y):
    attack = maker(kind)((PARAMS, EPS))
    return run(attack, NUM_STEPS)(key, x, y)[0]

  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), INDEX)
  return jax.device_get(jax.jit(jax.vmap(one))(keys, X, Y))


def test_the_problem_has_both_outcomes():
  fooled = reference().margin < 0
  assert 10 < fooled.sum() < 90


@pytest.mark.parametrize('kind', ['best', 'last', 'noisy'])
@pytest.mark.parametrize('loop', ['host', 'scan'])
def test_both_loops_are_the_attack_itself(kind, loop):
  z, margin, _ = in_batches(compiled(kind, loop=loop), 100)
  expected = reference(kind)
  np.testing.assert_allclose(z, expected.z, atol=1e-5)
  np.testing.assert_allclose(margin, expected.margin, atol=1e-5)


@pytest.mark.parametrize('compact', [True, False], ids=['compact', 'whole'])
@pytest.mark.parametrize('devices', [1, 8], ids=['one_device', 'eight'])
@pytest.mark.parametrize(
  'batch_size',
  [16, 50, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 100))],
)
def test_batch_size_devices_and_compaction_change_nothing(
  batch_size, devices, compact
):
  expected = in_batches(compiled('best'), 100)
  order = np.random.default_rng(batch_size).permutation(NUM)
  got = in_batches(compiled('best', devices, compact), batch_size, order)
  assert_same(got, expected)
  np.testing.assert_array_equal(got[1] < 0, expected[1] < 0)


def test_noise_depends_on_the_example_alone():
  expected = in_batches(compiled('noisy'), 100)
  got = in_batches(compiled('noisy', devices=1), 20, INDEX[::-1])
  assert_same(got, expected)
  deterministic = in_batches(compiled('last'), 100)
  assert not np.array_equal(expected[1], deterministic[1])


def test_starts_depend_on_the_example_alone():
  first = in_batches(compiled('last'), 100, num_steps=0)
  again = in_batches(compiled('last', devices=1), 16, INDEX[::-1], 0)
  np.testing.assert_array_equal(first[0], again[0])
  assert len(np.unique((first[0] - X).round(6), axis=0)) == NUM


def test_gradients_are_counted_as_they_are_needed():
  """By hand on one pixel: 0.75 -> 0.55 -> 0.35, level 1 -> 1 -> 0."""

  def make_attack(operands):
    def logits_fn(x):
      return jnp.stack([x.mean(), operands])

    oracle = gradients.through(logits_fn, binning(2), losses.margin)
    tx = steepest('linf', 0.2)
    return stop_when_fooled(pgd(oracle, tx, threats.linf(0.5), 'clean'))

  x = np.array([0.75, 0.75, 0.55, 0.35], np.float32).reshape(4, 1, 1, 1)
  active = np.array([True, False, True, True])
  for loop in ('host', 'scan'):
    attack = batch_attack(make_attack, loop=loop)
    out = attack(
      np.float32(0.5),
      jax.random.key(0),
      4,
      np.arange(4),
      x,
      np.zeros(4),
      active,
    )
    # The start; no gradient for a step within the level; one across.
    np.testing.assert_array_equal(out.evaluations, [2, 0, 2, 1])
    np.testing.assert_allclose(
      out.z.ravel(), [0.35, 0.75, 0.35, 0.35], atol=1e-6
    )
    np.testing.assert_array_equal(out.margin, [-0.5, np.nan, -0.5, -0.5])


@pytest.mark.parametrize('loop', ['host', 'scan'])
def test_inactive_rows_are_untouched(loop):
  active = np.random.default_rng(3).uniform(size=NUM) < 0.3
  attack = compiled('best', loop=loop)
  key, data = jax.random.key(5), (INDEX, X, Y)
  out = attack((PARAMS, EPS), key, NUM_STEPS, *data, active)
  expected = in_batches(attack, 100)
  np.testing.assert_array_equal(out.z[~active], X[~active])
  assert np.isnan(out.margin[~active]).all()
  assert not out.evaluations[~active].any()
  assert_same(
    [column[active] for column in out],
    [column[active] for column in expected],
  )
  nobody = attack((PARAMS, EPS), key, NUM_STEPS, *data, ~EVERYONE)
  np.testing.assert_array_equal(nobody.z, X)
  assert not nobody.evaluations.any()


@pytest.mark.parametrize('loop', ['host', 'scan'])
@pytest.mark.parametrize('keep', ['best', 'last'])
def test_an_attack_that_meets_nan_is_no_robustness(keep, loop):
  """One pixel: sqrt(0) has no derivative, and log(-x) is no logit."""

  def attacked(broken, x):
    def make_attack(operands):
      def logits_fn(x):
        return jnp.stack([operands + x.mean() + broken(x - 0.5).sum(), 0.0])

      oracle = gradients.through(logits_fn, identity(), losses.margin)
      return pgd(
        oracle, steepest('linf', 0.1), threats.linf(0.2), 'clean', keep
      )

    attack = batch_attack(make_attack, loop=loop)
    images = np.full((2, 1, 1, 1), x, np.float32)
    return attack(
      np.float32(1),
      jax.random.key(0),
      2,
      np.array([7, 8]),
      images,
      np.zeros(2, int),
      np.ones(2, bool),
    )

  assert attacked(jnp.square, 0.75).margin.max() < 2
  with pytest.raises(ValueError, match='attack on image 7 met NaN'):
    attacked(lambda x: jnp.sqrt(jnp.square(x)), 0.5)
  with pytest.raises(ValueError, match='attack on image 7 met NaN'):
    attacked(jnp.log, 0.65)


@pytest.mark.parametrize('loop', ['host', 'scan'])
def test_other_numbers_are_not_compiled_again(loop):
  counter = []
  attack = batch_attack(
    maker('best', counter=counter), compact=False, loop=loop
  )
  data = INDEX[:16], X[:16], Y[:16], EVERYONE[:16]
  first = attack((PARAMS, EPS), jax.random.key(5), NUM_STEPS, *data)
  traced = len(counter)
  assert traced
  other = attack((-PARAMS, 2 * EPS), jax.random.key(6), NUM_STEPS, *data)
  assert len(counter) == traced
  assert not np.array_equal(first.z, other.z)
  if loop == 'host':  # the number of steps is a loop in Python
    attack((PARAMS, EPS), jax.random.key(5), NUM_STEPS + 1, *data)
    assert len(counter) == traced


def test_a_batch_comes_in_four_sizes():
  counter = []
  where = layout(jax.devices()[:1])
  attack = batch_attack(maker('best', counter=counter), where, compact=False)
  key, compiled_at = jax.random.key(5), []
  for count in (1, 13, 14, 25, 26, 50, 51, 100):
    before = len(counter)
    attack((PARAMS, EPS), key, NUM_STEPS, INDEX, X, Y, INDEX < count)
    compiled_at += [count] * (len(counter) > before)
  assert NUM == 100 and compiled_at == [1, 14, 26, 51]


def test_compiled_pieces_hold_no_communication():
  where = layout()
  made = pieces.compiled(maker('best'), where)
  operands, key = (PARAMS, EPS), jax.random.key(5)
  index, x, y = jax.device_put((INDEX[:16], X[:16], Y[:16]), where.split)
  state = made.start(operands, key, index, x, y)
  i, stale = np.int32(0), jax.device_put(EVERYONE[:16], where.split)
  calls = {
    'start': (operands, key, index, x, y),
    'move': (operands, key, index, x, i, state),
    'evaluate': (operands, key, index, x, y, stale, i, i, state),
    'scan': (2, 3, operands, key, index, x, y),
    'read': (operands, key, index, x, i, state),
  }
  assert set(calls) == set(made._fields)
  for name, arguments in calls.items():
    text = getattr(made, name).lower(*arguments).compile().as_text()
    assert f'num_partitions={where.num_devices}' in text, name
    found = re.findall(
      'all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter',
      text,
    )
    assert not found, name


@pytest.mark.parametrize('devices', [1, 8], ids=['one_device', 'eight'])
def test_a_clean_start_is_not_donated_with_the_state(devices):
  """The state begins as x itself; later steps still need both."""
  where = layout(jax.devices()[:devices])
  attack = batch_attack(maker('last', start='clean'), where, loop='host')
  data = INDEX[:16], X[:16], Y[:16], EVERYONE[:16]
  x = X.copy()
  out = attack((PARAMS, EPS), jax.random.key(5), 3, *data)
  np.testing.assert_array_equal(X, x)
  assert np.abs(out.z - X[:16]).max() <= EPS + 1e-6
  assert (out.z != X[:16]).any()

"""Steps, their keys, and the loop over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import AttackInfo, pgd, run, steepest
from rdefense.attacks.base import (
  Attack,
  Outcome,
  begin,
  iterate_key,
  start_key,
  step,
)
from rdefense.defenses import binning

X = jnp.full((2, 2, 1), 0.6)


def logits_fn(x):
  return jnp.stack([x.mean(), 1 - x.mean()])


def descent(num_levels=256, keep='last'):
  oracle = gradients.through(logits_fn, binning(num_levels), losses.margin)
  return pgd(oracle, steepest('linf', 0.05), threats.linf(0.2), 'clean', keep)


def diary():
  """An attack that only writes down the keys it gets; never evaluates."""

  def bits(key):
    return jax.random.bits(key, (), jnp.uint32)

  def init(key, x, y):
    none = jnp.zeros(4, jnp.uint32)
    return {'start': bits(key), 'moves': none, 'pulls': none, 'i': -100}

  def move(key, state, x):
    i = state['i'] + 1
    moves = state['moves'].at[i].set(bits(key))
    return state | {'moves': moves, 'i': i}, jnp.bool_(False)

  def evaluate(key, state, x, y, part):
    nothing = jnp.float32(0)
    return state | {'i': state['i'] + 100}, AttackInfo(*(nothing,) * 3)

  def pull(key, state):
    return state | {'pulls': state['pulls'].at[state['i']].set(bits(key))}

  def outcome(state, x):
    return Outcome(state, jnp.float32(0), jnp.bool_(False))

  return Attack(init, move, evaluate, pull, outcome)


def test_start_and_steps_have_keys_of_their_own(key):
  outcome, _ = jax.jit(run(diary(), 3))(key, X, 0)
  keys = [start_key(key), *(iterate_key(key, i) for i in range(4))]
  start, *expected = [int(jax.random.bits(k, (), jnp.uint32)) for k in keys]
  assert outcome.z['start'] == start
  assert outcome.z['pulls'].tolist() == expected
  assert outcome.z['moves'].tolist() == [0, *expected[1:]]
  assert len(set(expected)) == 4


def test_outside_of_jit_an_attack_is_traced_once(key):
  traced = []

  def counted(x):
    traced.append(None)
    return logits_fn(x)

  oracle = gradients.through(counted, binning(4), losses.margin)
  attack = run(
    pgd(oracle, steepest('linf', 0.05), threats.linf(0.2), 'clean', 'last'), 3
  )
  found = [attack(jax.random.clone(key), X, 0)[0].z for _ in range(2)]
  at_first = len(traced)
  attack(jax.random.clone(key), X, 1)
  assert len(traced) == at_first > 0
  np.testing.assert_array_equal(*found)


def test_a_step_that_is_not_stale_is_not_evaluated(key):
  outcome, _ = run(diary(), 3)(key, X, 0)
  assert int(outcome.z['i']) == 3


def test_run_is_its_steps_one_after_another(key):
  attack = descent()
  outcome, info = jax.jit(run(attack, 3))(key, X, 0)
  following = jax.jit(
    lambda key, i, state: step(attack, key, i, state, X, 0)[:2]
  )
  state, _ = jax.jit(lambda key: begin(attack, key, X, 0))(key)
  for i in range(3):
    state, each = following(key, i + 1, state)
    np.testing.assert_allclose(info.distance[i], each.distance, rtol=1e-6)
    np.testing.assert_allclose(info.margin[i], each.margin, atol=1e-6)
  np.testing.assert_allclose(outcome.z, state.z, rtol=1e-6)


@pytest.mark.parametrize(
  'num_steps, moved', [(0, 0.0), (1, 0.05), (3, 0.15), (7, 0.2)]
)
def test_each_step_goes_its_length_until_the_ball_ends(key, num_steps, moved):
  outcome, info = jax.jit(run(descent(), num_steps))(key, X, 0)
  np.testing.assert_allclose(X - outcome.z, moved, atol=1e-6)
  assert info.distance.shape == (num_steps,)


def test_next_is_one_step_ahead_of_last(key):
  ahead, _ = jax.jit(run(descent(keep='next'), 1))(key, X, 0)
  last, _ = jax.jit(run(descent(keep='last'), 2))(key, X, 0)
  np.testing.assert_allclose(ahead.z, last.z, atol=1e-6)


def test_skipped_evaluations_change_nothing(key):
  """With 3 levels most moves stay in one cell; iterates must not notice."""
  skipping = descent(num_levels=3)

  def always(key, state, x):
    return skipping.move(key, state, x)[0], jnp.bool_(True)

  outcome, info = jax.jit(run(skipping, 4))(key, X, 0)
  full, full_info = jax.jit(run(skipping._replace(move=always), 4))(key, X, 0)
  np.testing.assert_allclose(outcome.z, full.z, atol=1e-6)
  np.testing.assert_allclose(outcome.margin, full.margin, atol=1e-6)
  np.testing.assert_allclose(info.value, full_info.value, atol=1e-6)


@pytest.mark.parametrize('num_steps', [-3, 3.9])
def test_steps_are_counted_in_whole_numbers(num_steps):
  """A negative number took none, and looked like robustness."""
  with pytest.raises(ValueError, match=f'num_steps={num_steps}'):
    run(attack=None, num_steps=num_steps)

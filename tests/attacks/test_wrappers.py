"""Stopping, restarts and the vmap over examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import (
  over_examples,
  pgd,
  restarts,
  run,
  steepest,
  stop_when_fooled,
)
from rdefense.attacks.base import begin, start_key, step
from rdefense.defenses import binning

X = jnp.full((2, 2, 1), 0.6)


def logits_fn(x):
  """Class 0 while the mean is above a half."""
  return jnp.stack([x.mean(), 1 - x.mean()])


def descent(start='clean', keep='last', step_size=0.06):
  oracle = gradients.through(logits_fn, binning(256), losses.margin)
  tx = steepest('linf', step_size)
  return pgd(oracle, tx, threats.linf(0.3), start, keep)


def compiled(attack):
  """Where the attack begins, and its step, on the example X."""
  return (
    jax.jit(lambda key: begin(attack, key, X, 0)[0]),
    jax.jit(lambda key, i, state: step(attack, key, i, state, X, 0)[0]),
  )


def trajectory(attack, key, num_steps):
  first, following = compiled(attack)
  state = first(key)
  outcomes = [attack.outcome(state, X)]
  for i in range(num_steps):
    state = following(key, i + 1, state)
    outcomes.append(attack.outcome(state, X))
  return outcomes


def test_an_example_freezes_at_its_first_success(key):
  free = trajectory(descent(), key, 4)
  stopped = trajectory(stop_when_fooled(descent()), key, 4)
  # 0.6 -> 0.54 -> 0.48: fooled after two steps.
  assert [bool(o.done) for o in stopped] == [False, False, True, True, True]
  assert not any(o.done for o in free)
  for i in range(5):
    np.testing.assert_array_equal(stopped[i].z, free[min(i, 2)].z)
  assert (free[4].z < stopped[4].z).all()


def test_a_frozen_example_asks_for_no_evaluation(key):
  attack = stop_when_fooled(descent())
  first, following = compiled(attack)
  stale = jax.jit(lambda key, state: attack.move(key, state, X)[1])
  state, asked = first(key), []
  for i in range(4):
    asked.append(bool(stale(key, state)))
    state = following(key, i + 1, state)
  assert asked == [True, True, False, False]


def test_what_is_misclassified_at_once_never_moves(key):
  attack = stop_when_fooled(descent())
  (first, *_, last) = trajectory(attack, key, 3)
  assert not first.done
  wrong = jax.jit(run(attack, 3))(key, X, 1)[0]
  assert wrong.done
  np.testing.assert_array_equal(wrong.z, X)
  assert not np.array_equal(last.z, X)


def test_restarts_submit_the_copy_of_smallest_margin(key):
  attack = descent('random', 'best', 0.0)
  best, info = jax.jit(run(restarts(attack, 5), 1))(key, X, 0)
  starts = [
    attack.init(jax.random.fold_in(start_key(key), r), X, 0).z for r in range(5)
  ]
  deployed = [binning(256).apply(key, z) for z in starts]
  margins = [float(losses.margin(logits_fn(z), 0)) for z in deployed]
  assert len(set(margins)) == 5
  np.testing.assert_allclose(best.margin, min(margins), atol=1e-6)
  np.testing.assert_allclose(best.z, starts[int(np.argmin(margins))], atol=1e-6)
  assert info.margin.shape == (1, 5)


def test_more_restarts_are_never_worse(key):
  attack = descent('random', 'best')
  margins = [
    float(jax.jit(run(restarts(attack, num), 1))(key, X, 0)[0].margin)
    for num in (1, 4)
  ]
  assert margins == sorted(margins, reverse=True)


def test_fewer_than_one_restart_is_an_error():
  with pytest.raises(ValueError, match=r'num_restarts=0 must be at least 1'):
    restarts(descent(), 0)


def test_over_examples_folds_the_index_and_nothing_else(key):
  fn = jax.jit(over_examples(lambda key, a: a + jax.random.uniform(key)))
  index = np.array([7, 3, 7])
  out = fn(key, index, np.zeros(3, np.float32))
  alone = jax.random.uniform(jax.random.fold_in(key, 3))
  np.testing.assert_array_equal(out[1], alone)
  assert out[0] == out[2] != out[1]

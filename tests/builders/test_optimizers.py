"""Clipping and schedules."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import build


def test_an_unknown_schedule_lists_choices():
  config = {'learning_rate': 0.1, 'num_steps': 10}
  with pytest.raises(ValueError, match='choose: constant, cosine, steps'):
    build.optimizer(config | {'schedule': 'nonsense'})


def test_gradients_are_clipped_to_the_global_norm():
  config = {'schedule': 'constant', 'learning_rate': 0.1, 'num_steps': 20}
  params, grads = jnp.zeros(2), (jnp.array([30.0, 40.0]), jnp.array([3.0, 4.0]))
  moments = []
  for clip_norm in (5.0, 0.0):
    tx = build.optimizer(config | {'clip_norm': clip_norm})
    for grad in grads:
      _, state = tx.update(grad, tx.init(params), params)
      moments.append(optax.tree.get(state, 'mu'))
  clipped, as_it_is, large, small = moments
  np.testing.assert_allclose(clipped, as_it_is, rtol=1e-6)
  np.testing.assert_allclose(large, 10 * small, rtol=1e-6)


@pytest.mark.parametrize(
  'schedule, expected',
  [('constant', (0.1, 0.1, 0.1)), ('cosine', (0.0, 0.1, 0.0))],
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
  """Adam on constant gradients moves by the learning rate each step."""
  tx = build.optimizer(
    {
      'schedule': schedule,
      'learning_rate': 0.1,
      'num_steps': 20,
      'clip_norm': 0.0,
    }
  )
  params = jnp.zeros(())
  state, moves = tx.init(params), []
  for _ in range(21):
    updates, state = tx.update(jnp.ones(()), state, params)
    params = optax.apply_updates(params, updates)
    moves.append(-float(updates))
  for step, rate in zip((0, 2, 20), expected):
    assert moves[step] == pytest.approx(rate, abs=1e-3)

"""Chunks against trying all, and XLA's account against arrays of known size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import deployed, memory
from rdefense.attacks.eot import eot
from rdefense.defenses import Defense

SHAPE = (4, 4, 1)
NOISE = Defense(*(2 * [lambda key, x: x + jax.random.normal(key, x.shape)]))
TARGET = deployed.Target(
  lambda params, x: params @ x.ravel(),
  lambda codes, alpha: NOISE,
  np.ones((3, 16), np.float32),
  num_draws=3,
)
(EOT,) = eot(0.1, num_steps=2, num_draws=4)


def test_a_chunk_divides_and_fits():
  for num_draws in (1, 7, 20, 64):
    for budget in (0, 10, 35, 1000):
      chunk = memory.chunk_size(num_draws, 10, budget)
      assert num_draws % chunk == 0
      assert chunk == 1 or 10 * chunk <= budget
      larger = [n for n in range(chunk + 1, num_draws + 1) if 10 * n <= budget]
      assert not any(num_draws % n == 0 for n in larger)


def test_what_is_needed_grows_with_what_is_stored():
  """A product of two matrices has to be held before it is summed up."""

  def fn(x):
    return jnp.tanh(jnp.sin(x) @ jnp.cos(x).T).sum()

  small, large = (
    memory.bytes_needed(fn, jax.ShapeDtypeStruct((n, n), np.float32))
    for n in (32, 256)
  )
  assert large >= 256 * 256 * 4
  assert 0 < 8 * small < large


def test_there_is_a_budget_on_every_device():
  assert memory.memory_budget() > 2**20


def test_chunks_are_chosen_where_none_is_given():
  single = EOT._replace(num_draws=0)
  chosen = memory.with_chunks(TARGET, (EOT, single), SHAPE, 10)
  assert [recipe.chunk for recipe in chosen] == [4, 1]  # tiny images all fit
  (alone,) = memory.with_chunks(TARGET, (EOT,), SHAPE, 10**9)
  assert alone.chunk == 1
  many = EOT._replace(num_restarts=10**8)  # side by side as well
  assert memory.with_chunks(TARGET, (many,), SHAPE, 10)[0].chunk == 1


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'chunk': 8}, 'chunk=8 of eot does not divide its 4'),
    ({'num_draws': -1}, 'num_draws=-1 must be at least 0'),
  ],
)
def test_draws_that_cannot_be_parted_are_an_error(changes, words):
  with pytest.raises(ValueError, match=words):
    memory.with_chunks(TARGET, (EOT._replace(**changes),), SHAPE, 10)

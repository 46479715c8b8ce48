"""Chunks against trying all, and XLA's account against arrays of known size."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import memory


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

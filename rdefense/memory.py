"""How many draws of a randomised defense fit side by side in memory.

An averaged gradient is computed in parts (`gradients.averaged`): a part takes
what one draw takes, times its draws, times the images side by side, times the
restarts of each.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import numpy as np

from rdefense import checks
from rdefense.attacks.assembly import Recipe, num_parts
from rdefense.deployed import Target
from rdefense.gradients import through
from rdefense.precision import at

__all__ = ['bytes_needed', 'chunk_size', 'memory_budget', 'with_chunks']

_CPU_BUDGET = 64 * 2**20  # larger working sets leave a CPU's caches


def chunk_size(num_draws: int, bytes_per_draw: int, budget: int) -> int:
  """The most draws side by side that divide `num_draws` and fit the budget.

  Args:
    num_draws: of one averaged gradient.
    bytes_per_draw: of all images side by side.
    budget: bytes.

  Returns:
    At least 1, whatever the budget.

  >>> chunk_size(20, 300, 1500), chunk_size(20, 300, 0)
  (5, 1)
  """
  checks.check_whole('num_draws', num_draws, 1)
  divisors = (n for n in range(num_draws, 0, -1) if num_draws % n == 0)
  return next((n for n in divisors if n * bytes_per_draw <= budget), 1)


def bytes_needed(fn: Callable, *shapes) -> int:
  """What a function takes besides its inputs and outputs, by XLA's account.

  Args:
    fn: compiled to find out, not run.
    *shapes: its arguments, or `jax.ShapeDtypeStruct`s of them.
  """
  memory: Any = jax.jit(fn).lower(*shapes).compile().memory_analysis()
  return memory.temp_size_in_bytes


def memory_budget() -> int:
  """Bytes that draws side by side may take of one device.

  Half of an accelerator's memory; on a CPU little, because more draws at once
  do not make it faster.
  """
  stats = jax.local_devices()[0].memory_stats() or {}  # none on a CPU
  return stats['bytes_limit'] // 2 if 'bytes_limit' in stats else _CPU_BUDGET


@functools.cache
def _bytes_per_draw(
  apply, defend, loss, backward, precision, shape, tree, structs
) -> int:
  """What the gradient of one image through one draw takes.

  Neither parameters nor the steepness of a surrogate change anything in it.
  """

  def evaluate(operands, key, x, y):
    params, codes = operands
    logits_fn = at(precision, functools.partial(apply, params))
    oracle = through(logits_fn, defend(codes, 1.0), loss, backward)
    found = oracle.evaluate(key, x, y, 0)
    return found, oracle.gradient(jax.random.clone(key), x, found)

  operands = jax.tree.unflatten(tree, structs)
  x = jax.ShapeDtypeStruct(shape, np.float32)
  return bytes_needed(evaluate, operands, jax.random.key(0), x, np.int32(0))


def with_chunks(
  target: Target, recipes: Sequence[Recipe], shape: tuple[int, ...], rows: int
) -> tuple[Recipe, ...]:
  """Recipes whose `chunk` was 0 with one that fits the memory budget.

  Args:
    target: the pipeline.
    recipes: of an ensemble.
    shape: `(H, W, C)` of an image.
    rows: images side by side on one device.

  Raises:
    ValueError: on a negative number of draws, and where a chunk does not
      divide them.
  """
  leaves, tree = jax.tree.flatten((target.params, target.codes))
  structs = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves)

  def fitted(recipe: Recipe) -> Recipe:
    num_parts(recipe)  # raises on draws that cannot be
    num_draws = max(1, recipe.num_draws)
    if not recipe.chunk and num_draws > 1:
      copies = rows * recipe.num_restarts
      needed = copies * _bytes_per_draw(
        target.apply,
        target.defend,
        recipe.loss,
        recipe.backward,
        recipe.precision,
        shape,
        tree,
        structs,
      )
      chunk = chunk_size(num_draws, needed, memory_budget())
      return recipe._replace(chunk=chunk)
    return recipe._replace(chunk=max(1, recipe.chunk))

  return tuple(map(fitted, recipes))

"""How many draws of a randomised defense fit side by side in memory.

An averaged gradient is computed in parts (`gradients.averaged`): a part takes
what one draw takes, times its draws, times the images side by side.
"""

from collections.abc import Callable
from typing import Any

import jax

from rdefense import checks

__all__ = ['bytes_needed', 'chunk_size', 'memory_budget']

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
  checks.check_at_least('num_draws', num_draws, 1, '')
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

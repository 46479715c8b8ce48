"""At which precision a network's float32 products are computed, by name.

TPUs, and GPUs since 2020, multiply float32 numbers at lower precision unless
told otherwise. What is judged or certified here is computed at `highest`, all
24 bits; an attack may run lower, where that is faster, and is judged at
`highest` all the same. On CPUs the names make no difference.

  highest   float32, in six bfloat16 passes on a TPU
  high      three bfloat16 passes on a TPU, TF32 on a GPU
  default   one bfloat16 pass on a TPU, TF32 on a GPU

Defenses say `highest` themselves, whatever stands here.

>>> import jax.numpy as jnp
>>> fn = at('high', lambda x: x @ x)
>>> 'HIGH, HIGH' in jax.jit(fn).lower(jnp.ones((2, 2))).as_text()
True
"""

from collections.abc import Callable, Iterable

import jax

from rdefense import checks

__all__ = ['HIGHEST', 'PRECISIONS', 'at', 'lowest']

PRECISIONS = ('highest', 'high', 'default')
HIGHEST, *_ = PRECISIONS


def at(precision: str, fn: Callable) -> Callable:
  """`fn` with its products at a precision, and those of its derivatives.

  A product is as precise as where it was traced, and its transpose is as
  precise as itself; so this wins over whatever is set outside of `fn`.

  Args:
    precision: one of `PRECISIONS`.
    fn: any function.

  Raises:
    ValueError: on an unknown precision.
  """
  checks.check_choice('precision', precision, PRECISIONS)

  def precise(*args):
    with jax.default_matmul_precision(precision):
      return fn(*args)

  return precise


def lowest(precisions: Iterable[str]) -> str:
  """The lowest of some precisions; `highest` of none.

  >>> lowest(['high', 'default', 'highest']), lowest([])
  ('default', 'highest')
  """
  return max(precisions, key=PRECISIONS.index, default=HIGHEST)

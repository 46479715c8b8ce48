"""The pipeline that is deployed, and what it says, draw by draw.

Verdicts are computed at highest matmul precision unless another is asked for,
to be compared, under keys of the caller's choice: `rdefense.evaluation` keeps
those of judging from all attacks.

>>> from rdefense.defenses import identity
>>> apply = lambda params, x: params * x.reshape(-1)
>>> target = Target(apply, lambda codes, alpha: identity(), np.float32(2.0))
>>> images, labels = np.float32([[[[0.1, 0.9]]]]), np.array([1])
>>> draws, margins = judge(target, jax.random.key(0), [0], images, labels)
>>> draws.tolist(), round(float(margins[0]), 3)
([[1]], 1.6)
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
from jax.stages import Wrapped
import numpy as np

from rdefense import checks
from rdefense.attacks.wrappers import over_examples
from rdefense.defenses.base import Defense
from rdefense.gradients import defended
from rdefense.losses import margin
from rdefense.parallel import Layout, layout, padded_size
from rdefense.precision import HIGHEST, at
from rdefense.types import Array, Key, PyTree

__all__ = ['Target', 'judge', 'judging']


class Target(NamedTuple):
  """The deployed pipeline under evaluation.

  `apply` and `defend` are compiled into the attack; `params` and `codes` are
  not, so that targets that differ only there share what was compiled.

  Attributes:
    apply: `(params, x) -> logits`.
    defend: `(codes, alpha) -> Defense`.
    params: of the classifier.
    codes: `[k, C]`, or None for a defense without a codebook.
    num_draws: of a randomised defense, on which an example is judged; 0 says
      that the defense is deterministic.
  """

  apply: Callable[[PyTree, Array], Array]
  defend: Callable[[Array | None, Array], Defense]
  params: PyTree
  codes: np.ndarray | None = None
  num_draws: int = 0


@functools.cache
def judging(apply, defend, where: Layout, precision: str = HIGHEST) -> Wrapped:
  """The compiled pass of `judge` over one draw, kept for the next call.

  Args:
    apply, defend: of a `Target`.
    where: devices to use.
    precision: of the classifier's products.

  Returns:
    `(key, index, x, y, params, codes) -> (predicted [B], margin [B])`.
  """

  def fn(key, index, x, y, params, codes):
    pipeline = defended(lambda x: apply(params, x), defend(codes, 1.0))

    def one(key, x, y):
      logits = pipeline(key, x)
      return logits.argmax(), margin(logits, y)

    return at(precision, over_examples(one))(key, index, x, y)

  copied, split = where.copied, where.split
  return jax.jit(
    fn,
    in_shardings=(copied, split, split, split, copied, copied),
    out_shardings=split,
  )


def judge(
  target: Target,
  key: Key,
  index,
  images,
  labels,
  where: Layout | None = None,
  precision: str = HIGHEST,
) -> tuple[np.ndarray, np.ndarray]:
  """Predictions of the deployed pipeline, draw by draw.

  Args:
    target: the pipeline.
    key: of the judgement, never shown to an attack; consumed. Draw `i` has
      `fold_in(key, i)`, then each example its own.
    index: `[B]`, global example numbers.
    images: `[B, H, W, C]` in [0, 1].
    labels: `[B]`.
    where: devices to use; None means all of this process.
    precision: of the classifier's products; a verdict is one at `highest`.

  Returns:
    `(draws [B, m] int32, margin [B] float32)`: predictions under each key,
    one of them where the defense is deterministic; mean margin.

  Raises:
    ValueError: on a negative number of draws, on an unknown precision, on
      logits that are NaN.
  """
  checks.check_whole(
    'num_draws', target.num_draws, 0, ': 0 is for a deterministic defense'
  )
  where = layout() if where is None else where
  size = len(images)
  rows = np.minimum(np.arange(padded_size(where, size)), size - 1)
  data = jax.device_put(
    (
      np.asarray(index, np.int32)[rows],
      np.asarray(images, np.float32)[rows],
      np.asarray(labels, np.int32)[rows],
    ),
    where.split,
  )
  program = judging(target.apply, target.defend, where, precision)
  draws = [
    program(jax.random.fold_in(key, i), *data, target.params, target.codes)
    for i in range(max(1, target.num_draws))
  ]
  predicted, margins = zip(*jax.device_get(draws), strict=True)
  margin = np.mean(margins, 0)[:size]
  checks.check_classified(np.isnan(margin), index)
  return np.stack(predicted, 1)[:size].astype(np.int32), margin

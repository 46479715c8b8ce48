"""Resizing to a random size and padding at a random place, paper B's baseline.

>>> import jax, jax.numpy as jnp
>>> defense = resize_padding(29, 32, side=32)
>>> defense.apply(jax.random.key(0), jnp.full((28, 28, 1), 0.25)).shape
(32, 32, 1)

References:
  Zhang, Liang, Defending against whitebox adversarial attacks via randomized
  discretization, AISTATS 2019, https://arxiv.org/abs/1903.10586, section 6.
  Xie, Wang, Zhang, Ren, Yuille, Mitigating adversarial effects through
  randomization, 2018, https://arxiv.org/abs/1711.01991.
"""

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.defenses.base import Defense, checked
from rdefense.types import Array, Key

__all__ = ['resize_padding']


def resize_padding(
  low: int = 310,
  high: int = 331,
  side: int = 331,
  pad_value: float = 0.5,
  inclusive: bool = False,
) -> Defense:
  """Resizes to a random square and pads it to a fixed one at a random place.

  A side s is drawn uniformly from `low .. high - 1`, the rows above and the
  columns to the left of the square from `0 .. side - s - 1` (0 if s = side),
  as in paper B's code: a smaller square never touches the last row or column.
  With `inclusive`, from `low .. high` and `0 .. side - s`, as the paper has
  it; it also pads with 0, where the code's 0 on [-1, 1] is 0.5 here.

  Pixel i of s takes pixel floor(i H / s) of H (nearest neighbour as in
  TensorFlow 1, in whole numbers rather than float32).

  Args:
    low: smallest side.
    high: end of the range of sides.
    side: of the output. The classifier behind gets `side` x `side` pixels
      whatever the image's size: it was built for them or resizes its input.
    pad_value: in [0, 1].
    inclusive: whether ends of ranges belong to them.

  Returns:
    A `Defense` from `[H, W, C]` to `[side, side, C]`, for images of any size,
    with `apply` as its own surrogate; the key is consumed.

  Raises:
    ValueError: unless 1 <= low, low < high (low <= high if inclusive),
      high <= side (high <= side + 1 unless inclusive) and pad_value is in
      [0, 1].
  """
  last = high if inclusive else high - 1  # the largest side drawn
  checks.check_whole('low', low, 1)
  if low > last:
    raise ValueError(
      f'low={low} and high={high} leave no side to draw: high is '
      f'{"included" if inclusive else "excluded"}.'
    )
  if side < last:
    raise ValueError(
      f'side={side} is smaller than {last}, the largest side drawn: the image '
      'would be cropped.'
    )
  if not 0 <= pad_value <= 1:
    raise ValueError(
      f'pad_value={pad_value} must lie in [0, 1], as pixels do: is it in grey '
      'levels?'
    )

  def axis(start: Array, size: Array, length: int) -> tuple[Array, Array]:
    """Which of `length` source pixels each output pixel takes, and whether."""
    position = jnp.arange(side) - start
    inside = (position >= 0) & (position < size)
    return jnp.where(inside, position * length // size, 0), inside

  def apply(key: Key, x: Array) -> Array:
    size_key, top_key, left_key = jax.random.split(key, 3)
    size = jax.random.randint(size_key, (), low, last + 1)
    room = side - size + 1 if inclusive else jnp.maximum(side - size, 1)
    top = jax.random.randint(top_key, (), 0, room)
    left = jax.random.randint(left_key, (), 0, room)
    rows, in_rows = axis(top, size, x.shape[0])
    columns, in_columns = axis(left, size, x.shape[1])
    inside = in_rows[:, None, None] & in_columns[None, :, None]
    return jnp.where(inside, x[rows][:, columns], pad_value)

  return checked(apply)

"""The arithmetic of cost: operations, bytes, seconds, dollars.

A program is what XLA says of it: float operations and bytes of memory that it
touches. On `count` chips with peak F and bandwidth B of which a share s is
reached, it takes

  seconds = max(flops / F, bytes / B) / (s count),

and n chips that add up gradients of b bytes in a ring send 2 (n - 1) / n b
bytes each.

>>> from configs.devices import Chip
>>> chip = Chip({'default': 100.0}, 200.0, 10.0, 1.0, 'made up')
>>> seconds(Work(1000.0, 20.0), chip, 2, 0.5, 'default')
10.0
>>> ring_bytes(100.0, 4)
150.0
"""

from collections.abc import Iterable
import math
import re
from typing import Any, NamedTuple

from configs.devices import Chip
from rdefense.attacks.assembly import Recipe, num_copies, num_parts

__all__ = [
  'Collectives',
  'Work',
  'chips_for',
  'collectives',
  'evaluations',
  'gradients',
  'mnist_cnn_flops',
  'ring_bytes',
  'scaled',
  'seconds',
  'summed',
  'work',
]

_KINDS = (
  'all-reduce',
  'all-gather',
  'all-to-all',
  'collective-permute',
  'collective-broadcast',
  'reduce-scatter',
  'ragged-all-to-all',
)
_CALL = re.compile(rf'= (.*?) ({"|".join(_KINDS)})(?:-start)?\(')
_ARRAY = re.compile(r'\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')


class Work(NamedTuple):
  """What a program does, on one device."""

  flops: float
  bytes: float


class Collectives(NamedTuple):
  """What a program's devices send each other: instructions, and bytes."""

  instructions: int
  bytes: int


def work(compiled: Any) -> Work:
  """Of a compiled program, by XLA's account: one device's part of it.

  The body of a loop counts once; `loops.work` counts every round.
  """
  about = compiled.cost_analysis()
  return Work(about.get('flops', 0.0), about.get('bytes accessed', 0.0))


def collectives(hlo: str) -> Collectives:
  """Instructions of a program's text by which devices exchange data.

  >>> collectives('''
  ... %a = f32[2,3]{1,0} add(f32[2,3]{1,0} %x, f32[2,3]{1,0} %x)
  ... %b = (f32[2,3]{1,0}, bf16[]) all-reduce(%a, %c), to_apply=%sum
  ... %d = s32[4]{0} all-gather(%e), dimensions={0}''')
  Collectives(instructions=2, bytes=42)
  """
  found = [match[1] for match in _CALL.finditer(hlo)]
  return Collectives(len(found), sum(map(_bytes, found)))


def _bytes(shapes: str) -> int:
  total = 0
  for _, bits, sides in _ARRAY.findall(shapes):
    size = max(1, int(bits or 8) // 8)
    total += size * math.prod(map(int, filter(None, sides.split(','))))
  return total


def scaled(of: Work, count: float) -> Work:
  """So many times the same.

  >>> scaled(Work(2.0, 3.0), 10)
  Work(flops=20.0, bytes=30.0)
  """
  return Work(of.flops * count, of.bytes * count)


def summed(parts: Iterable[Work]) -> Work:
  """One after another.

  >>> summed([Work(1.0, 2.0), Work(10.0, 20.0)])
  Work(flops=11.0, bytes=22.0)
  """
  parts = list(parts)
  return Work(sum(p.flops for p in parts), sum(p.bytes for p in parts))


def gradients(recipes: Iterable[Recipe]) -> int:
  """Nominal gradients of an ensemble on one example: steps, draws, restarts.

  What is fooled is left out of later steps and recipes: it is the most there
  can be, but for the starts, see `evaluations`.
  """
  return sum(r.num_steps * num_parts(r) * num_copies(r) for r in recipes)


def evaluations(recipes: Iterable[Recipe]) -> int:
  """The same with the evaluation of each start: T steps take T + 1."""
  return sum((r.num_steps + 1) * num_parts(r) * num_copies(r) for r in recipes)


def seconds(
  of: Work, chip: Chip, count: int, share: float, precision: str
) -> float:
  """How long `count` chips take at a share of their peaks.

  Args:
    of: all the work, which splits evenly.
    chip: one of them.
    count: how many.
    share: of its peak and of its bandwidth, in (0, 1].
    precision: of float32 products.
  """
  needed = max(of.flops / chip.peak[precision], of.bytes / chip.bandwidth)
  return needed / (share * count)


def ring_bytes(size: float, count: int) -> float:
  """What each of `count` chips sends to add up `size` bytes over all.

  >>> ring_bytes(100.0, 1)
  0.0
  """
  return 2 * (count - 1) / count * size


def chips_for(batch_size: int, count: int) -> int:
  """The most chips, up to `count`, that a batch splits over evenly.

  >>> chips_for(50, 8), chips_for(128, 256)
  (5, 128)
  """
  return max(n for n in range(1, count + 1) if batch_size % n == 0)


def mnist_cnn_flops(widths=(32, 64), hidden=1024, num_classes=10) -> int:
  """Multiplications and additions of `mnist_cnn` on one 28x28 image.

  Products with the zeros of SAME padding are not counted. The gradient with
  respect to the image takes as many again.
  """
  total, side, channels = 0, 28, 1
  for width in widths:
    taps = 5 * side - 6  # of all windows along one axis, inside the image
    total += taps**2 * channels * width
    side, channels = side // 2, width
  return 2 * (total + side**2 * channels * hidden + hidden * num_classes)

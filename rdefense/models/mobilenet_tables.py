"""MobileNetV2, V1 and EdgeTPU as tables: a row a stage, a stage some blocks.

A network is a 3x3 stem of stride 2, stages, perhaps a 1x1 head, a global mean
and a 1x1 layer of logits. A block of

  V2       is 1x1 expand, kxk depthwise, 1x1 linear
  V1       is 3x3 depthwise, 1x1, both with ReLU6, and is never summed
  EdgeTPU  is V2's with ReLU; where `fused`, one kxk convolution expands and
           no depthwise one follows

The first block of a stage has the stage's stride; the others are added to
their input.

>>> [(block.width, block.stride) for block in blocks(MOBILENET_V2).values()][:3]
[(16, 1), (24, 2), (24, 1)]

References:
  Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2: inverted residuals and
  linear bottlenecks, 2018, https://arxiv.org/abs/1801.04381, table 2.
  Howard et al., MobileNets: efficient convolutional neural networks for mobile
  vision applications, 2017, https://arxiv.org/abs/1704.04861, table 1.
  Gupta, Akin, Accelerator-aware neural network design using AutoML, 2020,
  https://arxiv.org/abs/2003.02838.
"""

from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
  'MOBILENET_EDGETPU',
  'MOBILENET_V1',
  'MOBILENET_V2',
  'Architecture',
  'Block',
  'Stage',
  'blocks',
  'op_numbers',
  'parts',
]


class Stage(NamedTuple):
  """Blocks of one width.

  Attributes:
    expansions: inner channels per input channel, of the first and of the other
      blocks; where 1, nothing expands.
    width: output channels.
    num_blocks: how many.
    stride: of the first block.
    kernel: size of the spatial convolution.
    fused: a full convolution expands, in place of a 1x1 and a depthwise one.
  """

  expansions: tuple[int, int]
  width: int
  num_blocks: int
  stride: int
  kernel: int = 3
  fused: bool = False


class Block(NamedTuple):
  """One block; `summed` adds it to its input."""

  expansion: int
  width: int
  kernel: int
  stride: int
  fused: bool
  summed: bool


class Architecture(NamedTuple):
  """A MobileNet and the input it was trained on.

  Attributes:
    stem: channels of the first convolution.
    stages: in order.
    head: channels of the 1x1 convolution before the mean; None without one.
    activation: `relu6` or `relu`.
    bottleneck: blocks end linearly, and are summed where they repeat.
    size: height and width of the input.
    scale: of one grey level, see `preprocess.preprocessed`.
    zero: the grey level that becomes 0.
    first_op: number of the stem's tensors in the weights file.
  """

  stem: int
  stages: tuple[Stage, ...]
  head: int | None
  activation: str
  bottleneck: bool
  size: int
  scale: float
  zero: float
  first_op: int = 0


MOBILENET_V2 = Architecture(
  stem=32,
  stages=(
    Stage((1, 1), 16, 1, 1),
    Stage((6, 6), 24, 2, 2),
    Stage((6, 6), 32, 3, 2),
    Stage((6, 6), 64, 4, 2),
    Stage((6, 6), 96, 3, 1),
    Stage((6, 6), 160, 3, 2),
    Stage((6, 6), 320, 1, 1),
  ),
  head=1280,
  activation='relu6',
  bottleneck=True,
  size=224,
  scale=1 / 128,
  zero=128,
)

# 0.75 of the paper's widths.
MOBILENET_V1 = Architecture(
  stem=24,
  stages=(
    Stage((1, 1), 48, 1, 1),
    Stage((1, 1), 96, 2, 2),
    Stage((1, 1), 192, 2, 2),
    Stage((1, 1), 384, 6, 2),
    Stage((1, 1), 768, 2, 2),
  ),
  head=None,
  activation='relu6',
  bottleneck=False,
  size=192,
  scale=1 / 128,
  zero=128,
)

# 0.75 of the full widths, but for the first stage's and the head's.
MOBILENET_EDGETPU = Architecture(
  stem=24,
  stages=(
    Stage((1, 1), 16, 1, 1, fused=True),
    Stage((8, 4), 24, 4, 2, fused=True),
    Stage((8, 4), 40, 4, 2, fused=True),
    Stage((8, 4), 72, 4, 2),
    Stage((8, 4), 72, 4, 1),
    Stage((8, 4), 120, 4, 2, kernel=5),
    Stage((8, 4), 144, 1, 1),
  ),
  head=1280,
  activation='relu',
  bottleneck=True,
  size=224,
  scale=0.011570743285119534,
  zero=123,
  first_op=1,
)


def blocks(net: Architecture) -> dict[str, Block]:
  """The blocks of all stages in order, `block_01`, `block_02` and so on."""
  rows: dict[str, Block] = {}
  for stage in net.stages:
    for i in range(stage.num_blocks):
      rows[f'block_{len(rows) + 1:02d}'] = Block(
        expansion=stage.expansions[min(i, 1)],
        width=stage.width,
        kernel=stage.kernel,
        stride=stage.stride if i == 0 else 1,
        fused=stage.fused,
        summed=net.bottleneck and i > 0,
      )
  return rows


def parts(block: Block) -> list[str]:
  """Names of the layers of a block, in order."""
  expand = ['expand'] if block.expansion > 1 else []
  spatial = [] if block.fused else ['depthwise']
  return [*expand, *spatial, 'project']


def op_numbers(net: Architecture) -> Iterator[tuple[tuple[str, ...], int]]:
  """Numbers the layers as the weights files do.

  Every convolution, sum and mean counts as one operation.

  Args:
    net: an architecture.

  Yields:
    The path of a layer with tensors, and its number.

  >>> dict(op_numbers(MOBILENET_V2))['block_04', 'expand']
  10
  """
  op = net.first_op
  yield ('stem',), op
  for name, block in blocks(net).items():
    for part in parts(block):
      op += 1
      yield (name, part), op
    op += block.summed
  if net.head:
    op += 1
    yield ('head',), op
  yield ('logits',), op + 2  # the mean lies between

"""Transformations in front of a classifier, and the codebooks they use."""

from rdefense.defenses.base import (
  BACKWARD,
  Defense,
  chain,
  checked,
  differentiable,
  frozen,
  identity,
  straight_through,
)
from rdefense.defenses.bit_depth import bit_depth, bit_depth_steep
from rdefense.defenses.discretize import (
  binning,
  channel_distance,
  nearest_code,
  soft_assignment,
  thermometer,
)
from rdefense.defenses.down_sampling import (
  PAPER_B_POOLING,
  down_sample,
  max_pooling,
  resize,
)
from rdefense.defenses.jpeg import jpeg, jpeg_as_coded
from rdefense.defenses.randomized import (
  discretize_with,
  gaussian,
  rand_disc,
  rand_disc_fixed,
  rand_disc_steep,
  rand_mix,
  rand_mix_fixed,
)
from rdefense.defenses.resizing import resize_padding
from rdefense.defenses.total_variation import total_variation

__all__ = [
  'BACKWARD',
  'PAPER_B_POOLING',
  'Defense',
  'binning',
  'bit_depth',
  'bit_depth_steep',
  'chain',
  'channel_distance',
  'checked',
  'differentiable',
  'discretize_with',
  'down_sample',
  'frozen',
  'gaussian',
  'identity',
  'jpeg',
  'jpeg_as_coded',
  'max_pooling',
  'nearest_code',
  'rand_disc',
  'rand_disc_fixed',
  'rand_disc_steep',
  'rand_mix',
  'rand_mix_fixed',
  'resize',
  'resize_padding',
  'soft_assignment',
  'straight_through',
  'thermometer',
  'total_variation',
]

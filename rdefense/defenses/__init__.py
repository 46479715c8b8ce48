"""Transformations in front of a classifier, and the codebooks they use."""

from rdefense.defenses.base import (
  BACKWARD,
  Defense,
  chain,
  differentiable,
  frozen,
  identity,
  straight_through,
)
from rdefense.defenses.discretize import (
  binning,
  channel_distance,
  nearest_code,
  soft_assignment,
  thermometer,
)

__all__ = [
  'BACKWARD',
  'Defense',
  'binning',
  'chain',
  'channel_distance',
  'differentiable',
  'frozen',
  'identity',
  'nearest_code',
  'soft_assignment',
  'straight_through',
  'thermometer',
]

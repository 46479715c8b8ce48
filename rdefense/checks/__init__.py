"""Checks of arguments, each with one sentence that names the likely cause.

Shapes and dtypes are checked anywhere; values only where they are concrete:
under `jax.jit`, a traced value passes unchecked and the caller at the public
edge (`rdefense.api`, `rdefense.evaluation`) has looked at it before.
"""

from rdefense.checks.arrays import (
  check_channels,
  check_classified,
  check_codes,
  check_image,
  check_images,
  check_labels,
  check_shares,
  check_unit,
  check_untraced,
)
from rdefense.checks.numbers import (
  check_at_least,
  check_length,
  check_noise,
  check_number,
  check_positive,
  check_probability,
  check_steepness,
  check_whole,
)
from rdefense.checks.parts import (
  THREEFRY,
  check_choice,
  check_defense,
  check_key,
  check_logits,
)

__all__ = [
  'THREEFRY',
  'check_at_least',
  'check_channels',
  'check_choice',
  'check_classified',
  'check_codes',
  'check_defense',
  'check_image',
  'check_images',
  'check_key',
  'check_labels',
  'check_length',
  'check_logits',
  'check_noise',
  'check_number',
  'check_positive',
  'check_probability',
  'check_shares',
  'check_steepness',
  'check_unit',
  'check_untraced',
  'check_whole',
]

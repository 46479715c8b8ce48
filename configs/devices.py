"""Accelerators: published peaks, and prices that whoever reads this edits.

Peaks are of one chip and come from the makers' data sheets. A price is an
ASSUMPTION: about what an hour of one chip was listed at, on demand, in the
middle of the United States, when this was written; prices differ by region,
contract and month by a factor of three and more. Set yours in `PRICES`, and
print docs/scale.md again: `python -m experiments.scaling --page`.
"""

from typing import NamedTuple

__all__ = ['CHIPS', 'MACHINES', 'PRICES', 'PRICES_OF', 'SHARES', 'Chip']

T, G = 1e12, 1e9


class Chip(NamedTuple):
  """One accelerator.

  Attributes:
    peak: precision -> float operations a second of float32 products, by
      `rdefense.precision`: bfloat16 passes on a TPU; TF32, or float32 without
      tensor cores, on a GPU. Without sparsity.
    bfloat16: float operations a second of bfloat16 products.
    bandwidth: of memory, bytes a second.
    link: to other chips, bytes a second in one direction.
    source: of these figures.
  """

  peak: dict[str, float]
  bfloat16: float
  bandwidth: float
  link: float
  source: str


def _gpu(tf32, float32, bfloat16, bandwidth, link, source) -> Chip:
  peak = {'highest': float32, 'high': tf32, 'default': tf32}
  return Chip(peak, bfloat16, bandwidth, link, source)


def _tpu(bfloat16, bandwidth, link, source) -> Chip:
  passes = {'highest': 6, 'high': 3, 'default': 1}
  peak = {name: bfloat16 / count for name, count in passes.items()}
  return Chip(peak, bfloat16, bandwidth, link, source)


CHIPS = {
  'A100': _gpu(
    156 * T,
    19.5 * T,
    312 * T,
    2039 * G,
    300 * G,
    'NVIDIA A100 80GB SXM data sheet, 2021',
  ),
  'H100': _gpu(
    494.7 * T,
    66.9 * T,
    989.4 * T,
    3350 * G,
    450 * G,
    'NVIDIA H100 SXM5 data sheet and white paper, 2023',
  ),
  # 1,600 Gbit/s of interconnect, both directions of four links.
  'TPU v5e': _tpu(
    197 * T,
    819 * G,
    100 * G,
    'Google Cloud documentation, TPU v5e, 2024',
  ),
}

# Dollars for an hour of one chip. Assumptions, to be edited.
PRICES = {'A100': 4.0, 'H100': 7.0, 'TPU v5e': 1.2}
PRICES_OF = '2025, assumed'

# name: (which chip, how many)
MACHINES = {
  'one A100': ('A100', 1),
  'one H100': ('H100', 1),
  'TPU v5e-8': ('TPU v5e', 8),
  'TPU v5e-256': ('TPU v5e', 256),
}

# Of a chip's peak, what programs are assumed to reach. An assumption.
SHARES = (0.3, 0.5)

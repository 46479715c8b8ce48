"""What `experiments.idealized` simulates: models, sizes, cases.

>>> [case.skeleton for case in cases(QUICK)][:3]
['independent', 'independent', 'blocks']
"""

from collections.abc import Iterator
from typing import NamedTuple

from rdefense.analysis.idealized import Model, make_model

__all__ = [
  'DELTA', 'EIGHT', 'FULL', 'QUICK', 'REAL', 'SEED', 'SIDE', 'SKELETONS',
  'THRESHOLD', 'TWO', 'Case', 'Size', 'cases',
]  # fmt: skip

DELTA = 0.05
SEED = 0
SIDE = 32
# Skeleton -> side of its blocks.
SKELETONS = {'independent': 1, 'blocks': 8, 'constant': 32}
# Lemma 1: eight grey levels. Proposition 1: two, and wider noise, so that nu
# is some levels and perturbed codes cross the threshold.
EIGHT = make_model([[v] for v in range(0, 253, 36)], 36, sigma=1.0)
_WIDE = EIGHT._replace(sigma=2.0)
TWO = make_model([[60], [190]], 130, sigma=4.0)
THRESHOLD = 126  # of F; the codes' own middle is 125
REAL = {'mnist': (2, 0.6), 'cifar10': (300, 16 / 255)}  # codes, radius


class Size(NamedTuple):
  """How much is simulated."""

  preset: str
  draws: int
  images: tuple[int, ...]  # of the curves
  shown: int  # of them, in docs/results.json
  many: int  # constant images, enough to count them as samples
  num_test: int
  num_train: int


FULL = Size('full', 200, (1, 2, 4, 8, 14, 20, 32, 64), 20, 19_000, 25, 40)
QUICK = Size('quick', 3, (1, 20), 20, 50, 2, 40)


class Case(NamedTuple):
  """Training images on which Lemma 1 is tried."""

  skeleton: str
  model: Model
  side: int
  block: int
  num_images: int
  note: str = ''


def cases(size: Size) -> Iterator[Case]:
  """The curves, then sizes at which the premises differ."""
  for name, block in SKELETONS.items():
    for n in size.images:
      yield Case(name, EIGHT, SIDE, block, n)
  yield Case('independent', EIGHT, 4, 1, 1, 'few_pixels')
  yield Case('independent', _WIDE, SIDE, 1, size.shown, 'wide_noise')
  yield Case('constant', EIGHT, 2, 2, size.many, 'many_images')

"""What `experiments.hardness` looks at: codebooks, radii, and their cases.

>>> [case.name for case in cases(STUDIES['digits'])][:2]
['density2-eps0.1000-given-closed', 'density2-eps0.1000-tied-closed']
"""

from collections.abc import Iterator
from typing import NamedTuple

from rdefense.certify.lattice import RULES

__all__ = ['NEAR', 'SEED', 'STUDIES', 'Case', 'Study', 'cases', 'in_words']

SEED = 0
NEAR = 8  # levels, of neighbourhoods


class Study(NamedTuple):
  """What is looked at; the first codebook is the one of the keys."""

  books: dict[str, tuple[int, float]]  # number of codes, radius
  radii: tuple[float, ...]
  published: dict[tuple[str, float], float]  # medians, by book and radius
  unit: int = 1  # radii are printed in units of 1 / unit


STUDIES = {
  'digits': Study({'density2': (2, 0.3)}, (0.1, 0.3), {}),
  'mnist': Study(
    {'density2': (2, 0.6), 'density4': (4, 0.1)}, (0.1, 0.2, 0.3),
    {('density2', 0.3): 0.06},
  ),
  'fashion_mnist': Study(
    {'density2': (2, 0.2), 'density4': (4, 0.1)}, (0.05, 0.1, 0.2), {},
  ),
  'cifar10': Study(
    {'density300': (300, 16 / 255), 'density50': (50, 48 / 255)},
    (2 / 255, 4 / 255, 8 / 255),
    {('density300', 8 / 255): 0.27},
    unit=255,
  ),
}  # fmt: skip


class Case(NamedTuple):
  """One distribution of hardness."""

  book: str
  eps: float
  rule: str
  ball: str = 'closed'

  @property
  def name(self) -> str:
    return f'{self.book}-eps{self.eps:.4f}-{self.rule}-{self.ball}'


def cases(study: Study) -> Iterator[Case]:
  """Every codebook and radius by both rules, open balls where one is printed.

  Ties decide more there than the paper's two digits.
  """
  for book in study.books:
    for eps in study.radii:
      printed = (book, eps) in study.published
      for ball in ('closed', 'open') if printed else ('closed',):
        for rule in reversed(RULES):
          yield Case(book, eps, rule, ball)


def in_words(study: Study, eps: float) -> str:
  """A radius in the study's unit.

  >>> in_words(STUDIES['cifar10'], 2 / 255), in_words(STUDIES['mnist'], 0.1)
  ('2/255', '0.1')
  """
  return f'{study.unit * eps:.4g}' + '/255' * (study.unit == 255)

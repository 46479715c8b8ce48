"""What a conclusion of a paper compares: `Claim` and `Trend`.

Keys are those of `configs.paper.published`.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ['PUBLISHED', 'Claim', 'Side', 'Trend', 'compare']

PUBLISHED = 'published'  # whose figures: the paper's own attack


class Side(NamedTuple):
  """The best of some figures, less the best of others where there are any.

  With `worst`, of a setting under several attacks its lowest figure counts.
  """

  best: tuple[str, ...]
  less: tuple[str, ...] = ()
  worst: bool = False


class Claim(NamedTuple):
  """That `higher` is above `times` `lower` by more than `margin`.

  Attributes:
    dataset: it is about.
    text: in one sentence.
    source: paper, and its table or figure.
    attack: whose figures are compared.
    higher: keys.
    lower: keys.
    margin: in points.
    times: a factor of `lower`.
  """

  dataset: str
  text: str
  source: str
  attack: str
  higher: Side
  lower: Side
  margin: float = 0.0
  times: float = 1.0


class Trend(NamedTuple):
  """That figures rise or fall with a number.

  Attributes:
    dataset: it is about.
    text: in one sentence.
    source: paper, and its table or figure.
    attack: whose figures are compared.
    figures: number -> key.
    rise: whether they rise.
  """

  dataset: str
  text: str
  source: str
  attack: str
  figures: Mapping[int, str]
  rise: bool


def compare(dataset: str, text: str, source: str, higher, lower) -> Claim:
  """Of two sides without a difference, under the paper's own attack."""
  return Claim(dataset, text, source, PUBLISHED, Side(higher), Side(lower))

"""Each example's robust radius, from an attack above and a proof below.

  delta(x) = sup { eps : F(T(z)) = y for all ||z - x|| <= eps }

An attack that fools at eps shows delta < eps, or = eps; one that does not shows
nothing, but a proof at eps shows delta >= eps. Balls are nested, so a bisection
over eps keeps a bracket [withstood, fooled]: the largest radius found at which
the attack failed, below the smallest one at which it did not. An attack that
fails at a radius after it has succeeded at a smaller one is only a weak attack:
`fooled` stays a bound whatever it does, `withstood` never is one.

>>> truth = np.array([0.0, 0.1, 0.25, 2.0])
>>> found = bisect(lambda eps: eps > truth, 4, largest=1.0, num_steps=3)
>>> found.withstood.tolist(), found.fooled.tolist()
([0.0, 0.0, 0.25, 1.0], [0.125, 0.125, 0.375, inf])
>>> join(np.array([0.0, 0.1, 0.2, 0.0]), found).lower.tolist()
[0.0, 0.1, 0.2, 0.0]

References:
  PROTOCOL A13.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rdefense import checks

__all__ = ['Bracket', 'Radius', 'bisect', 'each_radius', 'join']


class Bracket(NamedTuple):
  """Radii in [0, 1] pixel units; all `[N]`, float64.

  Attributes:
    withstood: the largest radius at which the attack failed below `fooled`;
      -inf where the example is wrong without any attack.
    fooled: the smallest radius at which it succeeded; infinite where it did
      nowhere.
  """

  withstood: np.ndarray
  fooled: np.ndarray


class Radius(NamedTuple):
  """A bracket of the true radius, and what the attack suggests; all `[N]`.

  Attributes:
    lower: proved: no attack of this radius succeeds; -inf for no proof.
    upper: an attack of this radius succeeds; infinite for no attack.
    withstood: as in `Bracket`, not below `lower`.
  """

  lower: np.ndarray
  upper: np.ndarray
  withstood: np.ndarray


def bisect(
  fooled: Callable[[np.ndarray], np.ndarray],
  num_examples: int,
  largest: float,
  num_steps: int,
) -> Bracket:
  """Brackets the radius at which an attack begins to succeed.

  Args:
    fooled: `eps [N] float64 -> [N] bool`, whether the attack succeeds on each
      example at its own radius; at radius 0, whether the example is wrong. To
      be independent of the batch, an example's key must follow from its number,
      as in `rdefense.api` and `rdefense.evaluation`; see `each_radius`.
    num_examples: N.
    largest: radius to begin with, in [0, 1] pixel units, above 0.
    num_steps: halvings; the bracket of an example that is fooled at `largest`
      ends `largest` / 2^num_steps wide.

  Returns:
    `Bracket`.

  Raises:
    ValueError: on `largest` <= 0 or `num_steps` < 0, or on answers of another
      shape or dtype.
  """
  checks.check_positive('largest', largest, ': a radius in [0, 1] pixel units')
  checks.check_whole('num_steps', num_steps, 0)

  def asked(eps: np.ndarray) -> np.ndarray:
    answer = np.asarray(fooled(eps))
    if answer.shape != eps.shape or answer.dtype != bool:
      raise ValueError(
        f'fooled gave {answer.dtype} of shape {answer.shape}, expected bool '
        f'{eps.shape}: one answer an example.'
      )
    return answer

  wrong = asked(np.zeros(num_examples))
  broken = asked(np.full(num_examples, float(largest))) & ~wrong
  low = np.where(broken | wrong, 0.0, float(largest))
  high = np.where(broken, float(largest), np.inf)
  for _ in range(num_steps):
    # Who needs no answer asks again for one that is known.
    middle = np.where(broken, (low + np.where(broken, high, 0)) / 2, low)
    hit = asked(middle) & broken
    high = np.where(hit, middle, high)
    low = np.where(broken & ~hit, middle, low)
  return Bracket(np.where(wrong, -np.inf, low), np.where(wrong, 0.0, high))


def each_radius(
  run: Callable[[float, np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
  """An attack of one radius for all as one of a radius for each example.

  Bisection asks for few different radii at once; each is run on the examples
  that it is for, and on none twice.

  Args:
    run: `(eps, rows [n] int) -> [n] bool`, whether the attack of radius eps
      succeeds on those examples; it takes their keys from their numbers.

  Returns:
    `eps [N] -> [N] bool`, as `bisect` wants it.

  >>> each_radius(lambda eps, rows: rows > 10 * eps)(np.array([0.1, 0.0, 0.1]))
  array([False,  True,  True])
  """

  told: dict[float, dict[int, bool]] = {}

  def fooled(eps: np.ndarray) -> np.ndarray:
    for radius in np.unique(eps):
      known = told.setdefault(float(radius), {})
      asked = [int(i) for i in np.flatnonzero(eps == radius) if i not in known]
      if asked:
        answers = run(float(radius), np.array(asked))
        known.update(zip(asked, answers, strict=True))
    return np.array([told[float(e)][i] for i, e in enumerate(eps)], bool)

  return fooled


def join(certified: np.ndarray, bracket: Bracket) -> Radius:
  """Puts proofs beside attacks, and refuses what cannot both be true.

  Args:
    certified: `[N]`, the largest radius at which each example is proved
      robust, its ball closed: 0 for right without an attack, negative or NaN
      for no proof.
    bracket: of an attack on the same examples and pipeline.

  Returns:
    `Radius`.

  Raises:
    ValueError: on radii of another shape, and if an example is fooled at a
      radius at which it is certified: a bug in one of the two.
  """
  certified = np.asarray(certified, np.float64)
  if certified.shape != bracket.fooled.shape:
    raise ValueError(
      f'certified has shape {certified.shape} and the bracket '
      f'{bracket.fooled.shape}: are they of the same examples?'
    )
  lower = np.where(certified >= 0, certified, -np.inf)
  violated = np.flatnonzero(lower >= bracket.fooled)
  if violated.size:
    i = int(violated[0])
    raise ValueError(
      f'{violated.size} examples are fooled inside their certified ball, the '
      f'first number {i}: certified {lower[i]:g}, fooled at '
      f'{bracket.fooled[i]:g}: one of the two is wrong, or they are of '
      'different pipelines.'
    )
  return Radius(lower, bracket.fooled, np.maximum(bracket.withstood, lower))

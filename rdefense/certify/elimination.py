"""The least of a sum of functions of few variables each, or a bound of it.

Variables are eliminated one by one: the functions that depend on it are added
up and minimised over it, which leaves a function of their other variables.

  min_z sum_p g_p(z_p)  >=  sum over buckets of minima

Where that function would have too many entries the functions are added up in
several buckets, each minimised for itself: what comes out is still below the
least sum, and exactly that where one bucket was enough throughout.

>>> import numpy as np
>>> equal = np.array([[0.0, 2.0], [2.0, 0.0]])  # of two variables: are they?
>>> least = least_sum([((0, 1), equal), ((1, 2), -equal), ((0,), equal[0])])
>>> least.bound, least.exact, [least.choice[i] for i in (0, 1, 2)]
(-2.0, True, [0, 0, 1])

References:
  Dechter, Rish, Mini-buckets: a general scheme for bounded inference, Journal
  of the ACM 50, 2003, https://doi.org/10.1145/636865.636866.
"""

from collections.abc import Iterable, Sequence
import math
from typing import NamedTuple

import numpy as np

from rdefense import checks

__all__ = ['Least', 'Term', 'broadcast', 'least_sum']

Term = tuple[tuple[int, ...], np.ndarray]  # variables, one axis of each


class Least(NamedTuple):
  """A bound of the least sum.

  Attributes:
    bound: not above it.
    exact: is the bound the least sum itself, up to rounding?
    choice: values of the variables, those that minimise the sum where exact,
      and probably small ones elsewhere.
  """

  bound: float
  exact: bool
  choice: dict[int, int]


def broadcast(term: Term, variables: Sequence[int]) -> np.ndarray:
  """The table with an axis for each of `variables`, of length 1 for others.

  Args:
    term: variables in ascending order, and a table; further axes stay.
    variables: in ascending order, among them those of the term.
  """
  own, table = term
  sizes = iter(table.shape)
  shape = [next(sizes) if v in own else 1 for v in variables]
  return table.reshape(*shape, *table.shape[len(own) :])


def least_sum(terms: Iterable[Term], max_entries: int = 2**16) -> Least:
  """Bounds the least sum of tables over all values of their variables.

  Args:
    terms: variables in ascending order, and a table with an axis for each,
      float; all axes of a variable are equally long.
    max_entries: of any table made, where no given one is larger.

  Raises:
    ValueError: if `max_entries` is below 1.
  """
  checks.check_whole('max_entries', max_entries, 1)
  constant, exact, waiting = 0.0, True, []
  for variables, table in terms:
    if variables:
      waiting.append((variables, np.asarray(table, np.float64)))
    else:
      constant += float(table)
  sizes = {
    v: n for variables, table in waiting
    for v, n in zip(variables, table.shape, strict=True)
  }  # fmt: skip
  eliminated: list[tuple[int, list[Term]]] = []
  while waiting:
    variable = min(sizes.keys() - {v for v, _ in eliminated}, key=lambda v: (
      _entries({u for us, _ in waiting if v in us for u in us}, sizes), v
    ))  # fmt: skip
    mine = [term for term in waiting if variable in term[0]]
    waiting = [term for term in waiting if variable not in term[0]]
    buckets = _buckets(mine, sizes, max_entries)
    exact &= len(buckets) <= 1
    eliminated.append((variable, buckets))
    for variables, table in buckets:
      left = table.min(variables.index(variable))
      rest = tuple(v for v in variables if v != variable)
      if rest:
        waiting.append((rest, left))
      else:
        constant += float(left)
  choice: dict[int, int] = {}
  for variable, buckets in reversed(eliminated):
    total = np.zeros(sizes[variable])
    for variables, table in buckets:
      total += table[
        tuple(slice(None) if v == variable else choice[v] for v in variables)
      ]
    choice[variable] = int(total.argmin())
  return Least(constant, exact, choice)


def _entries(variables: Iterable[int], sizes: dict[int, int]) -> int:
  return math.prod(sizes[v] for v in variables)


def _buckets(
  terms: list[Term], sizes: dict[int, int], max_entries: int
) -> list[Term]:
  """Sums of the terms, no larger than `max_entries` unless a term is."""
  buckets: list[tuple[tuple[int, ...], list[Term]]] = []
  for term in sorted(terms, key=lambda term: -term[1].size):
    for i, (variables, members) in enumerate(buckets):
      union = tuple(sorted({*variables, *term[0]}))
      if union == variables or _entries(union, sizes) <= max_entries:
        buckets[i] = union, [*members, term]
        break
    else:
      buckets.append((term[0], [term]))
  return [
    (union, np.broadcast_to(
      sum(broadcast(term, union) for term in members),
      [sizes[v] for v in union],
    ))
    for union, members in buckets
  ]  # fmt: skip

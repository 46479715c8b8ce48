"""Who wins, by the draws of a randomised defense: three rules, named.

A verdict on an example is `[m]` predictions of the deployed pipeline, each
under a fresh key that no attack has seen. From the same draws,

  one_query   the first draw is right: what a single query meets
  majority    the label has more votes than any other class; a tie between
              the most voted classes abstains and does not count as right
  best_of_q   each of the first q draws is right: an attacker who may ask q
              times and needs to win once has lost

The example is the unit of every interval, not the draw: draws on one example
are dependent, because it is one example. A deterministic defense is the case
m = 1, in which the rules agree.

>>> draws = np.array([[3, 3, 1], [3, 1, 2], [1, 3, 3]])
>>> labels = np.array([3, 3, 3])
>>> one_query(draws, labels).tolist()
[True, True, False]
>>> majority(draws, labels).tolist(), abstains(draws).tolist()
([True, False, True], [False, True, False])
>>> best_of(draws, labels, 2).tolist()
[True, False, False]

References:
  Carlini et al., On evaluating adversarial robustness, 2019,
  https://arxiv.org/abs/1902.06705, on randomised defenses.
"""

import numpy as np

from rdefense import checks

__all__ = ['abstains', 'best_of', 'majority', 'one_query', 'votes']


def votes(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The most voted class of each example, and whether it is the only one.

  Args:
    draws: `[N, m]` integers, predictions.

  Returns:
    `(winner [N], unique [N] bool)`; among tied classes the lowest wins.
  """
  draws = np.asarray(draws)
  counts = (draws[:, :, None] == draws[:, None, :]).sum(-1)  # of each's class
  most = counts.max(1, keepdims=True)
  leading = counts == most
  high = np.where(leading, draws, draws.min()).max(1)
  low = np.where(leading, draws, draws.max()).min(1)
  return low, low == high


def abstains(draws: np.ndarray) -> np.ndarray:
  """`[N]` bool: two classes or more share the most votes."""
  return ~votes(draws)[1]


def one_query(draws: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """`[N]` bool: the first draw of `[N, m]` is right."""
  return np.asarray(draws)[:, 0] == labels


def majority(draws: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """`[N]` bool: the label alone has the most votes of `[N, m]`."""
  winner, unique = votes(draws)
  return unique & (winner == labels)


def best_of(
  draws: np.ndarray, labels: np.ndarray, num_queries: int
) -> np.ndarray:
  """`[N]` bool: each of the first `num_queries` draws of `[N, m]` is right.

  Raises:
    ValueError: if there are fewer draws than queries, or no query.
  """
  checks.check_whole('num_queries', num_queries, 1)
  draws = np.asarray(draws)
  if num_queries > draws.shape[1]:
    raise ValueError(
      f'num_queries={num_queries} exceeds the {draws.shape[1]} draws an '
      'example was judged on.'
    )
  right = draws[:, :num_queries] == np.asarray(labels)[:, None]
  return right.all(1)

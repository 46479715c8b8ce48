"""What votes of a randomised classifier say of its probabilities, and back.

Of m independent draws on one image, n_c vote for class c. With probability
1 - delta, all at once,

  P[y] >= low   and   P[z] <= high for every other class z,

by exact intervals that spend half of delta on the right class y and share the
other half among the others. An attack bounded by `rdefense.certify.divergences`
or `privacy_loss` leaves of each event some probability at least; with those of
the events {y} and {not z} the margin P[y] - max P[z] stays above

  margin >= least(low) + least(1 - high) - 1,

and where that is g > 0, a majority of m' fresh votes of the attacked image is
right but for probability (K - 1) exp(-m' g^2 / 2), by Hoeffding.

>>> votes = np.array([[990, 10, 0]])
>>> shares(votes, np.array([0]), delta=0.001).round(4).tolist()
[[0.9749, 0.9749]]
>>> f'{vote_failure(0.2, num_votes=1000, num_classes=3):.1e}'
'4.1e-09'

References:
  Zhang, Liang, 2019, Proposition 2; PROTOCOL B4 and traps 26 and 30.
"""

import math

import numpy as np
from scipy import stats

from rdefense import checks

__all__ = [
  'check_votes',
  'margin_seen',
  'shares',
  'smallest_number',
  'vote_failure',
  'votes_needed',
]


def shares(votes: np.ndarray, labels: np.ndarray, delta: float) -> np.ndarray:
  """Lower bounds of P[y] and of 1 - max P[z], together at 1 - delta.

  Args:
    votes: `[N, K]` integers, of the draws on each image, K from 2.
    labels: `[N]`, the right classes.
    delta: probability that a bound of an image fails, in (0, 1).

  Returns:
    `[N, 2]` float64.

  Raises:
    ValueError: on delta outside (0, 1), on fewer votes than could ever certify
      anything, on fewer than two classes, and on labels that are none of them.
  """
  votes, labels = np.asarray(votes), np.asarray(labels)
  num_classes = votes.shape[1]
  checks.check_at_least(
    'num_classes', num_classes, 2, ': votes [N, K] count each of K classes'
  )
  checks.check_labels(labels, len(votes), num_classes)
  total = votes.sum(-1)
  check_votes(int(total.min()), delta)
  right = np.take_along_axis(votes, labels[:, None], 1)[:, 0]
  others = np.where(np.arange(num_classes) == labels[:, None], -1, votes)
  most = others.max(-1)
  low = np.where(
    right > 0, stats.beta.ppf(delta / 2, right, total - right + 1), 0.0
  )
  tail = delta / 2 / (num_classes - 1)
  with np.errstate(invalid='ignore'):
    high = stats.beta.isf(tail, most + 1, total - most)
  not_other = 1 - np.where(most < total, high, 1.0)
  # What is not y holds every other class.
  return np.stack([low, np.maximum(not_other, low)], -1)


def smallest_number(delta: float) -> int:
  """The least number of votes that could certify: all of them right.

  Raises:
    ValueError: on delta outside (0, 1).

  >>> smallest_number(0.001)
  11
  """
  checks.check_probability('delta', delta, ': a bound fails with it')
  return math.floor(math.log(2 / delta) / math.log(2)) + 1


def check_votes(num_votes: int, delta: float) -> None:
  """Raises `ValueError` where so few votes could not certify any image."""
  least = smallest_number(delta)
  checks.check_whole(
    'num_votes',
    num_votes,
    least,
    f': with fewer, no image can be certified at delta={delta}',
  )


def margin_seen(votes: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Share of the right class less that of the next, `[N]`: no bound.

  For comparison with the papers, which use it as if it were exact.
  """
  votes, labels = np.asarray(votes), np.asarray(labels)
  mine = np.arange(votes.shape[1]) == labels[:, None]
  right = np.where(mine, votes, 0).sum(-1)
  return (right - np.where(mine, -1, votes).max(-1)) / votes.sum(-1)


def vote_failure(margin, num_votes: int, num_classes: int):
  """(K - 1) exp(-m g^2 / 2): a majority errs with no more than that.

  Args:
    margin: g, a lower bound of the attacked margin; 1 where it is not
      positive.
    num_votes: m, of the attacked image.
    num_classes: K.

  References:
    Paper B, Proposition 2, in the form that Hoeffding's inequality supports;
    PROTOCOL B4.
  """
  margin = np.maximum(margin, 0.0)
  bound = (num_classes - 1) * np.exp(-num_votes * margin**2 / 2)
  return np.minimum(bound, 1.0)


def votes_needed(margin: float, failure: float, num_classes: int) -> int:
  """The least m at which `vote_failure` is `failure` or less.

  Raises:
    ValueError: if margin <= 0, or failure is outside (0, 1).

  >>> votes_needed(0.2, 0.001, 10)
  456
  """
  checks.check_positive('margin', margin, ': no number of votes would do')
  checks.check_probability('failure', failure)
  return math.ceil(2 * math.log((num_classes - 1) / failure) / margin**2)

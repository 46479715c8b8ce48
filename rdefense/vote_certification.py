"""Certificates of randomised defenses over a dataset: votes, then bounds.

The counterpart of `rdefense.certification`. Many draws of the deployed pipeline
on each clean image are counted once; at every radius they become lower bounds
of the margin under any attack, each by the means that `certify.randomized`
knows. An image is certified where such a bound is positive: a majority of
enough votes is right then, whatever the attack. Rows go to disk shard by shard,
so a killed run resumes where it stood.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from rdefense import counting
from rdefense.certify import votes
from rdefense.certify.randomized import BOUNDS, Certifier, best
from rdefense.counting import Tally
from rdefense.data.batches import Batch
from rdefense.data.sources import Arrays
from rdefense.deployed import Target, judge
from rdefense.judging import majority
from rdefense.shards import worked_off
from rdefense.types import Key

__all__ = [
  'FOR_CENTERS',
  'RULES',
  'certify',
  'count_votes',
  'tallies',
  'wrong_votes',
]

# What a figure may be: two that are no bounds, then those that are.
RULES = ('as_coded', 'as_printed', *BOUNDS, 'best')
FOR_CENTERS = 0.1  # of delta, for draws of centres; the rest is for the votes


def count_votes(
  target: Target,
  arrays: Arrays,
  key: Key,
  directory,
  num_votes: int,
  delta: float,
  num_examples: int | None = None,
  shard_size: int = 100,
  title: str = '',
) -> Mapping[str, np.ndarray]:
  """Predictions of the pipeline on clean images, counted class by class.

  Args:
    target: the pipeline.
    arrays: the dataset, in order.
    key: of the draws, shown to no attack; consumed.
    directory: where the shards lie; present ones are not computed again.
    num_votes: draws on each image.
    delta: probability that the certificate of an image fails; checked here,
      before any work is done.
    num_examples: the first so many; None means all.
    shard_size: examples a shard.
    title: shown by the progress bar with the accuracy of the majority so far.

  Returns:
    Columns sorted by example: `index`, `label`, `votes` `[N, num_classes]`.

  Raises:
    ValueError: on delta outside (0, 1), too few votes for any certificate,
      labels out of range, a network of more classes than the dataset's, or a
      damaged shard.
  """
  votes.check_votes(num_votes, delta * (1 - FOR_CENTERS))
  drawn = target._replace(num_draws=num_votes)

  def compute(batch: Batch):
    draws, _ = judge(drawn, key, batch.index, batch.image, batch.label)
    draws = draws[batch.mask]
    if draws.max() >= arrays.num_classes:
      raise ValueError(
        f'a draw is of class {draws.max()}, and {arrays.name} has '
        f'{arrays.num_classes}: votes for none of them would be lost, so that '
        'the network must have the classes of the data.'
      )
    classes = np.arange(arrays.num_classes)
    counts = [(draws == number).sum(1) for number in classes]
    return {
      'index': batch.index[batch.mask].astype(np.int64),
      'label': batch.label[batch.mask],
      'votes': np.stack(counts, 1).astype(np.int32),
    }

  def count(columns) -> np.ndarray:
    right = votes.margin_seen(columns['votes'], columns['label']) > 0
    return np.array([right.sum(), len(right)])

  def tell(counts: np.ndarray) -> str:
    right, seen = counts
    return f'majority right {right}/{seen} = {100 * right / seen:.2f}%'

  return worked_off(
    arrays, directory, shard_size, num_examples, compute, count, tell, title
  )


def certify(
  voted: Mapping[str, np.ndarray],
  arrays: Arrays,
  see: Callable[[np.ndarray], np.ndarray],
  certifier: Certifier,
  eps: float,
  delta: float,
  directory,
  shard_size: int = 100,
  title: str = '',
) -> Mapping[str, np.ndarray]:
  """Bounds the margin of every image that was voted on, at one l_inf radius.

  Args:
    voted: rows of `count_votes`, of the first examples of the dataset.
    arrays: the dataset.
    see: from images to those that the noise meets.
    certifier: of the defense; it may fail on an image with the share
      `FOR_CENTERS` of delta, which the votes leave.
    eps: radius in [0, 1] pixel units.
    delta: probability that the certificate of an image fails, in (0, 1).
    directory, shard_size, title: as for `count_votes`.

  Returns:
    Columns sorted by example: `index`, `label`, and under `certificate/`
    `divergence`, `seen` (the margin of the votes themselves) and, of each of
    `randomized.BOUNDS` that the certifier gives and of `best`, the margin that
    no attack gets below, but for delta.

  Raises:
    ValueError: as `votes.shares` and the certifier.
  """
  place = {int(index): row for row, index in enumerate(voted['index'])}

  def compute(batch: Batch):
    index = batch.index[batch.mask].astype(np.int64)
    rows = [place[number] for number in index.tolist()]
    labels = batch.label[batch.mask]
    shares = votes.shares(
      voted['votes'][rows], labels, delta * (1 - FOR_CENTERS)
    )
    found = certifier(see(batch.image[batch.mask]), eps, shares, index)
    return {
      'index': index,
      'label': labels,
      'certificate/divergence': found.divergence,
      'certificate/seen': votes.margin_seen(voted['votes'][rows], labels),
      'certificate/best': best(found),
    } | {f'certificate/{name}': m for name, m in found.margin.items()}

  def count(columns) -> np.ndarray:
    return np.array(
      [(columns['certificate/best'] > 0).sum(), len(columns['index'])]
    )

  def tell(counts: np.ndarray) -> str:
    return f'certified {counts[0]}/{counts[1]}'

  return worked_off(
    arrays,
    directory,
    shard_size,
    len(voted['index']),
    compute,
    count,
    tell,
    title,
  )


def tallies(
  rows: Mapping[str, np.ndarray], rules: Collection[str] = RULES
) -> dict[str, Tally]:
  """Certified examples under each of some rules, with exact 95% intervals.

  The first two of `RULES` are no certificates: `as_printed` takes the margin of
  the votes for the true one, margin > sqrt(2 U); `as_coded` tests margin >
  sqrt(U) at three decimals, as the authors' script of MNIST does, and no other
  of theirs (PROTOCOL B4, traps 27 and 30).

  Args:
    rows: of `certify`.
    rules: those of `RULES` that are asked for; bounds that the certifier does
      not give are left out.
  """
  seen, divergence = rows['certificate/seen'], rows['certificate/divergence']
  found = {
    'as_coded': np.maximum(seen.round(3), 0) > np.sqrt(divergence),
    'as_printed': seen > np.sqrt(2 * divergence),
  } | {
    name: rows[f'certificate/{name}'] > 0
    for name in RULES[2:]
    if f'certificate/{name}' in rows
  }
  return {
    name: counting.tally(certified)
    for name, certified in found.items()
    if name in rules
  }


def wrong_votes(
  certified: Mapping[str, np.ndarray],
  attacked: Mapping[str, np.ndarray],
  num_classes: int,
  delta: float,
) -> tuple[np.ndarray, float]:
  """Examples certified by the best bound whose attacked majority was wrong.

  Args:
    certified: rows of `certify`.
    attacked: rows of `evaluation.evaluate` at the same radius or a smaller one,
      of the same target.
    num_classes: of the dataset.
    delta: probability that the certificate of an image fails, as of `certify`.

  Returns:
    Their `index`, and how many of them are allowed at most in expectation: of
    all images, certified or not, a share of delta may have got a certificate
    that fails; of the certified ones so few votes may.
  """
  shared, mine, theirs = np.intersect1d(
    certified['index'], attacked['index'], return_indices=True
  )
  margin = certified['certificate/best'][mine]
  draws = attacked['verdict/draws'][theirs]
  wrong = ~majority(draws, attacked['label'][theirs])
  proved = margin > 0
  failure = votes.vote_failure(margin[proved], draws.shape[1], num_classes)
  return shared[proved & wrong], float(delta * len(shared) + failure.sum())

"""A defense whose accuracy is known, evaluated: the report must say it.

  python -m experiments.controlled_truth
  python -m experiments.controlled_truth --quick

Images all bright or all dark, a classifier that cannot be fooled by moving
pixels by the radius, and before it a coin: in one draw of ten the image becomes
its negative, whatever the attacker does. So 90% of queries are answered
rightly, attack or not. An evaluator that counts an image as broken once any of
the queries it made along the way went wrong, as running flags over attacks and
restarts do, measures 0.9^q instead: with q = 3 queries 72.9%. Here attacks are
judged once, under keys of their own (`rdefense.judging`).

Shown are the three rules from the same draws, each beside what it must come to;
and in how many parts of the images, each with draws of its own as an evaluation
of so few would have, the interval of one query holds the truth: in 95 of a
hundred, or more.
"""

from collections.abc import Mapping
from pathlib import Path
import tempfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from experiments import publish
from experiments.measuring import timing
from experiments.publish import Entry
from experiments.running import program
from experiments.running.program import command_line
from rdefense import (
  counting,
  deployed,
  evaluation,
  judging,
  losses,
  provenance,
)
from rdefense.attacks import Recipe, sign
from rdefense.counting import Tally
from rdefense.data import Arrays
from rdefense.defenses import Defense

__all__ = [
  'EPS',
  'Found',
  'Size',
  'coin_images',
  'measure',
  'pipeline',
  'truths',
]

EPS = 0.1
_ERRS = 0.1
_NUM_DRAWS, _QUERIES = 20, (3, 10)
_EOT = Recipe(
  'eot',
  losses.cross_entropy,
  sign,
  0.02,
  3,
  num_draws=4,
  num_restarts=3,
  every_example=True,
)
# What could take lucky draws for success, many times over.
_ENSEMBLE = (_EOT, _EOT._replace(name='again', average='log_probability'))


class Size(NamedTuple):
  """Images, and those of a part."""

  images: int = 50_000
  part: int = 500


FULL, QUICK = Size(), Size(200, 50)


class Found(NamedTuple):
  """A rule's figure, and what it must come to."""

  tally: Tally
  truth: float  # percent


def pipeline() -> deployed.Target:
  """Class 1 above a half, class 0 below, behind the coin."""

  def bright(params, x):
    del params
    return jnp.stack([0.5 - x.mean(), x.mean() - 0.5])

  def coin(codes, alpha):
    del codes, alpha

    def fn(key, x):
      return jnp.where(jax.random.uniform(key) < _ERRS, 1 - x, x)

    return Defense(fn, fn)

  return deployed.Target(bright, coin, (), None, num_draws=_NUM_DRAWS)


def coin_images(num: int) -> Arrays:
  """Bright and dark images in turn, at 0.8 and 0.2."""
  images = np.full((num, 2, 2, 1), 51, np.uint8)
  images[::2] = 204
  return Arrays(images, np.arange(1, num + 1, dtype=np.int32) % 2, 2, 'coin')


def truths() -> dict[str, float]:
  """What each rule must come to, in percent, by binomial probabilities."""
  right = stats.binom(_NUM_DRAWS, 1 - _ERRS)
  return {
    'one_query': 100 * (1 - _ERRS),
    f'majority_of_{_NUM_DRAWS}': 100 * float(right.sf(_NUM_DRAWS // 2)),
  } | {f'best_of_{q}': 100 * (1 - _ERRS) ** q for q in _QUERIES}


def measure(size: Size) -> tuple[dict[str, Found], Tally]:
  """All rules under attack, and in how many parts the interval is true.

  Returns:
    Rule -> `Found`; of the parts, those whose interval of one query holds the
    truth.

  Raises:
    RuntimeError: where that of all images does not.
  """
  with tempfile.TemporaryDirectory() as directory:
    rows = evaluation.evaluate(
      pipeline(),
      coin_images(size.images),
      _ENSEMBLE,
      'linf',
      EPS,
      jax.random.key(0),
      Path(directory),
      500,
    )
  draws, labels = rows['verdict/draws'], rows['label']
  told = counting.rules(rows, 'verdict')
  for q in _QUERIES:
    few = judging.best_of(draws, labels, q)
    told[f'best_of_{q}'] = counting.tally(few)._asdict()
  found = {
    name: Found(counting.tally_of(told[name]), truth)
    for name, truth in truths().items()
  }
  query = found['one_query']
  if not _holds(*query):
    raise RuntimeError(f'one query is right in {query}: a bug of ours.')
  parts = judging.one_query(draws, labels).reshape(-1, size.part)
  held = [_holds(counting.tally(part), query.truth) for part in parts]
  return found, counting.tally(np.array(held))


def _holds(told: Tally, truth: float) -> bool:
  return told.low <= truth <= told.high


def _table(found: Mapping[str, Found], held: Tally) -> str:
  lines = [f'{"rule":16}{"told":>9}{"interval":>18}{"truth":>9}']
  for name, (told, truth) in found.items():
    interval = f'[{told.low:.2f}, {told.high:.2f}]'
    lines.append(f'{name:16}{told.percent:>8.2f}%{interval:>18}{truth:>8.2f}%')
  lines.append(
    f'In {held.correct} of {held.total} parts the interval of one query holds '
    'the truth.'
  )
  return '\n'.join(lines)


def _entries(found: Mapping[str, Found], held: Tally) -> dict[str, Entry]:
  told = {
    name: (tally, f'{truth:.4g}% within its interval')
    for name, (tally, truth) in found.items()
  } | {'intervals_that_hold': (held, '95% or more, within its interval')}
  results = {
    'environment': provenance.environment(),
    'preset': 'full',
    'command': command_line('controlled_truth'),
  }
  return {
    f'benchmark/controlled_truth/{name}': publish.entry(
      results, tally._asdict()
    )._replace(target=target)
    for name, (tally, target) in told.items()
  }


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  del argv
  found, held = measure(QUICK if timing.quick_asked() else FULL)
  print(_table(found, held))
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, _entries(found, held))


if __name__ == '__main__':
  program.run(main)

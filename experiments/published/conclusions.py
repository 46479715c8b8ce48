"""What both papers conclude, judged by figures: theirs, and what we measured.

A claim of `configs/paper/claims.py` holds, or does not, where the intervals of
what it compares (`experiments.published.sides`) leave no doubt; otherwise its
sides are not told apart. A trend is an exact test of ranks.

>>> judged(CLAIMS[0], {}).verdict
'not measured'
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from configs.paper.claims import CLAIMS, Claim, Trend
from configs.paper.published import PUBLISHED
from experiments.published.cells import signed, sizes
from experiments.published.results import published_key
from experiments.published.sides import LEVEL, best, bought

__all__ = ['HEADER', 'Conclusion', 'judged', 'lines']

HEADER = (
  'data set',
  'conclusion',
  'source',
  'attack',
  'ours',
  'verdict',
  'the paper',
)
_FEWEST = 4  # figures that a trend needs: of three, all orders are likely


class Conclusion(NamedTuple):
  """What figures say about a claim; `verdict` is one of four."""

  sentence: str
  verdict: str


def lines(
  results: Mapping[str, Mapping[str, Any]],
  claims: Iterable[Claim | Trend] = CLAIMS,
) -> list[tuple[str, ...]]:
  """A row of `HEADER` for each claim.

  Args:
    results: key -> fields of `Entry`, as docs/results.json holds them.
    claims: to judge.
  """
  found = {published_key(key): fields for key, fields in results.items()}
  paper = {
    key: {'value': value, 'low': value, 'high': value}
    for key, (value, _) in PUBLISHED.items()
  }
  rows: list[tuple[str, ...]] = []
  for claim in claims:
    ours, theirs = judged(claim, found), judged(claim, paper)
    printed = theirs.sentence or '–'
    if theirs.sentence and theirs.verdict != 'holds':
      printed += f': {theirs.verdict}'
    rows.append(
      (
        claim.dataset, claim.text, claim.source, claim.attack,
        ours.sentence or '–', ours.verdict, printed,
      )
    )  # fmt: skip
  return rows


def judged(
  claim: Claim | Trend, found: Mapping[str, Mapping[str, Any]]
) -> Conclusion:
  """Judges one claim.

  Args:
    claim: of `configs.paper.claims`.
    found: a paper's key -> value, low and high, of ours or of the paper.

  Returns:
    The figures in one sentence ('' where there are none) and whether the claim
    `holds`, `does not hold`, is `not told apart`, or was `not measured`.
  """
  if isinstance(claim, Trend):
    return _trend(claim, found)
  higher, lower = (best(side, found) for side in (claim.higher, claim.lower))
  if higher is None or lower is None:
    return Conclusion('', 'not measured')
  gain = None
  if claim.times == 1:
    gain = bought(claim.higher, claim.lower, found)
  if gain is not None:
    low, high = gain.low - claim.margin, gain.high - claim.margin
    shares = f'{higher.share} against {lower.share}'
    return Conclusion(f'{shares}: {gain.sentence}', _verdict(low, high))
  sentence = f'{higher.sentence} against {lower.sentence}'
  if claim.margin:
    sentence += f': {signed(higher.value - lower.value, 1)} points'
  if claim.times != 1 and lower.value:
    sentence += f': {higher.value / lower.value:.1f} times'
  beyond = lambda high, low: high - claim.times * low - claim.margin
  return Conclusion(
    sentence,
    _verdict(beyond(higher.low, lower.high), beyond(higher.high, lower.low)),
  )


def _verdict(low: float, high: float) -> str:
  """Of a difference that lies between these ends."""
  if low > 0:
    return 'holds'
  return 'does not hold' if high < 0 else 'not told apart'


def _trend(claim: Trend, found) -> Conclusion:
  there = {k: key for k, key in claim.figures.items() if key in found}
  if len(there) < _FEWEST:
    return Conclusion('', 'not measured')
  values = np.array([found[key]['value'] for key in there.values()])
  ranks = stats.rankdata(values)
  if len(set(ranks)) == 1:
    return Conclusion('all figures are the same', 'not told apart')
  order = np.arange(1.0, len(ranks) + 1)
  rank = stats.spearmanr(order, ranks).statistic
  chances = {rise: _chance(order, ranks, rise) for rise in (True, False)}
  rise, verdict = claim.rise, 'not told apart'
  if chances[rise] <= LEVEL:
    verdict = 'holds'
  elif chances[not rise] <= LEVEL:
    rise, verdict = not rise, 'does not hold'
  listed = ', '.join(
    f'{k}: {v:.1f}' for k, v in zip(there, values, strict=True)
  )
  n = sizes(found[key].get('examples') for key in there.values())
  size = f'n = {n}, ' if n else ''
  return Conclusion(
    f'{listed} ({size}rank correlation {signed(rank, 2)}, '
    f'{"rise" if rise else "fall"}: p = {chances[rise]:.2g})',
    verdict,
  )


def _chance(order: np.ndarray, ranks: np.ndarray, rise: bool) -> float:
  """The exact one-sided p of Spearman's correlation."""
  found = stats.permutation_test(
    (ranks,),
    lambda drawn, axis=-1: np.sum(drawn * order, axis=axis),
    permutation_type='pairings',
    alternative='greater' if rise else 'less',
    n_resamples=np.inf,
    vectorized=True,
  )
  return float(found.pvalue)

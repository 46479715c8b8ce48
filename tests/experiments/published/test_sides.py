"""Sides of a claim by what is known of the same images, and without it."""

import numpy as np
import pytest

from configs.paper.claims import Claim, Side
from experiments.published import sides
from experiments.published.conclusions import judged
from rdefense import counting, gains

BARE, BEHIND = Side(('a/bare/e/p',)), Side(('a/k*/e/p',))
TOTAL = 400


def share(key, right):
  """A figure as docs/results.json holds it."""
  tally = counting.tally(np.arange(TOTAL) < right)
  fields = dict(zip(('value', 'low', 'high'), tally[2:], strict=True))
  return {key: fields | {'examples': TOTAL}}


def gain(key, gained, lost, against='bare/e/p'):
  held = {'against': against, 'gained': gained, 'lost': lost}
  return {f'gain/{key}': {'gain': held, 'examples': TOTAL}}


@pytest.fixture
def found():
  """One defense gains 12 of 400 images, another gains 6 and loses 8."""
  return {
    **share('a/bare/e/p', 200),
    **share('a/k2/e/p', 212),
    **share('a/k5/e/p', 198),
    **gain('a/k2/e/p', 12, 0),
    **gain('a/k5/e/p', 6, 8),
  }


def of_defenses(higher=BEHIND, lower=BARE, **options):
  return Claim('a', 'a claim', 'A', 'published', higher, lower, **options)


def test_the_same_images_tell_what_intervals_apart_do_not(found):
  expected = [
    gains.of_counts(g, lost, TOTAL, 0.975) for g, lost in [(12, 0), (6, 8)]
  ]
  got = sides.bought(BEHIND, BARE, found)
  assert got.value == 3.0
  assert got.low == max(each.low for each in expected) > 0
  assert got.high == max(each.high for each in expected)
  said = judged(of_defenses(), found)
  assert said.verdict == 'holds'
  ends = f'[+{got.low:.1f}, +{got.high:.1f}]'
  assert said.sentence == (
    f'53.0% (k2, best of 2) against 50.0%: +3.0 points {ends}'
  )
  without = {key: f for key, f in found.items() if not key.startswith('gain')}
  assert judged(of_defenses(), without).verdict == 'not told apart'


@pytest.mark.parametrize(
  'missing',
  [
    {'gain/a/k5/e/p': {}},
    gain('a/k5/e/p', 6, 8, against='bare/e/q'),
    gain('a/k5/e/p', 6, 8, against='other/e/p'),
  ],
  ids=['unknown', 'another attack', 'another model'],
)
def test_a_gain_must_be_known_of_each_over_the_same(found, missing):
  assert sides.bought(BEHIND, BARE, found | missing) is None


def test_a_margin_is_taken_from_the_gain(found):
  low = sides.bought(BEHIND, BARE, found).low
  for margin, verdict in ((low / 2, 'holds'), (low + 1, 'not told apart')):
    assert judged(of_defenses(margin=margin), found).verdict == verdict


def test_several_times_as_much_is_of_shares(found):
  said = judged(of_defenses(times=1.01), found)
  assert said.sentence.endswith('1.1 times')


def test_gains_of_two_data_sets_are_compared(found):
  other = {
    key.replace('a/', 'b/', 1): fields for key, fields in found.items()
  } | share('b/bare/e/p', 80) | share('b/k2/e/p', 300)  # fmt: skip
  other |= gain('b/k2/e/p', 220, 0)
  both = found | other
  much = Side(('b/k*/e/p',), ('b/bare/e/p',))
  little = Side(BEHIND.best, BARE.best)
  said = judged(of_defenses(much, little), both)
  assert said.verdict == 'holds'
  of_a, of_b = (
    sides.bought(behind, bare, both)
    for behind, bare in ((BEHIND, BARE), (Side(much.best), Side(much.less)))
  )
  assert said.sentence == (
    f'{of_b.sentence} (20.0% to 75.0% (k2, best of 2)) against '
    f'{of_a.sentence} (50.0% to 53.0% (k2, best of 2))'
  )
  assert judged(of_defenses(little, much), both).verdict == 'does not hold'

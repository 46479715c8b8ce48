"""Shares of rows, and what is recomputed from them."""

import numpy as np
import pytest

from rdefense import counting


def test_tally_counts_in_percent():
  tally = counting.tally(np.arange(200) < 150)
  assert tally[:3] == (150, 200, 75.0)
  # scipy.stats.binomtest(150, 200).proportion_ci(method='exact'), in percent
  assert (tally.low, tally.high) == pytest.approx((68.40, 80.84), abs=0.01)


@pytest.mark.parametrize(
  'correct', [np.array([], bool), np.array([0, 1]), np.ones((2, 2), bool)]
)
def test_tally_refuses_what_is_not_a_vector_of_booleans(correct):
  with pytest.raises(ValueError):
    counting.tally(correct)


def test_summary_is_recomputed_from_rows():
  table = {
    'label': np.arange(8),
    'clean/predicted': np.where(np.arange(8) % 4 == 0, -1, np.arange(8)),
    'clean/gradients': np.full(8, 2**30, np.int32),
    'clean/seconds': np.full(8, 0.5, np.float32),
    'clean/broken_by': np.array([-1, -1, 0, 2, 2, -1, -1, -1], np.int32),
  }
  summary = counting.summarize(table, 'clean')
  assert (summary['correct'], summary['total']) == (6, 8)
  assert summary['gradients'] == 2**33, 'a sum in int32 would overflow'
  assert summary['seconds'] == 4.0
  assert summary['broken_by'] == {'-1': 5, '0': 1, '2': 2}
  with pytest.raises(ValueError, match="'eps0.3/pgd'.*clean"):
    counting.summarize(table, 'eps0.3/pgd')

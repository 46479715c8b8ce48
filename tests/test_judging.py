"""The three rules, against counting by hand."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rdefense import judging


@st.composite
def verdicts(draw):
  """Few classes and few draws, so that ties are common."""
  num_draws = draw(st.integers(1, 6))
  row = st.lists(st.integers(0, 3), min_size=num_draws, max_size=num_draws)
  draws = draw(st.lists(row, min_size=1, max_size=8))
  label = st.integers(0, 3)
  labels = draw(st.lists(label, min_size=len(draws), max_size=len(draws)))
  return np.array(draws), np.array(labels)


@given(verdicts())
def test_rules_agree_with_counting(case):
  draws, labels = case
  for i, (row, label) in enumerate(zip(draws.tolist(), labels, strict=True)):
    most = Counter(row).most_common()
    tied = sorted(c for c, count in most if count == most[0][1])
    winner, unique = judging.votes(draws)
    assert winner[i] == tied[0]
    assert unique[i] == (len(tied) == 1) != judging.abstains(draws)[i]
    assert judging.majority(draws, labels)[i] == (tied == [label])
    assert judging.one_query(draws, labels)[i] == (row[0] == label)
    for q in range(1, len(row) + 1):
      survives = all(c == label for c in row[:q])
      assert judging.best_of(draws, labels, q)[i] == survives


@given(verdicts())
def test_more_queries_never_help_the_defense(case):
  draws, labels = case
  survivors = [
    judging.best_of(draws, labels, q).sum()
    for q in range(1, draws.shape[1] + 1)
  ]
  assert survivors == sorted(survivors, reverse=True)
  assert survivors[0] == judging.one_query(draws, labels).sum()


def test_of_one_draw_all_rules_agree():
  draws, labels = np.array([[1], [2], [0]]), np.array([1, 0, 0])
  expected = [True, False, True]
  assert judging.one_query(draws, labels).tolist() == expected
  assert judging.majority(draws, labels).tolist() == expected
  assert judging.best_of(draws, labels, 1).tolist() == expected
  assert not judging.abstains(draws).any()


@pytest.mark.parametrize(
  'queries, message',
  [(0, 'num_queries=0 must be at least 1'), (3, 'exceeds the 2 draws')],
)
def test_impossible_queries_are_an_error(queries, message):
  with pytest.raises(ValueError, match=message):
    judging.best_of(np.zeros((4, 2)), np.zeros(4), queries)

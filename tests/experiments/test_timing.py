"""The arithmetic of figures; never a time."""

import numpy as np

from experiments import timing


def test_competitors_take_turns_and_the_first_round_does_not_count():
  calls = []
  seconds = timing.take_turns(
    {name: lambda name=name: calls.append(name) for name in 'abc'}, 2
  )
  assert ''.join(calls) == 'abc' * 3
  assert list(seconds) == ['a', 'b', 'c']
  assert all(len(s) == 2 and (s >= 0).all() for s in seconds.values())


def test_a_figure_is_a_median_between_quartiles():
  figure = timing.Figure(np.array([9.0, 1.0, 2.0, 4.0, 3.0]), 'at least 2')
  assert figure.quartiles == [2.0, 3.0, 4.0]
  found = timing.entries({'a_over_b': figure})['benchmark/a_over_b']
  assert (found.value, found.low, found.high) == (3.0, 2.0, 4.0)
  assert found.target == 'at least 2' and found.unit == 'times'
  line = timing.table({'a_over_b': figure}).splitlines()[1]
  assert line.split() == 'a_over_b 3 2 to 4 at least 2'.split()

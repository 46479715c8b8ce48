"""The arithmetic of figures; never a time."""

import subprocess
import sys

import numpy as np
from scipy.stats import binomtest

from experiments.measuring import timing


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


def test_a_single_sample_has_no_interval_but_a_share_has_its_exact_one():
  memory = timing.Figure(np.array([616.0]), unit='MiB', examples=64)
  undecided = timing.Figure(np.array([0.0]), unit='images', examples=4)
  accuracy = timing.Figure(np.array([41.7]), unit='%', examples=1000)
  found = timing.entries({'a': memory, 'b': undecided, 'c': accuracy})
  for name in 'ab':
    entry = found[f'benchmark/{name}']
    assert (entry.low, entry.high) == (None, None)
  entry = found['benchmark/c']
  exact = binomtest(417, 1000).proportion_ci(method='exact')
  np.testing.assert_allclose(
    (entry.value, entry.low, entry.high),
    (41.7, 100 * exact.low, 100 * exact.high),
  )
  lines = timing.table({'a': memory, 'c': accuracy}).splitlines()
  assert lines[1].split() == 'a 616 – MiB'.split()
  assert lines[2].split() == 'c 41.7 38.62 to 44.83 %'.split()


def test_programs_that_read_no_workdir_have_no_flag_for_it():
  names = (
    'averaging_benchmark',
    'controlled_truth',
    'filters_benchmark',
    'scaling',
    'utilization',
  )
  code = (
    f'from experiments import {", ".join(names)}; from absl import flags; '
    'print("workdir" in flags.FLAGS)'
  )
  words = [sys.executable, '-c', code]
  shown = subprocess.run(words, check=True, capture_output=True, text=True)
  assert shown.stdout.split()[-1] == 'False'

"""How a figure is written: numbers, signs, and what is in brackets."""

import pytest

from experiments.publish import Entry
from experiments.published import cells

BLANK = Entry(0.0, None, None, None, '', '', '', '', '', '')


@pytest.mark.parametrize(
  'value, unit, text',
  [
    (38_045_844, 'pixels', '38,045,844'),
    (946_287_616.0, 'bytes an image', '946,287,616'),
    (1_783_399.4, 'bytes an image', '1,783,399'),
    (109_954.4, 'times', '109,954'),
    (2851.25, 'images/s', '2,851.25'),
    (0.0233863333, 'ms', '0.0233863'),
    (-1, 'of 255', 'none'),
    (253, 'of 255', '253'),
    (-5.566, 'points', '−5.57'),
    (-0.00218, 'points', '−0.002'),
    (0.0003, 'points', '0.0003'),
    (0.0, 'points', '0.00'),
    (-0.0, 'points', '0.00'),
    (97.0, '%', '97.00'),
    (float('inf'), 's', 'inf'),
  ],
)
def test_a_number_is_written_in_full_and_never_looks_like_zero(
  value, unit, text
):
  assert cells.number(value, unit) == text


def test_brackets_tell_on_which_side_of_zero_they_end():
  gain = BLANK._replace(value=-2.3, low=-5.566, high=-0.00218, unit='points')
  text = cells.shown('gain/mnist/disc_nat_re/clean', gain)
  assert text == '−2.30 points [−5.57, −0.002]'
  code = BLANK._replace(value=-1, unit='of 255')
  assert cells.shown('codebooks/mnist/code3', code) == 'none'


def test_a_single_measurement_shows_no_interval():
  memory = BLANK._replace(value=616.0, low=616.0, high=616.0, unit='MiB')
  assert cells.shown('benchmark/memory', memory) == '616 MiB'
  share = memory._replace(value=41.7, low=41.7, high=41.7, unit='%')
  assert cells.shown('benchmark/ours', share) == '41.70 %'
  median = memory._replace(value=0.0625, low=0.0625, high=0.0625, unit='')
  key = 'hardness/mnist/eps0.3/median'  # of order statistics
  assert cells.shown(key, median) == '0.0625 [0.0625, 0.0625]'


def test_brackets_say_what_they_hold():
  between = BLANK._replace(value=2.0, low=1.0, high=3.0)
  of = lambda *pairs: cells.brackets(
    {key: between._replace(unit=unit) for key, unit in pairs}
  )
  times, share = ('benchmark/a', 'times'), ('benchmark/b', '%')
  assert 'quartiles' in of(times) and 'exact' not in of(times)
  assert 'quartiles' not in of(share) and 'exact' in of(share)
  assert 'quartiles' in of(times, share) and 'exact' in of(times, share)
  assert 'distribution-free' in of(('hardness/mnist/eps0.1/median', ''))
  assert 'difference' in of(('gain/mnist/disc_nat_re/clean', 'points'))
  assert 'Clopper-Pearson' in of(('mnist/nat_pre/clean', '%'))
  assert cells.brackets({'codebooks/a': BLANK}) == ''

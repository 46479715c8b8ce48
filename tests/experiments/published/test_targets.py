"""Which figures miss the target they are published with."""

import pytest

from experiments.published.targets import missed


@pytest.mark.parametrize(
  'value, target, verdict',
  [
    (11.4, 'at least 20', True),
    (20.0, 'at least 20', False),
    (2.28, 'at least 2.5 (it pools with nn.max_pool)', True),
    (1.01, 'at least 1.0', False),
    (94.0, 'at least 95, as printed', True),
    (11.0, 'at most 10', True),
    (299.0, 'at most 300 on two cores', False),
    (18.99, 'below 18.99', True),
    (1.02, 'within 0.01 of 1', True),
    (0.995, 'within 0.01 of 1', False),
    (38_045_844, '38,045,844', False),
    (38_045_843, '38,045,844', True),
    (0.5, '0', True),
    (96.0, 'at least 95, as printed; at least 97, images as samples', True),
  ],
)
def test_a_number_is_to_be_kept_to(value, target, verdict):
  assert missed(value, target) == verdict


@pytest.mark.parametrize(
  'target, verdict',
  [
    ('90% within its interval', False),
    ('91% within its interval', True),
    ('95% or more, within its interval', True),
    ('90.2% or more, within its interval', False),
  ],
)
def test_a_truth_is_to_lie_within_the_interval(target, verdict):
  assert missed(90.0, target, low=89.5, high=90.5) == verdict


@pytest.mark.parametrize(
  'target',
  [
    '', 'none', 'none, as -1', 'none (it pools as we do)', 'nothing promised',
    'no certificate', '0.27, paper A', '39,209 official ones',
    'paper: 96.43% (Table IV)', "0.051187, k-means' codes snapped to pixels",
  ],
)  # fmt: skip
def test_words_are_no_target(target):
  assert not missed(0.0, target)

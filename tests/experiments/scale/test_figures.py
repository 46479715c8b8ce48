"""Figures as they are read from results."""

import pytest

from experiments.measuring import costs
from experiments.scale import figures, workload
from tests.experiments.scale.fakes import fake_results

PART = workload.Part('published attacks', 'mnist_cnn', 'gradient', False, 10)


def test_the_work_of_a_part_is_that_of_its_images():
  results = fake_results()
  assert figures.needed(PART, results) == costs.Work(1e10, 1e7)
  key = 'scaling/network/mnist_cnn/nearest_code_2/gradient_flops'
  results[key] = {'value': 2e9}
  behind = PART._replace(defended=True)
  assert figures.needed(behind, results) == costs.Work(2e10, 1e7)


@pytest.mark.parametrize('defended', [True, False])
def test_a_network_that_was_not_counted_is_a_missing_figure(defended):
  part = PART._replace(network='unknown', defended=defended)
  with pytest.raises(KeyError, match='scaling/network/unknown/'):
    figures.needed(part, fake_results())

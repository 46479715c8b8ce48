"""Time and price of parts whose work is known."""

import pytest

from experiments.scale import prices, workload
from tests.experiments.scale.fakes import fake_results


def test_more_chips_take_less_time_and_cost_the_same():
  part = workload.Part('published attacks', 'mnist_cnn', 'gradient', False, 10)
  results = fake_results()
  (eight, paid), (many, same) = (
    prices.seconds([part], results, machine, 0.5)
    for machine in ('TPU v5e-8', 'TPU v5e-256')
  )
  assert eight == pytest.approx(32 * many) and paid == pytest.approx(same)

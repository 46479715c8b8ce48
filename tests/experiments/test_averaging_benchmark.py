"""The benchmark of averaging: equal work on both sides; never a time."""

import numpy as np

from experiments import averaging_benchmark as averaging
from experiments.averaging_benchmark import QUICK


def test_the_attack_stays_in_the_ball_and_repeats():
  z = averaging.attack(2, QUICK)()
  assert z.shape == (QUICK.batch, 28, 28, 1)
  x, _ = averaging.images(QUICK)
  assert 0 < np.abs(z - x).max() <= averaging._EPS + 1e-6
  np.testing.assert_array_equal(z, averaging.attack(2, QUICK)())


def test_bare_gradients_are_of_every_image():
  gradients = averaging.bare_gradients(1, QUICK)()
  assert gradients.shape == (QUICK.batch, 28, 28, 1)
  assert (np.abs(gradients).reshape(QUICK.batch, -1).max(1) > 0).all()


def test_figures_compare_most_draws_with_few(monkeypatch):
  monkeypatch.setattr(averaging, 'peak', lambda num_draws, quick: num_draws)
  figures = averaging.measure(QUICK, True)
  ratio = figures['averaging/memory_4_over_1']
  assert ratio.samples.tolist() == [4.0]
  assert all(0 < f.samples.min() < np.inf for f in figures.values())

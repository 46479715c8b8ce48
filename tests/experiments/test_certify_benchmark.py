"""The benchmark of certificates: both sides answer the same question."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import certify_benchmark as benchmark
from experiments.certify_benchmark import QUICK
from rdefense.certify.decide import CERTIFIED, REFUTED
from rdefense.certify.layers import layered


@pytest.fixture(scope='module')
def problem():
  return benchmark.untrained(QUICK._replace(images=4))


def test_both_sides_agree(problem):
  network = layered(
    lambda x: problem.apply(problem.params, x), jnp.zeros((28, 28, 1))
  )
  margins = benchmark.enumerate_all(problem, 4)()
  statuses = benchmark.decide_all(problem, 4, network)()
  expected = [CERTIFIED if least > 0 else REFUTED for least in margins]
  assert statuses == expected and min(map(abs, margins)) > 1e-3


def test_as_many_pixels_are_free_as_asked_for(problem):
  (whole, *_) = problem.allowed
  free = benchmark.left_free(whole, 5)
  assert (free.sum(-1) > 1).sum() == 5 and free.any(-1).all()
  assert (whole | ~free).all()


def test_figures_and_their_page(problem, tmp_path):
  figures = benchmark.measure(problem, QUICK)
  assert {f'certify/seconds_{m}_pixels' for m in QUICK.free} < figures.keys()
  ratio = figures['certify/enumeration_over_tables_4_pixels'].samples
  half = figures['certify/enumeration_over_tables_2_pixels'].samples
  assert 0 < ratio.min() < np.inf and 0 < half.min() < np.inf
  page = benchmark.write_report(tmp_path, figures, QUICK).read_text()
  assert 'data:image/png;base64,' in page and 'Both take turns' in page

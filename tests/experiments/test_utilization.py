"""Shares of ceilings against what they are made of, on tiny networks."""

from absl import flags
from absl.testing import flagsaver
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import utilization
from experiments.measuring import timing
from experiments.measuring.utilization_cases import Workload
from experiments.scale.cases import Subject
from rdefense.attacks import recipes
from rdefense.attacks.eot import paper_b_imagenet
from rdefense.defenses import identity
from rdefense.defenses.randomized import gaussian
from rdefense.models import Classifier

SHAPE, NUM_CLASSES, BATCH, DRAWS = (6, 6, 1), 40, 4, 6
PIXELS = 36


def init(key, x):
  return jax.random.normal(key, (x.size, NUM_CLASSES))


NETWORK = Classifier(init, lambda params, x: x.ravel() @ params, NUM_CLASSES)


def subject(recipe, defense):
  return Subject(NETWORK, lambda codes, alpha: defense, None, SHAPE, recipe)


(PGD,) = recipes.pgd_madry(5)
(AVERAGED,) = paper_b_imagenet(0.1, num_draws=DRAWS)
ONE, TWO = PGD._replace(chunk=1), AVERAGED._replace(chunk=2)
WORKLOADS = [
  Workload('plain', subject(ONE, identity()), BATCH, 5, 'at least 0.5'),
  Workload('noisy', subject(TWO, gaussian(0.1)), BATCH, 2),
]


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver():
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['utilization'])
    yield


@pytest.fixture(scope='module')
def figures():
  found = utilization.measure(WORKLOADS, utilization.QUICK)
  start = f'utilization/{jax.default_backend()}/'
  assert all(key.startswith(start) for key in found)
  return {key.removeprefix(start): figure for key, figure in found.items()}


def sample(figures, key):
  (value,) = figures[key].samples  # one turn
  assert np.isfinite(value) and value > 0
  return value


def test_every_workload_is_there_at_both_precisions(figures):
  what = 'image_steps_per_second gflops of_matmul of_bandwidth of_roofline'
  expected = {
    f'{name}/{precision}/{each}'
    for name in ('plain', 'noisy')
    for precision in ('highest', 'default')
    for each in what.split()
  }
  expected |= {
    f'noisy/{precision}/image_step_draws_per_second'
    for precision in ('highest', 'default')
  }
  ceilings = {'bandwidth', 'matmul_highest', 'matmul_default'}
  assert set(figures) == expected | {f'ceiling/{name}' for name in ceilings}
  assert timing.table(figures).count('\n') == len(figures)


@pytest.mark.parametrize('precision', ['highest', 'default'])
@pytest.mark.parametrize('name', ['plain', 'noisy'])
def test_shares_are_rates_over_ceilings(figures, name, precision):
  key = f'{name}/{precision}'
  share = sample(figures, f'{key}/of_matmul')
  peak = sample(figures, f'ceiling/matmul_{precision}')
  assert sample(figures, f'{key}/gflops') == pytest.approx(share * peak)
  other = sample(figures, f'{key}/of_bandwidth')
  assert sample(figures, f'{key}/of_roofline') == max(share, other)
  target = figures[f'{key}/of_roofline'].target
  assert target == ('at least 0.5' if name == 'plain' else '')


def test_draws_count_as_often_as_they_are_taken(figures):
  for precision in ('highest', 'default'):
    key = f'noisy/{precision}/image_step'
    rate = sample(figures, f'{key}s_per_second')
    draws = sample(figures, f'{key}_draws_per_second')
    assert draws == pytest.approx(DRAWS * rate)


def test_a_step_does_the_products_of_its_network():
  """Forward and backward, for each image and draw; whatever a part is."""
  plain, noisy = WORKLOADS
  products = 2 * 2 * PIXELS * NUM_CLASSES * BATCH
  # What is not a product: the loss, the step, the projection.
  assert products < utilization.step_work(plain).flops < 1.3 * products
  found = []
  for chunk in (1, 2, DRAWS):
    recipe = noisy.subject.recipe._replace(chunk=chunk)
    parts = noisy._replace(subject=noisy.subject._replace(recipe=recipe))
    found.append(utilization.step_work(parts).flops)
  assert min(found) > DRAWS * products
  # Mixing parts into averages takes operations as well, once a part.
  assert max(found) < 1.3 * min(found)


def test_attacks_take_their_steps_inside_the_ball():
  for workload in WORKLOADS:
    ready, attacks = utilization._attacks(workload)
    recipe = ready.subject.recipe
    assert max(1, recipe.num_draws) % recipe.chunk == 0
    x = np.random.default_rng(0).random((BATCH, *SHAPE), np.float32)
    for attack in attacks.values():
      z = attack()
      assert z.shape == x.shape and 0 <= z.min() <= z.max() <= 1
      assert 0 < np.abs(z - x).max() <= 0.1 + 1e-6  # a float32 of 0.1 and of x


def test_ceilings_are_of_finite_numbers():
  for run in utilization._ceilings(utilization.QUICK).values():
    assert jnp.isfinite(run()).all() and jnp.isfinite(run()).all()


def test_without_a_cpu_nothing_is_counted(monkeypatch):
  def missing(backend):
    raise RuntimeError(f'Unknown backend {backend}')

  monkeypatch.setattr(jax, 'local_devices', missing)
  with pytest.raises(ValueError, match='JAX_PLATFORMS=cuda,cpu'):
    utilization.step_work(WORKLOADS[0])


def test_flags_choose_what_is_measured(monkeypatch, capsys):
  calls = []

  def measure(every, size):
    calls.append((every, size))
    return {'one': timing.Figure(np.ones(1))}

  monkeypatch.setattr(utilization, 'measure', measure)
  with flagsaver.flagsaver(quick=True, workloads=['mnist_cnn'], batch=3):
    utilization.main(['utilization'])
  ((only,), size) = calls.pop()
  assert only.name == 'mnist_cnn' and only.batch == 3
  assert size == utilization.QUICK
  utilization.main(['utilization'])
  (every, size) = calls.pop()
  on_cpu = jax.default_backend() == 'cpu'
  expected = utilization.ON_CPU if on_cpu else utilization.ON_ACCELERATOR
  assert len(every) == 4 and size == expected
  assert 'one' in capsys.readouterr().out

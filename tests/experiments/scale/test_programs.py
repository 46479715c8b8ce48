"""Work a device and an image on a tiny network, against that of its layers."""

import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.measuring import loops
from experiments.scale import programs
from experiments.scale.cases import Subject
from rdefense.attacks import recipes
from rdefense.defenses import nearest_code
from rdefense.models import Classifier
from rdefense.parallel import layout

SHAPE, WIDTH, NUM_CLASSES = (12, 12, 1), 16, 3
(RECIPE,) = recipes.paper_a(3, 0.1)


def init(key, x):
  del x
  key, other = jax.random.split(key)
  return {
    'kernel': jax.random.normal(key, (5, 5, 1, WIDTH)),
    'matrix': jax.random.normal(other, (WIDTH, NUM_CLASSES)),
  }


def apply(params, x):
  x = jax.lax.conv_general_dilated(
    x[None],
    params['kernel'],
    (1, 1),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return jnp.tanh(x).mean((0, 1, 2)) @ params['matrix']


TINY = Subject(
  Classifier(init, apply, NUM_CLASSES),
  lambda codes, alpha: nearest_code(codes, alpha),
  (2, 1), SHAPE, RECIPE, optax.adam(1e-3),
)  # fmt: skip
PARAMETERS = 5 * 5 * WIDTH + WIDTH * NUM_CLASSES


@pytest.fixture(scope='module')
def found():
  return programs.on_devices(TINY, counts=(1, 8), rows=16)


@pytest.mark.parametrize(
  'program', ['attack_step', 'attack_scan', 'judge', 'training_update']
)
def test_work_a_device_does_not_grow_with_devices(found, program):
  (alone, silent), (shared, sent) = found[program].values()
  assert alone.flops > 0 and silent == (0, 0)
  assert shared.flops == pytest.approx(alone.flops, rel=0.01)
  assert shared.bytes < 1.01 * alone.bytes
  # Only training adds something up: gradients, and two metrics.
  expected = 4 * (PARAMETERS + 2) if program == 'training_update' else 0
  assert sent.bytes == expected
  assert (sent.instructions > 0) == (expected > 0)


def test_only_the_host_moves_rows_between_devices(found):
  (_, silent), (_, sent) = found['compaction'].values()
  assert silent.instructions == 0 < sent.instructions


def test_work_an_image_is_that_of_its_products():
  """2 x 5 x 5 x 12 x 12 x width operations, less those with the padding."""
  works = programs.of_network(TINY, rows=4, batch_size=4)
  taps = 5 * 12 - 6  # of all windows along one axis, inside the image
  forward = 2 * (taps**2 * WIDTH + WIDTH * NUM_CLASSES)
  # What is not a product: tanh, the mean, codes, the margin.
  assert forward < works['forward'].flops < 1.3 * forward
  assert 2 * forward < works['gradient'].flops < 2 * 1.3 * forward
  assert works['update'].flops > 1.9 * forward


def test_each_of_many_codes_is_counted():
  """In a step of training, where the codes are looped over."""
  where = layout(jax.devices()[:1])
  flops = {}
  for count in (24, 48, 96):
    subject = TINY._replace(codes=(count, 1))
    flops[count] = loops.work(programs.update(subject, 2, where)).flops
  first, second = flops[48] - flops[24], flops[96] - flops[48]
  assert second == pytest.approx(2 * first, rel=0.05)
  assert first > 24 * 3 * 2 * 12 * 12  # a distance, a comparison, a choice


def test_a_step_is_a_move_and_an_evaluation():
  where = layout(jax.devices()[:1])
  move, evaluate = (
    loops.work(traced) for traced in programs.attack_step(TINY, 4, where)
  )
  gradient = programs.of_network(TINY, rows=4)['gradient']
  assert evaluate.flops == pytest.approx(4 * gradient.flops, rel=0.1)
  assert 0 < move.flops < 0.2 * evaluate.flops

"""What every attack promises: each optimiser, kept iterate and restarts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import (
  adam,
  apgd,
  mi_fgsm,
  over_examples,
  pgd,
  restarts,
  sign_adam,
  steepest,
  stop_when_fooled,
)
from rdefense.attacks.base import begin, step
from rdefense.attacks.pgd import KEEP
from rdefense.attacks.square import square
from rdefense.defenses import binning
from rdefense.parallel import layout

OPTIMIZERS = {
  'sign': ('linf', lambda step: steepest('linf', step)),
  'mi_fgsm': ('linf', mi_fgsm),
  'adam': ('linf', adam),
  'sign_adam': ('linf', sign_adam),
  'l2': ('l2', lambda step: steepest('l2', step)),
  'l1': ('l1', lambda step: steepest('l1', step)),
  'apgd': ('linf', lambda step: apgd(step, NUM_STEPS)),
  'apgd_l2': ('l2', lambda step: apgd(step, NUM_STEPS, 'l2')),
  'square': ('linf', None),
}
EPS = {'linf': 0.1, 'l2': 0.4, 'l1': 1.0}
MEMBERS = [
  *itertools.product(sorted(OPTIMIZERS.keys() - {'square'}), KEEP, (1,)),
  ('square', 'best', 1),
  *itertools.product(['sign'], KEEP, (2,)),
]
# Without them, each optimiser, each iterate and two restarts are there once.
SLOW = [
  member
  for member in MEMBERS
  if member[1] != 'best' and (member[0] != 'sign' or member[2] > 1)
]
NUM_STEPS, SHAPE = 3, (3, 3, 1)
# Sums of nine products in another order, amplified by Adam's divisions.
CLOSE = {'rtol': 1e-4, 'atol': 1e-5}


class Compiled:
  """Some steps of one attack on a linear classifier behind binning."""

  def __init__(self, optimizer, keep, num_restarts):
    self.norm, self.optimizer = OPTIMIZERS[optimizer]
    self.keep, self.num_restarts = keep, num_restarts
    self.traces = 0
    self.jitted = jax.jit(self.batch)

  def attack(self, params, eps):
    parts = lambda x: params @ x.ravel(), binning(4), losses.margin
    threat = threats.ball(self.norm, eps)
    if self.optimizer is None:
      attack = square(gradients.values(*parts), threat, NUM_STEPS)
    else:
      oracle = gradients.through(*parts)
      attack = pgd(oracle, self.optimizer(eps / 2), threat, keep=self.keep)
    if self.num_restarts > 1:
      attack = restarts(attack, self.num_restarts)
    return stop_when_fooled(attack) if self.keep == 'best' else attack

  def one(self, params, eps, key, x, y):
    attack = self.attack(params, eps)
    state, _ = begin(attack, key, x, y)
    for i in range(NUM_STEPS):
      state, info, _ = step(attack, key, i + 1, state, x, y)
    return attack.outcome(state, x), info

  def batch(self, params, eps, key, index, x, y):
    self.traces += 1
    fn = over_examples(lambda *args: self.one(params, eps, *args))
    return fn(key, index, x, y)

  @property
  def eps(self):
    return np.float32(EPS[self.norm])


@pytest.fixture(
  scope='module',
  params=[
    pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in MEMBERS
  ],
  ids=lambda member: '-'.join(map(str, member)),
)
def compiled(request):
  return Compiled(*request.param)


@pytest.fixture(scope='module')
def data():
  """Parameters, and eight examples that the classifier has right."""
  rng = np.random.default_rng(4)
  params = rng.normal(size=(3, 9)).astype(np.float32)
  x = rng.uniform(size=(8, *SHAPE)).astype(np.float32)
  x[0, 0], x[1, 0] = 0, 1  # on the border of the box
  deployed = jax.vmap(lambda x: binning(4).apply(None, x))(x)
  deployed = np.asarray(deployed).reshape(8, -1)
  y = (deployed @ params.T).argmax(-1).astype(np.int32)
  return params, (np.arange(8), x, y)


def test_a_jitted_batch_equals_eager_steps_on_one_image(compiled, data, key):
  params, rows = data
  outcome, info = compiled.jitted(params, compiled.eps, key, *rows)
  _, x, y = rows
  alone = compiled.one(
    jnp.asarray(params),
    compiled.eps,
    jax.random.fold_in(key, 3),
    jnp.asarray(x[3]),
    y[3],
  )
  np.testing.assert_allclose(outcome.z[3], alone[0].z, **CLOSE)
  np.testing.assert_allclose(outcome.margin[3], alone[0].margin, **CLOSE)
  np.testing.assert_allclose(info.distance[3], alone[1].distance, **CLOSE)
  assert outcome.done[3] == alone[0].done


def test_eight_devices_equal_one(compiled, data, key):
  params, rows = data
  where, traces = layout(), compiled.traces
  split = jax.jit(
    compiled.batch,
    in_shardings=(*(where.copied,) * 3, *(where.split,) * 3),
    out_shardings=where.split,
  )(params, compiled.eps, key, *rows)[0]
  compiled.traces = traces  # another layout may be traced again
  assert len(split.z.sharding.device_set) == 8
  single, _ = compiled.jitted(params, compiled.eps, key, *rows)
  np.testing.assert_allclose(split.z, single.z, **CLOSE)
  np.testing.assert_allclose(split.margin, single.margin, **CLOSE)


def test_companions_and_position_change_no_bit(compiled, data, key):
  params, rows = data
  order = np.array([5, 0, 7, 7, 2, 5, 1, 3])
  together, _ = jax.device_get(
    compiled.jitted(params, compiled.eps, key, *rows)
  )
  again, _ = jax.device_get(
    compiled.jitted(params, compiled.eps, key, *(r[order] for r in rows))
  )
  for mine, theirs in zip(again, together):
    np.testing.assert_array_equal(mine, theirs[order])


def test_what_is_submitted_is_inside_the_threat(compiled, data, key):
  params, rows = data
  x = rows[1]
  distance = jax.vmap(threats.ball(compiled.norm, 1.0).distance)
  for eps in (0.0, 0.03, compiled.eps):
    outcome, info = compiled.jitted(params, np.float32(eps), key, *rows)
    # x + eps is rounded: one ulp below 1, 6e-8, for each of nine pixels.
    assert distance(outcome.z, x).max() <= eps + 9 * 6e-8
    assert outcome.z.min() >= 0 and outcome.z.max() <= 1
    assert info.distance.max() <= eps + 9 * 6e-8
  moved = np.abs(outcome.z - x).reshape(8, -1).max(-1)
  assert (moved > 0).all()


def test_a_constant_classifier_gives_finite_results(compiled, data, key):
  params, rows = data
  out = compiled.jitted(0 * params, compiled.eps, key, *rows)
  for leaf in jax.tree.leaves(out):
    assert np.isfinite(leaf).all()
  np.testing.assert_array_equal(out[0].margin, 0)
  assert not out[0].done.any()  # a tie is no misclassification


def test_other_numbers_are_not_compiled_again(compiled, data, key):
  params, rows = data
  compiled.jitted(-params, np.float32(0.01), jax.random.fold_in(key, 1), *rows)
  assert compiled.traces == 1

"""What every network promises behind `Classifier`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import losses, models
from rdefense.models.mobilenet_tables import Architecture, Stage
from rdefense.parallel import layout

# Sums of some hundred products in another order.
CLOSE = {'rtol': 1e-5, 'atol': 1e-5}

TINY_MOBILENET = Architecture(
  stem=3,
  stages=(Stage((2, 2), 4, 2, 2),),
  head=5,
  activation='relu6',
  bottleneck=True,
  size=8,
  scale=1 / 128,
  zero=128,
)

MEMBERS = {
  'digits_cnn': (lambda: models.digits_cnn(5, width=2), (6, 6, 1)),
  'mnist_cnn': (
    lambda: models.mnist_cnn(4, widths=(2, 3), hidden=6),
    (7, 7, 1),
  ),
  'wide_resnet': (lambda: models.wide_resnet(4, width=1, units=1), (8, 8, 3)),
  'mobilenet': (lambda: models.mobilenet(TINY_MOBILENET, 4), (9, 7, 3)),
  'gowal_cnn': (lambda: models.gowal_cnn(3, 'tiny'), (6, 6, 1)),
  'ensemble': (
    lambda: models.ensemble(
      models.digits_cnn(3, width=2), models.digits_cnn(3, width=3)
    ),
    (5, 5, 1),
  ),
}


class Compiled:
  """Logits and gradients of one network, over a batch."""

  def __init__(self, build, shape):
    self.network = build()
    self.x = np.random.default_rng(0).uniform(size=(8, *shape))
    self.x = self.x.astype(np.float32)
    self.init = jax.jit(self.network.init)
    self.params = self.init(jax.random.key(1), self.x[0])
    self.traces = 0
    self.jitted = jax.jit(self.batch)

  def batch(self, params, x):
    self.traces += 1

    def loss(x):
      logits = self.network.apply(params, x)
      return losses.cross_entropy(logits, 0), logits

    grads, logits = jax.vmap(jax.grad(loss, has_aux=True))(x)
    return logits, grads


@pytest.fixture(scope='module', params=MEMBERS)
def compiled(request):
  return Compiled(*MEMBERS[request.param])


def test_a_jitted_batch_equals_an_eager_single_image(compiled):
  logits, _ = compiled.jitted(compiled.params, compiled.x)
  assert logits.shape == (8, compiled.network.num_classes)
  alone = compiled.network.apply(compiled.params, jnp.asarray(compiled.x[3]))
  np.testing.assert_allclose(logits[3], alone, **CLOSE)


def test_eight_devices_equal_one(compiled):
  where, traces = layout(), compiled.traces
  split = jax.jit(
    compiled.batch,
    in_shardings=(where.copied, where.split),
    out_shardings=where.split,
  )(compiled.params, compiled.x)
  compiled.traces = traces  # another layout may be traced again
  assert len(split[0].sharding.device_set) == 8
  for mine, theirs in zip(split, compiled.jitted(compiled.params, compiled.x)):
    np.testing.assert_allclose(mine, theirs, **CLOSE)


def test_results_do_not_depend_on_the_batch(compiled):
  order = np.array([5, 0, 7, 7, 2, 5, 1, 3])
  together = jax.device_get(compiled.jitted(compiled.params, compiled.x))
  again = compiled.jitted(compiled.params, compiled.x[order])
  for mine, theirs in zip(again, together):
    # A blocked matrix product may sum in another order in another row.
    np.testing.assert_allclose(mine, theirs[order], rtol=1e-6, atol=1e-6)


def test_init_is_a_function_of_the_key_alone(compiled):
  again = compiled.init(jax.random.key(1), compiled.x[5])
  chex.assert_trees_all_equal(again, compiled.params)


@pytest.mark.parametrize('scale', [0.0, 1.0], ids=['constant', 'as_drawn'])
def test_gradients_are_finite_where_pooled_pixels_tie(compiled, scale):
  params = jax.tree.map(lambda a: scale * a, compiled.params)
  x = compiled.x.copy()
  x[0], x[1] = 0, 1
  logits, grads = compiled.jitted(params, x)
  assert np.isfinite(grads).all() and np.isfinite(logits).all()
  assert np.any(grads) == bool(scale)


def test_other_parameters_are_not_compiled_again(compiled):
  other = compiled.init(jax.random.key(2), compiled.x[0])
  logits, _ = compiled.jitted(compiled.params, compiled.x)
  assert not np.allclose(logits, compiled.jitted(other, compiled.x)[0])
  assert compiled.traces == 1

"""What every threat promises, whatever its norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import threats
from rdefense.attacks import over_examples
from rdefense.parallel import layout

EPS = {'linf': 0.1, 'l2': 0.5, 'l1': 1.5}
SHAPE = (4, 4, 1)
# Some ulps of a pixel near 1: the bisection may end one step away.
CLOSE = {'rtol': 0, 'atol': 2e-6}


class Compiled:
  """All three functions of a threat, and every start, over examples."""

  def __init__(self, norm):
    self.norm = norm
    self.traces = 0
    self.jitted = jax.jit(self.batch)

  def one(self, eps, key, z, x):
    threat = threats.ball(self.norm, eps)
    starts = [
      threats.start_at(threat, name)(jax.random.fold_in(key, i), x)
      for i, name in enumerate(threats.STARTS)
    ]
    projected = threat.project(z, x)
    return jnp.stack([*starts, projected]), threat.distance(projected, x)

  def batch(self, eps, key, index, z, x):
    self.traces += 1
    fn = over_examples(lambda *args: self.one(eps, *args))
    return fn(key, index, z, x)


@pytest.fixture(scope='module', params=threats.NORMS)
def compiled(request):
  return Compiled(request.param)


@pytest.fixture(scope='module')
def data():
  """Images with black and white pixels, and points far outside the ball."""
  rng = np.random.default_rng(0)
  x = rng.uniform(-0.3, 1.3, (8, *SHAPE)).clip(0, 1).astype(np.float32)
  z = (x + rng.normal(size=x.shape)).astype(np.float32)
  return np.arange(8), z, x


def test_a_jitted_batch_equals_an_eager_single_image(compiled, data, key):
  eps = np.float32(EPS[compiled.norm])
  index, z, x = data
  points, distances = compiled.jitted(eps, key, *data)
  alone, distance = compiled.one(
    eps, jax.random.fold_in(key, 3), jnp.asarray(z[3]), jnp.asarray(x[3])
  )
  np.testing.assert_allclose(points[3], alone, **CLOSE)
  np.testing.assert_allclose(distances[3], distance, rtol=1e-5)


def test_eight_devices_equal_one(compiled, data, key):
  where = layout()
  eps = np.float32(EPS[compiled.norm])
  split = jax.jit(
    Compiled(compiled.norm).batch,
    in_shardings=(where.copied, where.copied, *(where.split,) * 3),
    out_shardings=where.split,
  )(eps, key, *data)
  assert len(split[0].sharding.device_set) == 8
  for mine, theirs in zip(split, compiled.jitted(eps, key, *data)):
    np.testing.assert_allclose(mine, theirs, **CLOSE)


def test_companions_and_position_change_no_bit(compiled, data, key):
  eps = np.float32(EPS[compiled.norm])
  together = jax.device_get(compiled.jitted(eps, key, *data))
  order = np.array([5, 0, 7, 7, 2, 5, 1, 3])
  shuffled = [part[order] for part in data]
  again = jax.device_get(compiled.jitted(eps, key, *shuffled))
  for mine, theirs in zip(again, together):
    np.testing.assert_array_equal(mine, theirs[order])


def test_starts_and_projections_are_inside_for_every_radius(
  compiled, data, key
):
  _, _, x = data
  distance = jax.vmap(threats.ball(compiled.norm, 1.0).distance)
  for eps in (0.0, 0.01, EPS[compiled.norm]):
    points, _ = jax.device_get(compiled.jitted(np.float32(eps), key, *data))
    assert points.min() >= 0 and points.max() <= 1
    for i in range(points.shape[1]):
      # x + eps is rounded: one ulp below 1, 6e-8, for each of 16 pixels.
      assert distance(points[:, i], x).max() <= eps + 16 * 6e-8
    np.testing.assert_array_equal(points[:, 0], x)  # the clean start


def test_project_leaves_what_is_inside_alone(compiled, data, key):
  eps = np.float32(EPS[compiled.norm])
  index, _, x = data
  random = jax.device_get(compiled.jitted(eps, key, *data)[0][:, 1])
  inside = (x + 0.5 * (random - x)).astype(np.float32)
  assert not np.array_equal(inside, x)
  points, _ = compiled.jitted(eps, key, index, inside, x)
  np.testing.assert_array_equal(points[:, -1], inside)


def test_all_of_this_was_traced_once(compiled, data, key):
  compiled.jitted(np.float32(0.3), jax.random.fold_in(key, 1), *data)
  assert compiled.traces == 1

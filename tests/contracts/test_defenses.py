"""What every defense promises, whatever it does to an image."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import defenses
from rdefense.attacks import over_examples
from rdefense.defenses import binning, chain, nearest_code, thermometer
from rdefense.parallel import layout

# Compilers may contract a product and a sum, or divide by multiplying.
CLOSE = {'rtol': 1e-6, 'atol': 1e-6}

_CENTERS = {
  'sigma': 0.1,
  'tau': 0.1,
  'num_centers': 3,
  'num_samples': 9,
  'gamma': 40.0,
}
_FEW = [[0.1, 0.2, 0.9], [0.8, 0.3, 0.1], [0.5, 0.9, 0.4]]
_MANY = np.random.default_rng(1).uniform(size=(16, 3))  # in rounds

MEMBERS = {
  'identity': defenses.identity,
  'binning': lambda: binning(4),
  'nearest_linf': lambda: nearest_code(_FEW, norm='linf'),
  'nearest_l2': lambda: nearest_code(_FEW, norm='l2'),
  'nearest_l1': lambda: nearest_code(_FEW, norm='l1'),
  'nearest_many_codes': lambda: nearest_code(_MANY, 30.0, 'l2'),
  'thermometer': lambda: thermometer(3),
  'bit_depth': defenses.bit_depth,
  'bit_depth_steep': defenses.bit_depth_steep,
  'jpeg': defenses.jpeg,
  'jpeg_full_chroma': lambda: defenses.jpeg(50, subsampling='4:4:4'),
  'jpeg_as_coded': defenses.jpeg_as_coded,
  'total_variation': defenses.total_variation,
  'resize_padding': lambda: defenses.resize_padding(4, 8, 8),
  'down_sample': lambda: defenses.down_sample(2, 2),
  'max_pooling': lambda: defenses.max_pooling(2, 2),
  'resize_modern': lambda: defenses.resize(6, 'modern'),
  'gaussian': lambda: defenses.gaussian(0.1),
  'rand_disc': lambda: defenses.rand_disc(alpha=20.0, **_CENTERS),
  'rand_disc_steep': lambda: defenses.rand_disc_steep(alpha=20.0, **_CENTERS),
  'rand_mix': lambda: defenses.rand_mix(alpha=20.0, **_CENTERS),
  'rand_disc_fixed': lambda: defenses.rand_disc_fixed(_FEW, 0.1, 20.0),
  'rand_mix_fixed': lambda: defenses.rand_mix_fixed(_FEW, 0.1, 20.0),
  'chain': lambda: chain(binning(16), nearest_code(_FEW), thermometer(2)),
}

# The same code as a member beside them, with other constants.
VARIANTS = (
  'bit_depth_steep',
  'jpeg_full_chroma',
  'max_pooling',
  'resize_modern',
  'rand_disc_steep',
  'rand_mix_fixed',
)
# By design: noise is not clipped, nor are the steps of total variation.
LEAVE_THE_RANGE = (
  'gaussian',
  'rand_disc',
  'rand_disc_steep',
  'rand_mix',
  'total_variation',
)

_COMPILED: list[str] = []


@jax.monitoring.register_event_duration_secs_listener
def _note(event, seconds, **about):
  del seconds, about
  if 'backend_compile' in event:
    _COMPILED.append(event)


@pytest.fixture
def programs():
  """An entry for each program that is compiled from now on."""
  del _COMPILED[:]
  return _COMPILED


# Each face of a defense, with what an attacker differentiates.
FACES = {
  'apply': lambda defense: defense.apply,
  'surrogate': lambda defense: defense.surrogate,
  'bpda': lambda defense: defenses.differentiable(defense, 'bpda'),
}


class Compiled:
  """One face of one defense over a batch of eight images."""

  def __init__(self, face):
    self.face = face
    self.jitted = jax.jit(over_examples(face))
    values = np.random.default_rng(0).uniform(size=(8, 4, 4, 3))
    self.images = values.astype(np.float32)
    self.together = jax.device_get(
      self.jitted(jax.random.key(7), np.arange(8), self.images)
    )


@pytest.fixture(
  scope='module',
  params=[
    pytest.param(name, marks=[pytest.mark.slow] * (name in VARIANTS))
    for name in MEMBERS
  ],
)
def name(request):
  return request.param


@pytest.fixture(scope='module')
def defense(name):
  return MEMBERS[name]()


@pytest.fixture(scope='module', params=FACES)
def compiled(request, defense):
  return Compiled(FACES[request.param](defense))


def test_a_jitted_batch_equals_an_eager_single_image(compiled):
  key = jax.random.fold_in(jax.random.key(7), 3)
  alone = compiled.face(key, jnp.asarray(compiled.images[3]))
  np.testing.assert_allclose(compiled.together[3], alone, **CLOSE)


def test_eight_devices_equal_one(compiled):
  where = layout()
  split = jax.jit(
    over_examples(compiled.face),
    in_shardings=(where.copied, where.split, where.split),
    out_shardings=where.split,
  )(jax.random.key(7), np.arange(8), compiled.images)
  assert len(split.sharding.device_set) == 8
  np.testing.assert_allclose(split, compiled.together, **CLOSE)


def test_companions_and_position_change_no_bit(compiled):
  order = np.array([5, 0, 7, 7, 2, 5, 1, 3])
  again = compiled.jitted(jax.random.key(7), order, compiled.images[order])
  np.testing.assert_array_equal(again, compiled.together[order])


@pytest.mark.parametrize(
  'value', [0.0, 0.5, 1.0, _FEW[0]], ids=['black', 'grey', 'white', 'a_code']
)
def test_images_stay_images_of_one_shape(name, defense, value, key):
  x = jnp.broadcast_to(jnp.asarray(value, jnp.float32), (4, 4, 3))
  same_key = jax.random.clone(key)  # the same noise twice, on purpose
  outs = [defense.apply(key, x), defense.surrogate(same_key, x)]
  chex.assert_equal_shape(outs)
  chex.assert_type(outs, jnp.float32)
  assert np.isfinite(outs).all()
  if name not in LEAVE_THE_RANGE:
    for out in outs:
      assert 0 <= out.min() and out.max() <= 1 + 1e-6  # sums of soft weights


@pytest.mark.parametrize(
  'x, message',
  [
    (np.zeros((4, 4, 3), np.uint8), 'dtype uint8, .*data.to_unit'),
    (np.zeros((2, 4, 4, 3), np.float32), r'\(2, 4, 4, 3\), .*jax.vmap'),
    (np.zeros((4, 3), np.float32), r'\(4, 3\), .*x\[\.\.\., None\]'),
  ],
  ids=['bytes', 'batch', 'plane'],
)
def test_what_is_no_image_is_refused(defense, x, message, key):
  for fn in defense:
    for call in (
      fn,
      jax.jit(fn),
      lambda *args, fn=fn: jax.eval_shape(fn, *args),
    ):
      with pytest.raises(ValueError, match=message):
        call(key, x)


def test_bpda_has_the_value_of_apply_to_the_bit(defense, key):
  fn = defenses.differentiable(defense, 'bpda')
  x = jax.random.uniform(jax.random.key(3), (4, 4, 3))
  value, _ = jax.vjp(lambda x: fn(key, x), x)
  same_key = jax.random.clone(key)
  np.testing.assert_array_equal(value, defense.apply(same_key, x))


def test_gradients_are_finite_where_distances_tie(compiled):
  @jax.jit
  @jax.vmap
  def gradient(x):
    def loss(x):
      out = compiled.face(jax.random.key(7), x)
      return (out * jnp.linspace(-1, 1, out.size).reshape(out.shape)).sum()

    return jax.grad(loss)(x)

  values = jnp.asarray([[0.0] * 3, [0.5] * 3, [1.0] * 3, _FEW[0]])
  x = jnp.broadcast_to(values[:, None, None], (4, 4, 4, 3))
  assert np.isfinite(gradient(x)).all()


@pytest.mark.parametrize(
  'build',
  [
    lambda codes, alpha: nearest_code(codes, alpha, 'l2'),
    lambda codes, alpha: binning(4, alpha),
  ],
  ids=['nearest_code', 'binning'],
)
def test_other_numbers_are_not_compiled_again(build, key):
  traces = []

  @jax.jit
  def soft(codes, alpha, x):
    traces.append(None)
    return build(codes, alpha).surrogate(key, x)

  codes = jnp.asarray(_FEW, jnp.float32)
  x = np.full((4, 4, 3), 0.3, np.float32)
  first = soft(codes, np.float32(4), x)
  other = soft(codes * 0.5, np.float32(30), x)
  assert not np.allclose(first, other)
  assert len(traces) == 1


@pytest.mark.parametrize('dtype', [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize('name', MEMBERS)
def test_half_precision_becomes_float32(name, dtype, key):
  defense = MEMBERS[name]()
  x = jnp.zeros((8, 8, 3))
  for face in (*defense, defenses.differentiable(defense, 'bpda')):
    expected = jax.eval_shape(face, key, x)
    found = jax.eval_shape(face, key, x.astype(dtype))
    assert (found.shape, found.dtype) == (expected.shape, np.float32)


@pytest.mark.parametrize('name', MEMBERS)
def test_float64_stays_float64(name, key):
  with jax.enable_x64():
    defense = MEMBERS[name]()
    x = jnp.zeros((8, 8, 3), jnp.float64)
    fn = defenses.differentiable(defense, 'bpda')
    slope = lambda x: jax.grad(lambda x: fn(key, x).sum())(x)
    for face in (*defense, fn, lambda key, x: slope(x)):
      assert jax.eval_shape(face, key, x).dtype == np.float64


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
@pytest.mark.parametrize('name', MEMBERS)
def test_called_again_outside_of_jit_nothing_is_compiled(name, side, programs):
  fn = getattr(MEMBERS[name](), side)
  x = jnp.linspace(0.1, 0.9, 192).reshape(8, 8, 3)
  for _ in range(2):
    del programs[:]
    fn(jax.random.key(0), x)
  assert not programs

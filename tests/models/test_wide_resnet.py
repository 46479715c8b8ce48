"""Paper A's residual network against NumPy, and its running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import models, training
from rdefense.defenses import identity
from rdefense.parallel import layout

SHAPE = (8, 8, 3)


@pytest.fixture(scope='module')
def network():
  return models.wide_resnet(5, width=1, units=1)


@pytest.fixture(scope='module')
def params(network):
  """With statistics and scales of their own, as after training."""
  rng = np.random.default_rng(0)

  def changed(path, leaf):
    if path[-1].key in ('scale', 'var', 'mean', 'bias'):
      leaf = leaf + rng.uniform(0, 0.5, leaf.shape)
    return jnp.asarray(leaf, jnp.float32)

  drawn = jax.jit(network.init)(jax.random.key(0), jnp.zeros(SHAPE))
  return jax.tree_util.tree_map_with_path(changed, drawn)


def images(count):
  rng = np.random.default_rng(1)
  return rng.uniform(size=(count, *SHAPE)).astype(np.float32)


def convolution(x, kernel, stride):
  """TensorFlow's SAME: the odd row of padding is at the end."""
  side = -(-x.shape[0] // stride)
  extra = max(0, (side - 1) * stride + 3 - x.shape[0])
  before = extra // 2
  x = np.pad(x, ((before, extra - before),) * 2 + ((0, 0),))
  out = np.zeros((side, side, kernel.shape[-1]))
  for i in range(side):
    for j in range(side):
      patch = x[i * stride : i * stride + 3, j * stride : j * stride + 3]
      out[i, j] = np.tensordot(patch, kernel, 3)
  return out


def reference(params, x, width, units):
  """PROTOCOL A5, one operation after the other, in float64."""
  weights, stats = jax.tree.map(
    lambda a: np.asarray(a, np.float64),
    (params['params'], params['batch_stats']),
  )

  def norm(x, path):
    owner, name = weights, stats
    for part in path:
      owner, name = owner[part], name[part]
    scaled = (x - name['mean']) / np.sqrt(name['var'] + 1e-3)
    return scaled * owner['scale'] + owner['bias']

  def leaky(x):
    return np.where(x > 0, x, 0.1 * x)

  x = 255 * np.asarray(x, np.float64)
  x = (x - x.mean()) / max(x.std(), 1 / np.sqrt(x.size))
  x = convolution(x, weights['Conv_0']['kernel'], 1)
  for stage in range(3):
    for i in range(units):
      name = f'stage{stage}_unit{i}'
      stride = 2 if stage > 0 and i == 0 else 1
      active = leaky(norm(x, (name, 'BatchNorm_0')))
      shortcut = active if stage == i == 0 else x
      if stride == 2:
        shortcut = (
          shortcut[::2, ::2]
          + shortcut[1::2, ::2]
          + shortcut[::2, 1::2]
          + shortcut[1::2, 1::2]
        ) / 4
      extra = 16 * width * 2**stage - shortcut.shape[-1]
      shortcut = np.pad(shortcut, ((0, 0), (0, 0), (extra // 2,) * 2))
      x = convolution(active, weights[name]['Conv_0']['kernel'], stride)
      x = leaky(norm(x, (name, 'BatchNorm_1')))
      x = shortcut + convolution(x, weights[name]['Conv_1']['kernel'], 1)
  x = leaky(norm(x, ('BatchNorm_0',))).mean((0, 1))
  return x @ weights['Dense_0']['kernel'] + weights['Dense_0']['bias']


def test_logits_are_those_of_the_protocol(network, params):
  (x,) = images(1)
  expected = reference(params, x, width=1, units=1)
  # Sums of up to 576 float32 products, a dozen layers deep.
  np.testing.assert_allclose(network.apply(params, x), expected, rtol=1e-4)


def test_a_constant_image_has_finite_logits_and_gradients(network, params):
  x = jnp.full(SHAPE, 0.3)
  grads = jax.jit(jax.jacrev(lambda x: network.apply(params, x)))(x)
  assert np.isfinite(network.apply(params, x)).all()
  assert np.isfinite(grads).all()


def test_the_paper_s_network_has_its_size():
  network = models.wide_resnet(10)
  x = jnp.zeros((32, 32, 3))
  params = jax.eval_shape(network.init, jax.random.key(0), x)['params']
  widths = [16] + [160] * 5 + [320] * 5 + [640] * 5
  kernels = 9 * 3 * 16 + sum(
    9 * (before * width + width * width)
    for before, width in zip(widths, widths[1:])
  )
  norms = 2 * sum(widths[:-1]) + 2 * sum(widths[1:]) + 2 * 640
  assert models.num_params(params) == kernels + norms + 640 * 10 + 10


def test_kernels_are_drawn_as_the_protocol_says():
  network = models.wide_resnet(10, width=2, units=1)
  found = jax.jit(network.init)(jax.random.key(3), jnp.zeros(SHAPE))['params']
  for name, size in (('Conv_0', 32), ('Conv_1', 32)):
    kernel = found['stage0_unit0'][name]['kernel']
    expected = np.sqrt(2 / (9 * size))  # fan-out
    # 4,608 draws or more: the deviation is known to 1%, five times over.
    assert np.std(kernel) == pytest.approx(expected, rel=0.06)
    assert np.abs(kernel).max() > 3 * expected  # not truncated at 2
  dense = found['Dense_0']['kernel']
  limit = np.sqrt(3 / 128)
  assert limit > np.abs(dense).max() > 0.98 * limit
  assert not found['Dense_0']['bias'].any()


def test_training_normalises_by_the_batch_and_keeps_a_running_mean(
  network, params
):
  x = images(6)
  logits, changed = jax.jit(network.train)(params, x)
  assert logits.shape == (6, 5)
  assert not np.allclose(logits, jax.vmap(network.apply, (None, 0))(params, x))
  # The first layer's statistics, by hand: decay 0.9, biased variance.
  weights = params['params']
  pixels = []
  for image in x:
    image = 255 * image.astype(np.float64)
    image = (image - image.mean()) / image.std()
    kernel = np.asarray(weights['Conv_0']['kernel'], np.float64)
    pixels.append(convolution(image, kernel, 1).reshape(-1, 16))
  pixels = np.concatenate(pixels)
  before, after = (
    tree['batch_stats']['stage0_unit0']['BatchNorm_0']
    for tree in (params, changed)
  )
  for name, value in (('mean', pixels.mean(0)), ('var', pixels.var(0))):
    expected = 0.9 * np.asarray(before[name]) + 0.1 * value
    np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-5)
  for mine, theirs in zip(
    jax.tree.leaves(changed['params']), jax.tree.leaves(weights)
  ):
    np.testing.assert_array_equal(mine, theirs)


def test_an_optimiser_leaves_statistics_to_the_network(network, params):
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
  x, y = images(8), np.arange(8, dtype=np.int32) % 5
  _, expected = jax.jit(network.train)(params, x)
  state = training.TrainState(
    jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params), tx.init(params)
  )
  where = layout(jax.devices()[:1])
  update = training.updater(network, tx, identity(), where=where)
  state, _ = update(state, jax.random.key(0), np.arange(8), x, y)
  for mine, theirs in zip(
    jax.tree.leaves(state.params['batch_stats']),
    jax.tree.leaves(expected['batch_stats']),
  ):
    # Fused, sums over the batch are in another order.
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_units_computed_again_give_the_same_numbers(network, params):
  again = models.wide_resnet(5, width=1, units=1, remat=True)
  (x,) = images(1)

  def loss(fn):
    return jax.jit(jax.grad(lambda x: fn(params, x)[0]))(x)

  np.testing.assert_allclose(
    loss(again.apply), loss(network.apply), rtol=1e-5, atol=1e-7
  )


def test_bfloat16_is_near_and_gives_float32_logits(network, params):
  low = models.wide_resnet(5, width=1, units=1, dtype='bfloat16')
  (x,) = images(1)
  logits = network.apply(params, x)
  rounded = low.apply(params, x)
  assert rounded.dtype == jnp.float32
  assert 0 < np.abs(rounded - logits).max() < 0.1 * np.abs(logits).max()


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match="dtype='float16'"):
    models.wide_resnet(dtype='float16')
  with pytest.raises(ValueError, match='width=0'):
    models.wide_resnet(width=0)
  network = models.wide_resnet(width=1, units=1)
  with pytest.raises(ValueError, match=r'shape \(6, 8, 3\)'):
    network.init(jax.random.key(0), jnp.zeros((6, 8, 3)))

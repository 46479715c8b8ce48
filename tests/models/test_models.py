"""Networks: shapes, sizes, first weights; pooling against Flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.models import (
  digits_cnn,
  ensemble,
  gowal_cnn,
  max_pool,
  mnist_cnn,
  num_params,
)

SMALL = {
  'mnist_cnn': (lambda: mnist_cnn(7, widths=(3, 4), hidden=5), (12, 12, 1)),
  'digits_cnn': (lambda: digits_cnn(7, width=2), (8, 8, 1)),
  'odd-colour': (lambda: mnist_cnn(7, widths=(2, 3), hidden=4), (9, 7, 3)),
}


@pytest.mark.parametrize('name', SMALL)
def test_one_image_gives_one_row_of_logits_whatever_the_batch(name, key):
  make, shape = SMALL[name]
  net = make()
  images = np.random.default_rng(0).uniform(size=(3, *shape)).astype('f')
  params = jax.jit(net.init)(key, images[0])
  apply = jax.jit(net.apply)
  one = np.stack([apply(params, x) for x in images])
  assert one.shape == (3, 7) and net.num_classes == 7
  batch = jax.jit(jax.vmap(net.apply, (None, 0)))(params, images)
  # The same float32 sums, perhaps in another order.
  np.testing.assert_allclose(batch, one, rtol=1e-5, atol=1e-5)
  assert len(np.unique(one)) == one.size  # it does look at its input


@pytest.fixture(scope='module')
def paper_params():
  init = jax.jit(mnist_cnn().init)
  return init(jax.random.key(1), np.zeros((28, 28, 1), np.float32))


def test_the_papers_network_has_its_number_of_parameters(paper_params):
  layers = 5 * 5 * 32 + 32, 5 * 5 * 32 * 64 + 64, 3136 * 1024 + 1024, 10250
  assert num_params(paper_params) == sum(layers) == 3_274_634


def test_the_papers_network_maps_mnist_to_ten_logits(paper_params):
  x = jax.ShapeDtypeStruct((28, 28, 1), jnp.float32)
  assert jax.eval_shape(mnist_cnn().apply, paper_params, x).shape == (10,)


def test_first_weights_are_truncated_and_not_corrected_for_it(paper_params):
  kernels, biases = [], []
  for layer in paper_params['params'].values():
    kernels.append(np.asarray(layer['kernel']).ravel())
    biases.append(np.asarray(layer['bias']))
  for kernel in kernels:
    assert np.abs(kernel).max() <= 0.2
  # A normal cut at two deviations keeps 0.8796 of its own; 3.2 million draws
  # estimate a deviation to 0.04%.
  assert np.concatenate(kernels).std() == pytest.approx(0.08796, rel=2e-3)
  np.testing.assert_array_equal(np.concatenate(biases), np.float32(0.1))


@pytest.mark.parametrize(
  'shape', [(2, 8, 6, 3), (1, 7, 7, 2), (2, 5, 4, 1), (1, 1, 1, 1)], ids=str
)
def test_pooling_is_that_of_flax_with_same_padding(shape):
  # All values differ, so that gradients are unique.
  rng = np.random.default_rng(0)
  x = rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32) - 9
  pool = lambda x: nn.max_pool(x, (2, 2), (2, 2), 'SAME')
  expected, pull = jax.vjp(pool, x)
  got, our_pull = jax.vjp(max_pool, x)
  np.testing.assert_array_equal(got, expected)
  w = rng.normal(size=expected.shape).astype(np.float32)
  np.testing.assert_array_equal(our_pull(w)[0], pull(w)[0])


def test_pooling_shares_the_gradient_of_ties():
  gradient = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 2, 2, 1)))
  np.testing.assert_array_equal(gradient, 0.25)


def test_num_params_counts_scalars():
  tree = {'a': np.zeros((2, 3)), 'b': [np.zeros(4), np.zeros(())]}
  assert num_params(tree) == 11


def test_the_he_start_has_zero_biases_and_scales_with_the_fan_in(key):
  net = mnist_cnn(widths=(4, 4), hidden=64, init='he')
  params = jax.jit(net.init)(key, np.zeros((12, 12, 1), np.float32))['params']
  for layer in params.values():
    np.testing.assert_array_equal(layer['bias'], 0)
  hidden = np.asarray(params['Dense_0']['kernel'])
  # 2304 draws estimate a deviation to 1.5%.
  fan_in = hidden.shape[0]
  assert hidden.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.08)


def test_an_unknown_start_of_weights_is_named():
  with pytest.raises(ValueError, match="init='xavier'.*paper, he"):
    mnist_cnn(init='xavier')


def relu(x):
  return np.maximum(x, 0)


def convolved(x, layer, stride):
  kernel, bias = (np.asarray(layer[n], np.float64) for n in ('kernel', 'bias'))
  side, size = kernel.shape[0], -(-x.shape[0] // stride)
  extra = max(0, (size - 1) * stride + side - x.shape[0])
  x = np.pad(x, ((extra // 2, extra - extra // 2),) * 2 + ((0, 0),))
  rows = range(0, size * stride, stride)
  return bias + np.array(
    [
      [np.tensordot(x[i : i + side, j : j + side], kernel, 3) for j in rows]
      for i in rows
    ]
  )


def dense(x, layer):
  return x @ np.asarray(layer['kernel'], np.float64) + np.asarray(layer['bias'])


def pooled(x):
  return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))


@pytest.mark.parametrize('name', ['mnist', 'digits', 'gowal'])
def test_small_networks_are_their_layers_in_numpy(name, key):
  net = {
    'mnist': lambda: mnist_cnn(3, (2, 3), 5, 'he'),
    'digits': lambda: digits_cnn(3, 2),
    'gowal': lambda: gowal_cnn(3, 'tiny', 'he'),
  }[name]()
  x = np.random.default_rng(0).random((8, 8, 1))
  params = jax.jit(net.init)(key, np.float32(x))
  noise = np.random.default_rng(1)
  params = jax.tree.map(
    lambda a: a + np.float32(0.2 * noise.normal(size=a.shape)), params
  )
  p = params['params']
  if name == 'mnist':
    h = pooled(relu(convolved(x, p['Conv_0'], 1)))
    h = pooled(relu(convolved(h, p['Conv_1'], 1)))
  elif name == 'digits':
    h = relu(convolved(x, p['Conv_0'], 1))
    h = pooled(relu(convolved(h, p['Conv_1'], 1)))
  else:
    h = relu(convolved(x, p['Conv_0'], 2))
    h = relu(convolved(h, p['Conv_1'], 2))
  h = relu(dense(h.reshape(-1), p['Dense_0']))
  expected = dense(h, p['Dense_1'])
  np.testing.assert_allclose(
    net.apply(params, np.float32(x)), expected, rtol=1e-4, atol=1e-4
  )


def test_members_of_an_ensemble_are_drawn_apart_and_average_their_logits(key):
  member = digits_cnn(3, 2)
  both = ensemble(member, member)
  x = np.random.default_rng(0).random((8, 8, 1), np.float32)
  params = both.init(key, x)
  first, second = (member.apply(p, x) for p in params)
  assert not np.allclose(first, second, atol=1e-3)
  np.testing.assert_allclose(
    both.apply(params, x), (first + second) / 2, rtol=1e-6
  )

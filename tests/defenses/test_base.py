"""Straight-through to the bit and under every transformation; chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.defenses import (
  BACKWARD,
  Defense,
  binning,
  chain,
  checked,
  differentiable,
  frozen,
  gaussian,
  identity,
  straight_through,
  thermometer,
)

# Values for which soft + (hard - soft) is not hard in float32, and such that
# hard and soft lie on different sides of zero.
HARD_VALUES = np.array([1e-8, -1e-8, 0.0, 1 / 3, 1e8, -0.1], np.float32)
X = np.array([0.7, -0.3, 1e4, -0.25, 0.5, 3.0], np.float32)

hard = lambda key, x: jnp.asarray(HARD_VALUES) + 0 * x
soft = lambda key, x: jnp.sin(3 * x) * x
fn = straight_through(hard, soft)
slope = lambda x: 3 * np.cos(3 * x) * x + np.sin(3 * x)


def test_the_usual_trick_would_lose_bits_here(key):
  # Guards the next test: it can only mean something on such values.
  trick = soft(key, X) + (hard(key, X) - soft(key, X))
  assert not np.array_equal(trick, HARD_VALUES)


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit], ids=['eager', 'jit'])
def test_forward_value_is_that_of_hard_to_the_bit(wrap, key):
  bits = lambda a: np.asarray(a).view(np.uint32)
  np.testing.assert_array_equal(bits(wrap(fn)(key, X)), bits(HARD_VALUES))
  primal, _ = wrap(lambda k, x: jax.jvp(lambda z: fn(k, z), (x,), (x,)))(key, X)
  np.testing.assert_array_equal(bits(primal), bits(HARD_VALUES))
  primal = wrap(lambda k, x: jax.vjp(lambda z: fn(k, z), x)[0])(key, X)
  np.testing.assert_array_equal(bits(primal), bits(HARD_VALUES))


def test_forward_and_reverse_mode_give_the_slope_of_soft(key):
  x = X[X < 100]  # sin(3e4) has no digits in float32
  fn = straight_through(lambda key, x: jnp.round(x), soft)
  _, tangent = jax.jvp(lambda z: fn(key, z), (x,), (np.ones_like(x),))
  gradient = jax.grad(lambda z: fn(key, z).sum())(x)
  # Sums of two float32 terms of size up to 10.
  np.testing.assert_allclose(tangent, slope(x), rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(gradient, slope(x), rtol=1e-5, atol=1e-5)


def test_mapped_jitted_and_scanned_gradients_agree(key):
  noisy = lambda key, x: x * jax.random.normal(key, x.shape)
  fn = straight_through(lambda key, x: jnp.round(noisy(key, x)), noisy)
  gradient = jax.grad(lambda x, key: fn(key, x).sum())
  keys, x = jax.random.split(key, 4), X[:3]
  again = lambda: jax.random.clone(keys)
  loop = np.stack([gradient(x, k) for k in again()])
  mapped = jax.vmap(gradient, (None, 0))(x, again())
  jitted = jax.jit(jax.vmap(gradient, (None, 0)))(x, again())
  _, scanned = jax.lax.scan(lambda c, k: (c, gradient(x, k)), 0, again())
  # d/dx of x * noise is the noise itself, the same that hard has seen.
  noise = np.stack([jax.random.normal(k, x.shape) for k in again()])
  for got in (loop, mapped, jitted, scanned):
    np.testing.assert_allclose(got, noise, rtol=1e-6)


@pytest.mark.parametrize('backward', BACKWARD)
def test_value_and_jacobian_are_those_of_the_named_way(backward, key):
  defense = Defense(lambda key, x: jnp.round(x), lambda key, x: x**2)
  value, grad = jax.value_and_grad(differentiable(defense, backward), 1)(
    key, jnp.float32(0.75)
  )
  expected = {'bpda': (1, 1.5), 'surrogate': (0.5625, 1.5), 'identity': (1, 1)}
  assert (float(value), float(grad)) == expected[backward]


def test_unknown_backward_is_named():
  with pytest.raises(ValueError, match="'none'.*bpda, surrogate, identity"):
    differentiable(identity(), 'none')


def test_identity_backward_through_a_change_of_shape_says_what_to_use(key):
  fn = differentiable(thermometer(3), 'identity')
  with pytest.raises(ValueError, match=r'\(2, 2, 3\).*bpda or surrogate'):
    jax.grad(lambda x: fn(key, x).sum())(jnp.zeros((2, 2, 1)))


def test_identity_returns_its_image_untouched(key):
  x = np.linspace(0, 1, 7, dtype=np.float32).reshape(1, 7, 1)
  np.testing.assert_array_equal(identity().apply(key, x), x)
  np.testing.assert_array_equal(identity().surrogate(key, x), x)


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_a_checked_defense_sees_images_alone_however_it_is_called(side, key):
  seen = []

  def spy(key, x):
    del key
    seen.append(x.shape)
    return 2 * x

  fn = getattr(checked(spy, spy), side)
  again = lambda: jax.random.clone(key)
  gradient = jax.grad(lambda x: fn(again(), x).sum())
  batch = np.ones((2, 3, 4, 1), np.float32)
  mapped = jax.jit(jax.vmap(fn, (None, 0)))(again(), batch)
  np.testing.assert_array_equal(mapped, 2 * batch)
  np.testing.assert_array_equal(gradient(batch[0]), mapped[0])
  for call in (lambda x: fn(again(), x), gradient, jax.jit(gradient)):
    for other in (batch, batch[0, ..., 0]):
      with pytest.raises(ValueError, match='image has shape'):
        call(other)
  with pytest.raises(ValueError, match='image has dtype uint8'):
    fn(again(), batch[0].astype(np.uint8))
  assert set(seen) == {(3, 4, 1)}


def test_a_checked_defense_is_its_own_surrogate_by_default():
  defense = checked(lambda key, x: x)
  assert defense.surrogate is defense.apply


NOISY = Defense(
  lambda key, x: x + jax.random.normal(key, x.shape),
  lambda key, x: 2 * x + jax.random.normal(key, x.shape),
)


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_link_i_of_a_chain_gets_the_key_folded_with_i(side, key):
  x, scale = np.float32([[[0.25]]]), 1 if side == 'apply' else 2
  keys = [jax.random.fold_in(key, i) for i in (0, 1)]
  noise = [jax.random.normal(k, x.shape) for k in keys]
  got = getattr(chain(NOISY, NOISY), side)(key, x)
  expected = scale * (scale * x + noise[0]) + noise[1]
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  assert noise[0] != noise[1]


def test_links_apply_from_left_to_right(key):
  double = Defense(*2 * (lambda key, x: 2 * x,))
  add = Defense(*2 * (lambda key, x: x + 1,))
  assert chain(double, add).apply(key, 3.0) == 7
  assert chain(add, double).surrogate(key, 3.0) == 8


def test_an_empty_chain_is_the_identity(key):
  x = np.float32([[[0.1], [0.9]]])
  np.testing.assert_array_equal(chain().apply(key, x), x)


def test_bpda_of_a_chain_multiplies_jacobians_along_the_surrogates(key):
  square = Defense(lambda key, x: jnp.round(x), lambda key, x: x**2)
  grad = jax.grad(differentiable(chain(square, square), 'bpda'), 1)
  # (x^2)^2 at 0.75, whatever the rounding in between.
  np.testing.assert_allclose(grad(key, jnp.float32(0.75)), 4 * 0.75**3)


def test_straight_through_links_take_jacobians_at_deployed_images(key):
  square = Defense(lambda key, x: jnp.round(x), lambda key, x: x**2)
  linked = Defense(square.apply, straight_through(*square))
  grad = jax.grad(differentiable(chain(linked, linked), 'bpda'), 1)
  # 2 * round(0.75) * 2 * 0.75
  assert grad(key, jnp.float32(0.75)) == 3


@pytest.mark.parametrize('backward', BACKWARD)
def test_noise_in_a_chain_is_no_reuse_of_keys(backward, key):
  fn = differentiable(chain(NOISY, binning(4), NOISY), backward)
  x = np.full((2, 2, 1), 0.4, np.float32)
  gradient = jax.jit(jax.grad(lambda key, x: fn(key, x).sum(), 1))(key, x)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_a_frozen_defense_hears_no_key_but_its_own(side, key):
  noisy, own = gaussian(0.1), jax.random.key(9)
  x = jnp.full((2, 3, 1), 0.5)
  fn = getattr(frozen(noisy, own), side)
  expected = getattr(noisy, side)(jax.random.clone(own), x)
  for k in jax.random.split(key, 3):
    np.testing.assert_array_equal(fn(k, x), expected)


@pytest.mark.parametrize('backward', BACKWARD)
def test_a_gradient_has_the_precision_of_its_image(backward, key):
  fn = differentiable(binning(4), backward)
  x = jnp.linspace(0.1, 0.9, 9).reshape(3, 3, 1)
  half = x.astype(jnp.bfloat16)
  grad = jax.grad(lambda x: fn(key, x).sum())
  assert grad(half).dtype == jnp.bfloat16
  same = grad(half.astype(jnp.float32))
  np.testing.assert_allclose(grad(half).astype(jnp.float32), same, rtol=0.01)


def test_a_chain_is_of_defenses_and_an_empty_one_checks_its_image(key):
  with pytest.raises(ValueError, match='has no `apply` and `surrogate`'):
    chain([identity(), identity()])
  with pytest.raises(ValueError, match='image'):
    chain().apply(key, jnp.zeros((3, 3)))

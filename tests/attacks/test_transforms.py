"""Each link against its formula in NumPy, and safe on zero gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense.attacks import adam, mi_fgsm, sign_adam, transforms

SHAPE = (3, 4, 2)
GRADS = np.random.default_rng(0).normal(size=(30, *SHAPE)).astype(np.float32)
# Different sizes a step and an entry, some entries never moving.
GRADS *= np.float32(10.0) ** np.linspace(-4, 2, 30)[:, None, None, None]
GRADS[:, 0, 0] = 0


def updates_of(tx, grads):
  """All updates of a link on a sequence of gradients, as one scan."""

  def step(state, grad):
    update, state = tx.update(grad, state)
    return state, update

  state = tx.init(jnp.zeros(grads.shape[1:]))
  return np.asarray(jax.lax.scan(step, state, jnp.asarray(grads))[1])


@pytest.mark.parametrize(
  'constants',
  [{}, {'b1': 0.5, 'b2': 0.9, 'eps': 1e-2}],
  ids=['tensorflow', 'large-eps'],
)
@pytest.mark.parametrize('signs', [True, False], ids=['signs', 'gradients'])
def test_adam_epsilon_hat_is_tensorflows_adam(constants, signs):
  grads = np.sign(GRADS) if signs else GRADS
  got = updates_of(transforms.scale_by_adam_epsilon_hat(**constants), grads)
  b1, b2, eps = ({'b1': 0.9, 'b2': 0.999, 'eps': 1e-8} | constants).values()
  m = v = 0.0
  for t, grad in enumerate(grads.astype(np.float64), start=1):
    # tf.train.AdamOptimizer: lr_t, then the moments, then var -= lr_t m / ...
    lr = np.sqrt(1 - b2**t) / (1 - b1**t)
    m = b1 * m + (1 - b1) * grad
    v = b2 * v + (1 - b2) * grad**2
    expected = lr * m / (np.sqrt(v) + eps)
    # 1 - 0.999^t has lost 1e-5 of its digits in float32, here and there.
    np.testing.assert_allclose(got[t - 1], expected, rtol=1e-4, atol=1e-6)


def test_adam_epsilon_hat_is_not_the_adam_of_optax_with_the_same_eps():
  # Guards the test above: the place of eps has to be visible.
  ours = updates_of(transforms.scale_by_adam_epsilon_hat(eps=1e-2), GRADS)
  other = updates_of(optax.scale_by_adam(eps=1e-2), GRADS)
  assert np.abs(ours - other).max() > 0.05


def test_the_first_step_on_signs_is_the_sign():
  tx = transforms.scale_by_adam_epsilon_hat()
  got = updates_of(tx, np.sign(GRADS[:1]))
  # sqrt(0.001) / 0.1 * 0.1 s / (sqrt(0.001) + 1e-8), in float32 as above.
  np.testing.assert_allclose(got[0], np.sign(GRADS[0]), rtol=1e-4)


@pytest.mark.parametrize('flip_at, later', [(3, 4), (100, 7)])
def test_the_update_changes_sign_some_steps_after_the_gradient(flip_at, later):
  # PROTOCOL A2, step 3: 4 steps with a short history, 7 with a long one.
  signs = np.where(np.arange(flip_at + 12) < flip_at, 1, -1)
  grads = signs.astype(np.float32).reshape(-1, 1, 1, 1)
  got = updates_of(transforms.scale_by_adam_epsilon_hat(), grads).ravel()
  first = int(np.argmax(got < 0)) - flip_at + 1
  assert first <= later and got[flip_at] > 0


@pytest.mark.parametrize('decay', [1.0, 0.5])
def test_mi_fgsm_is_algorithm_1_of_its_paper(decay):
  got = updates_of(mi_fgsm(0.1, decay), GRADS)
  momentum = np.zeros(SHAPE)
  for grad, update in zip(GRADS.astype(np.float64), got):
    momentum = decay * momentum + grad / np.abs(grad).sum()
    assert np.abs(momentum[1:]).min() > 1e-6  # no sign hangs on rounding
    np.testing.assert_allclose(update, -0.1 * np.sign(momentum), rtol=1e-6)


@pytest.mark.parametrize(
  'tx, order',
  [(transforms.scale_by_l1_norm(), 1), (transforms.scale_by_l2_norm(), 2)],
  ids=['l1', 'l2'],
)
@pytest.mark.parametrize('scale', [1e-30, 1.0, 1e30], ids=str)
def test_normalised_gradients_keep_direction_and_have_norm_one(
  tx, order, scale
):
  grad = GRADS[20] * np.float32(scale)
  got = updates_of(tx, grad[None])[0]
  wide = grad.astype(np.float64)
  expected = wide / np.linalg.norm(wide.ravel(), order)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize('norm', ['l1', 'l2'])
def test_normalised_gradients_have_a_finite_derivative_at_zero(norm):
  tx = LINKS[norm]()
  for grad in (jnp.zeros(3), jnp.float32([0, 2, 0])):
    slopes = jax.jacrev(lambda g: tx.update(g, tx.init(g))[0])(grad)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize(
  'fraction, count', [(0.05, 1), (0.25, 2), (0.5, 4), (1.0, 8), (1e-6, 1)]
)
def test_sparse_sign_moves_the_largest_entries_by_equal_shares(fraction, count):
  grad = np.float32([3, -8, 0.5, 2, -1, 7, -6, 0.25]).reshape(2, 2, 2)
  got = updates_of(transforms.scale_by_sparse_sign(fraction), grad[None])[0]
  order = np.argsort(-np.abs(grad).ravel())[:count]
  expected = np.zeros(8)
  expected[order] = np.sign(grad.ravel()[order]) / count
  np.testing.assert_allclose(got.ravel(), expected, rtol=1e-6)


def test_ties_of_sparse_sign_move_together():
  grad = np.float32([4, -4, 4, 1]).reshape(1, 2, 2, 1)
  got = updates_of(transforms.scale_by_sparse_sign(0.25), grad)
  np.testing.assert_allclose(got.ravel(), [1 / 3, -1 / 3, 1 / 3, 0], rtol=1e-6)


@pytest.mark.parametrize('fraction', [0, -0.5, 1.5, float('nan')], ids=str)
def test_an_impossible_fraction_is_named(fraction):
  with pytest.raises(ValueError, match=f'fraction={fraction} '):
    transforms.scale_by_sparse_sign(fraction)


LINKS = {
  'l1': transforms.scale_by_l1_norm,
  'l2': transforms.scale_by_l2_norm,
  'sparse': transforms.scale_by_sparse_sign,
  'adam_hat': transforms.scale_by_adam_epsilon_hat,
  'adam': lambda: adam(0.1),
  'sign_adam': lambda: sign_adam(0.1),
  'mi_fgsm': lambda: mi_fgsm(0.1),
}


@pytest.mark.parametrize('name', LINKS)
def test_zero_gradients_stay_zero_and_tiny_ones_finite(name):
  zeros = np.zeros((2, *SHAPE), np.float32)
  np.testing.assert_array_equal(updates_of(LINKS[name](), zeros), 0)
  # The last two sizes are below the smallest normal float32.
  for size in (1e-10, 1e-37, 1e-40, 1e-45):
    tiny = np.concatenate([zeros, np.full_like(zeros, size), zeros])
    assert np.isfinite(updates_of(LINKS[name](), tiny)).all()


def test_adam_does_not_see_the_scale_of_the_loss():
  tx = adam(0.1)
  got = updates_of(tx, GRADS * np.float32(1e-6))
  # eps 1e-12 against entries of 1e-2 of a gradient of l1 norm 1.
  np.testing.assert_allclose(got, updates_of(tx, GRADS), rtol=1e-4, atol=1e-6)

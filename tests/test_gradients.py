"""Ways of differentiating against the chain rule written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses
from rdefense.defenses import BACKWARD, Defense, binning, identity

SHAPE = (2, 3, 1)
RNG = np.random.default_rng(5)
W1 = RNG.normal(size=(6, 7))
W2 = RNG.normal(size=(7, 3))
X = RNG.uniform(size=SHAPE).astype(np.float32)


def logits_fn(x):
  hidden = jnp.tanh(x.ravel() @ jnp.float32(W1))
  return hidden @ jnp.float32(W2)


def literal_logits(x):
  return np.tanh(x.ravel() @ W1) @ W2


def literal_margin_grad(x, label):
  """d margin / dx of the network alone, at x."""
  hidden = np.tanh(x.ravel() @ W1)
  logits = hidden @ W2
  rival = max((i for i in range(3) if i != label), key=lambda i: logits[i])
  grad = W1 @ ((1 - hidden**2) * (W2[:, label] - W2[:, rival]))
  return logits[label] - logits[rival], grad.reshape(x.shape)


def looked(oracle, key, x, label):
  """An evaluation, and the gradient that an attack would step along."""
  found = oracle.evaluate(key, x, label, 0)
  return found, oracle.gradient(jax.random.clone(key), x, found)


# T(v) = 1 if v > 1/2, g(v) = v^2: nothing in common but the ends.
HARD = lambda x: (x > 0.5).astype(x.dtype)
SQUARE = Defense(lambda key, x: HARD(x), lambda key, x: x**2)


@pytest.mark.parametrize('label', range(3))
@pytest.mark.parametrize('backward', BACKWARD)
def test_each_way_takes_value_and_jacobian_where_it_says(backward, label, key):
  oracle = gradients.through(logits_fn, SQUARE, losses.margin, backward)
  look = jax.jit(functools.partial(looked, oracle))
  out, got = look(key, X, label)
  x = X.astype(np.float64)
  at_hard = literal_margin_grad(HARD(x), label)
  at_soft = literal_margin_grad(x**2, label)
  value, grad = {
    'bpda': (at_hard[0], at_hard[1] * 2 * x),  # F' at T(x), g' at x
    'surrogate': (at_soft[0], at_soft[1] * 2 * x),  # both at g(x), x
    'identity': at_hard,
  }[backward]
  # Sums of a dozen float32 products of numbers near 1.
  np.testing.assert_allclose(out.value, value, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(got, grad, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out.margin, at_hard[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('backward', BACKWARD)
def test_without_a_defense_every_way_is_the_plain_gradient(backward, key):
  oracle = gradients.through(
    logits_fn, identity(), losses.cross_entropy, backward
  )
  out, got = looked(oracle, key, X, 1)
  value, grad = jax.value_and_grad(
    lambda x: losses.cross_entropy(logits_fn(x), 1)
  )(X)
  np.testing.assert_allclose(out.value, value, rtol=1e-6)
  np.testing.assert_allclose(got, grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('backward', BACKWARD)
def test_the_margin_is_that_of_the_deployed_pipeline(backward, key):
  defense = binning(2)
  oracle = gradients.through(logits_fn, defense, losses.cross_entropy, backward)
  out = oracle.evaluate(key, X, 2, 0)
  deployed = losses.margin(logits_fn(defense.apply(key, X)), 2)
  np.testing.assert_allclose(out.margin, deployed, rtol=1e-6)


@pytest.mark.parametrize('backward', BACKWARD)
def test_deployed_and_surrogate_see_the_same_noise(backward, key):
  noisy = lambda key, x: x + jax.random.normal(key, x.shape)
  defense = Defense(lambda key, x: noisy(key, x), lambda key, x: noisy(key, x))
  oracle = gradients.through(logits_fn, defense, losses.margin, backward)
  look = functools.partial(looked, oracle)
  keys = jax.random.split(key, 3)
  # Eager and mapped, both under the checker of key reuse.
  out, grads = jax.jit(jax.vmap(look, (0, None, None)))(keys, X, 0)
  np.testing.assert_allclose(out.value, out.margin, rtol=1e-5, atol=1e-6)
  assert len(np.unique(out.margin)) == 3
  _, grad = look(jax.random.clone(keys)[0], X, 0)
  np.testing.assert_allclose(grad, grads[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('backward', BACKWARD)
def test_an_old_evaluation_serves_where_the_discretized_image_stays(
  backward, key
):
  oracle = gradients.through(logits_fn, SQUARE, losses.margin, backward)
  look = jax.jit(functools.partial(looked, oracle))
  stale, gradient = jax.jit(oracle.stale), jax.jit(oracle.gradient)
  last, last_grad = look(key, X, 1)
  same = np.where(X > 0.5, np.maximum(0.9 * X, 0.55), 0.9 * X).astype('f')
  # T(x) stays, g(x) does not.
  assert stale(key, same, last) == (backward == 'surrogate')
  if backward != 'surrogate':
    got = gradient(key, same, last)
    expected, grad = look(key, same, 1)
    np.testing.assert_allclose(got, grad, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(last.margin, expected.margin)
    assert (backward == 'identity') == np.array_equal(got, last_grad)
  assert stale(key, 1 - X, last)
  # A surrogate's output says nothing about the deployed margin.
  assert stale(key, X, last) == (backward == 'surrogate')


def test_defended_is_the_classifier_after_apply(key):
  got = gradients.defended(logits_fn, SQUARE)(key, X)
  expected = literal_logits(HARD(X.astype(np.float64)))
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_an_unknown_way_is_named():
  with pytest.raises(ValueError, match="backward='bdpa'.*bpda"):
    gradients.through(logits_fn, SQUARE, losses.margin, 'bdpa')


# ------------------------------------------------------------------- averages

NOISY = Defense(
  lambda key, x: x + 0.3 * jax.random.normal(key, x.shape),
  lambda key, x: x + 0.3 * jax.random.normal(key, x.shape),
)


def literal_average(average, key, label, num_draws):
  """Differentiates the average itself, all draws in one graph."""

  def objective(x):
    def one(i):
      noise = 0.3 * jax.random.normal(jax.random.fold_in(key, i), x.shape)
      return losses.cross_entropy(logits_fn(x + noise), label)

    each = jnp.stack([one(i) for i in range(num_draws)])
    match average:
      case 'loss':
        return each.mean()
      case 'probability':
        return jnp.exp(each).mean()
      case 'log_probability':
        return jnp.log(jnp.exp(each).mean())

  return jax.value_and_grad(objective)(jnp.asarray(X))


def in_parts(oracle, key, label, num_parts):
  """Evaluates part by part, from rubbish, as a driver does."""
  rubbish = jax.tree.map(
    lambda a: jnp.full(a.shape, jnp.inf, a.dtype),
    jax.eval_shape(oracle.evaluate, key, X, label, 0),
  )
  out = rubbish
  for part in range(num_parts):
    new = oracle.evaluate(jax.random.clone(key), X, label, part)
    out = oracle.combine(part, out, new)
  return out, oracle.gradient(key, X, out)


@pytest.mark.parametrize('average', gradients.AVERAGES)
@pytest.mark.parametrize('chunk', [1, 2, 3, 6])
def test_an_average_in_parts_is_the_gradient_of_the_average(
  average, chunk, key
):
  single = gradients.through(logits_fn, NOISY, losses.cross_entropy)
  oracle = gradients.averaged(single, average, chunk)
  out, got = in_parts(oracle, key, 1, 6 // chunk)
  value, grad = literal_average(average, key, 1, 6)
  np.testing.assert_allclose(out.value, value, rtol=1e-5)
  np.testing.assert_allclose(got, grad, rtol=1e-4, atol=1e-6)


def test_the_margin_of_an_average_is_between_probabilities(key):
  two = lambda x: logits_fn(x)[:2]
  single = gradients.through(two, NOISY, losses.cross_entropy)
  out, _ = in_parts(gradients.averaged(single, 'loss', 2), key, 1, 2)
  each = [
    jax.nn.softmax(two(NOISY.apply(jax.random.fold_in(key, i), X)))
    for i in range(4)
  ]
  mean = np.mean(each, 0)
  np.testing.assert_allclose(out.margin, mean[1] - mean[0], atol=1e-6)


def test_an_average_of_lost_draws_has_a_finite_gradient(key):
  """p_y underflows: probability has no gradient left, its logarithm has."""
  sure = lambda x: jnp.stack([0.0 * x.sum(), 300.0 + x.sum()])
  single = gradients.through(sure, NOISY, losses.cross_entropy)
  for average in gradients.AVERAGES:
    out, grad = in_parts(gradients.averaged(single, average, 2), key, 0, 3)
    assert np.isfinite(grad).all() and np.isfinite(out.value)
    if average != 'probability':
      np.testing.assert_allclose(grad, -1.0, rtol=1e-4)


def test_an_average_is_always_stale(key):
  oracle = gradients.averaged(
    gradients.through(logits_fn, identity(), losses.margin)
  )
  last = oracle.evaluate(key, X, 1, 0)
  assert oracle.stale(key, X, last)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'average': 'logits'}, "average='logits'.*loss, probability"),
    ({'chunk': 0}, 'chunk=0 must be at least 1'),
  ],
)
def test_bad_averages_are_one_sentence(options, message):
  single = gradients.through(logits_fn, NOISY, losses.margin)
  with pytest.raises(ValueError, match=message):
    gradients.averaged(single, **options)

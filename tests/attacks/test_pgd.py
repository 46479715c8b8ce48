"""PGD where the best perturbation is known, and against other programs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import (
  adam,
  assemble,
  base,
  mi_fgsm,
  pgd,
  recipes,
  sign,
  sign_adam,
  steepest,
)
from rdefense.attacks.pgd import KEEP
from rdefense.defenses import binning, identity, nearest_code

SHAPE = (3, 3, 1)
RNG = np.random.default_rng(2)
W = RNG.normal(size=SHAPE).astype(np.float32)
X = RNG.uniform(0.4, 0.6, SHAPE).astype(np.float32)
linear = lambda x: jnp.stack([(W * x).sum(), 0.0])


def attack_linear(tx, threat, num_steps, x=X, key=None, **options):
  oracle = gradients.through(linear, identity(), losses.margin)
  attack = pgd(oracle, tx, threat, **options)
  key = jax.random.key(0) if key is None else key
  return jax.jit(base.run(attack, num_steps))(key, x, 0)


# ----------------------------------------------------------- closed forms


@pytest.mark.parametrize('start', threats.STARTS)
@pytest.mark.parametrize('keep', KEEP)
@pytest.mark.parametrize('norm, dual', [('linf', 1), ('l2', 2), ('l1', np.inf)])
def test_a_linear_classifier_loses_exactly_eps_times_the_dual_norm(
  norm, dual, keep, start
):
  eps = {'linf': 0.1, 'l2': 0.2, 'l1': 0.3}[norm]
  tx = steepest(norm, eps)
  out, _ = attack_linear(
    tx, threats.ball(norm, eps), 12, start=start, keep=keep
  )
  loss = (W * X).sum() - (W * np.asarray(out.z)).sum()
  expected = eps * np.linalg.norm(W.ravel().astype(np.float64), dual)
  if norm == 'linf':
    rtol = 1e-5  # two steps of eps end in the corner: rounding alone
  elif norm == 'l1':
    rtol = 1e-5  # one coordinate moves until all the rest is given back
  else:
    rtol = 1e-4  # what is not along w halves at every step
  assert loss == pytest.approx(expected, rel=rtol)
  assert loss <= expected * (1 + 1e-5)
  np.testing.assert_allclose(out.margin, (W * out.z).sum(), atol=1e-5)


def test_pgd_ends_in_the_corner_of_ball_and_box(key):
  x = np.float32(RNG.uniform(0, 1, SHAPE))
  threat = threats.linf(0.3)
  out, _ = attack_linear(steepest('linf', 0.1), threat, 10, x, key)
  corner = np.clip(x - np.float32(0.3) * np.sign(W), 0, 1)
  np.testing.assert_allclose(out.z, corner, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
  'norm, order', [('linf', np.inf), ('l2', 2), ('l1', 1)]
)
def test_one_steepest_step_has_the_given_length(norm, order):
  out, info = attack_linear(
    steepest(norm, 0.05), threats.ball(norm, 1.0), 1, start='clean'
  )
  moved = np.float64(out.z - X)
  assert np.linalg.norm(moved.ravel(), order) == pytest.approx(0.05, rel=1e-5)
  assert (W * moved).sum() < 0
  np.testing.assert_allclose(info.distance, [0.05], rtol=1e-5)


# ------------------------------------------------------ which iterate, cost


@pytest.mark.parametrize('keep', KEEP)
def test_t_steps_cost_t_plus_one_gradients(keep, key):
  calls = []
  oracle = gradients.through(linear, identity(), losses.margin)

  def counted(key, z, y, part):
    if not isinstance(z, jax.core.Tracer):  # only its shapes are asked for
      calls.append(z)
    return oracle.evaluate(key, z, y, part)

  attack = pgd(
    oracle._replace(evaluate=counted),
    optax.sgd(0.01),
    threats.linf(0.3),
    'clean',
    keep,
  )
  state, _ = base.begin(attack, key, X, 0)
  for i in (1, 2, 3):
    state, *_ = base.step(attack, key, i, state, X, 0)
  out = attack.outcome(state, X)
  assert len(calls) == 4
  moves = {'best': 3, 'last': 3, 'next': 4}[keep]
  # The box and ball are far away: plain gradient descent.
  np.testing.assert_allclose(out.z, X - moves * 0.01 * W, atol=1e-6)


def up_and_down(keep, num_steps, start='clean'):
  """Steps of 0.05, 0.05, -0.2, -0.05: the best iterate is in the middle."""
  sizes = jnp.float32([-0.05, -0.05, 0.2, 0.05, 0.0])
  tx = optax.chain(
    optax.scale_by_sign(), optax.scale_by_schedule(lambda i: sizes[i])
  )
  return attack_linear(tx, threats.linf(0.3), num_steps, start=start, keep=keep)


def test_best_is_the_iterate_of_smallest_margin():
  out, info = up_and_down('best', 4)
  assert out.margin == info.margin.min() == info.margin[1]
  np.testing.assert_allclose(out.z, X - 0.1 * np.sign(W), atol=1e-6)


def test_last_is_the_final_iterate_though_worse():
  out, info = up_and_down('last', 4)
  assert out.margin == info.margin[-1] > info.margin.min()
  np.testing.assert_allclose(out.z, X + 0.15 * np.sign(W), atol=1e-6)


def test_next_is_one_move_beyond_last():
  out, _ = up_and_down('next', 3)
  beyond, _ = up_and_down('last', 4)
  np.testing.assert_allclose(out.z, beyond.z, atol=1e-6)


def test_the_start_counts_as_an_iterate():
  away = optax.scale(1.0)  # climbs the loss
  out, info = attack_linear(away, threats.linf(0.3), 3, start='clean')
  np.testing.assert_array_equal(out.z, X)
  assert out.margin < info.margin.min()


def test_no_step_at_all_submits_the_start():
  out, info = attack_linear(optax.sgd(1.0), threats.linf(0.1), 0, start='lower')
  np.testing.assert_allclose(out.z, X - np.float32(0.1), atol=1e-7)
  assert info.value.shape == (0,)


def test_plain_pgd_is_never_done():
  out, _ = attack_linear(steepest('linf', 0.5), threats.linf(0.5), 5)
  assert out.margin < 0 and not out.done


def test_an_optimiser_sees_value_and_gradient(key):
  seen = []

  def update(updates, state, params=None, *, value, grad, **extra):
    seen.append((value, grad, params))
    return jax.tree.map(jnp.zeros_like, updates), state

  tx = optax.GradientTransformationExtraArgs(lambda _: (), update)
  oracle = gradients.through(linear, identity(), losses.margin)
  attack = pgd(oracle, tx, threats.linf(0.1), 'clean')
  state, _ = base.begin(attack, key, X, 0)
  base.step(attack, key, 1, state, X, 0)
  ((value, grad, params),) = seen
  np.testing.assert_allclose(value, (W * X).sum(), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(grad, W, rtol=1e-6)
  np.testing.assert_array_equal(params, X)


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: up_and_down('first', 1), "keep='first'.*best, last, next"),
    (lambda: up_and_down('best', 1, 'mid'), "start='mid'"),
    (lambda: steepest('l0', 0.1), "norm='l0'.*linf, l2, l1"),
    (lambda: steepest('linf', 2), 'step_size=2 is larger than 1.*by 255'),
    (lambda: sign(-0.1), 'step_size=-0.1 must be at least 0'),
  ],
  ids=['keep', 'start', 'norm', 'levels', 'negative'],
)
def test_bad_arguments_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()


STEPS = pytest.mark.parametrize('make', [sign, mi_fgsm, adam, sign_adam])


@STEPS
def test_every_step_size_is_in_unit_range(make):
  for size, message in ((8, 'step_size=8 is larger'), (-0.1, '-0.1 must be')):
    with pytest.raises(ValueError, match=message):
      make(size)


@STEPS
def test_every_step_size_may_be_a_schedule(make):
  grads = jnp.float32([[1.0, -2.0], [3.0, 0.5], [-1.0, -1.0]])
  lengths = jnp.float32([0.1, 0.05, 0.2])

  def updates(tx):
    state = tx.init(grads[0])
    for grad in grads:
      update, state = tx.update(grad, state)
      yield update

  falling = updates(make(lambda i: lengths[i]))
  for update, unit, length in zip(falling, updates(make(1.0)), lengths):
    np.testing.assert_allclose(update, length * unit, rtol=1e-6)


def test_gradients_flow_through_a_run_to_the_weights():
  """Of l2 steps; on one of the images the gradient is zero all the way."""
  x = jnp.stack([X, jnp.zeros_like(X)])  # tanh^2 is flat at 0

  def attacked(w):
    logits_fn = lambda z: jnp.stack([(jnp.tanh(w * z) ** 2).sum(), 0.0])
    attack = pgd(
      gradients.through(logits_fn, identity(), losses.margin),
      steepest('l2', 0.1),
      threats.l2(0.15),
      'clean',
      'last',
    )
    keys, labels = jax.random.split(jax.random.key(0), 2), jnp.zeros(2, int)
    return jax.vmap(base.run(attack, 3))(keys, x, labels)[0].margin.sum()

  attacked = jax.jit(attacked)
  got = jax.jit(jax.grad(attacked))(W)
  step = 0.01 * got / jnp.linalg.norm(got)
  change = (attacked(W + step) - attacked(W - step)) / 2
  # Curvature over a step of 0.01: 1e-4 of the change, with room.
  np.testing.assert_allclose((got * step).sum(), change, rtol=1e-3)


# ------------------------------------------- paper A's attack, written out

HIDDEN = 8


def network(num_inputs, seed=3):
  rng = np.random.default_rng(seed)
  w1 = rng.normal(size=(num_inputs, HIDDEN)) / 2
  w2 = rng.normal(size=(HIDDEN, 4))

  def logits_fn(x):
    return jnp.tanh(x.ravel() @ jnp.float32(w1)) @ jnp.float32(w2)

  def margin_and_gradient(x, label):
    hidden = np.tanh(x.ravel() @ w1)
    logits = hidden @ w2
    masked = logits - 1e4 * (np.arange(4) == label)  # as the paper's code
    column = w2[:, label] - w2[:, masked.argmax()]
    gradient = w1 @ ((1 - hidden**2) * column)
    return logits[label] - masked.max(), gradient.reshape(x.shape)

  return logits_fn, margin_and_gradient


def literal_discretization(x, codes, alpha):
  """T(x), and v -> v . dg/dx; linf over the channels of a pixel."""
  difference = x[..., None, :] - codes  # [H, W, k, C]
  size = np.abs(difference)
  distance = size.max(-1)
  tied = size == distance[..., None]
  slope = tied / tied.sum(-1, keepdims=True) * np.sign(difference)
  weight = np.exp(-alpha * distance)
  weight /= weight.sum(-1, keepdims=True)
  g = weight @ codes

  def pull(v):
    # dg = -alpha sum_t w_t (c_t - g) d dist_t
    along = (v[..., None, :] * (codes - g[..., None, :])).sum(-1)
    return -alpha * ((weight * along)[..., None] * slope).sum(-2)

  return codes[distance.argmin(-1)], pull


def literal_paper_a(margin_and_gradient, discretize, x, y, eps, step, steps):
  z = np.zeros_like(x)  # the variable starts as zeros, projected once
  project = lambda z: x + np.clip(np.clip(z, 0, 1) - x, -eps, eps)
  z = project(z)
  m = v = np.zeros_like(x)
  path, margins = [z], [margin_and_gradient(discretize(z)[0], y)[0]]
  for t in range(1, steps + 1):
    hard, pull = discretize(z)
    gradient = pull(margin_and_gradient(hard, y)[1])
    # In between, signs would hang on rounding. Exact zeros: a channel that
    # is the largest difference to no code.
    assert np.abs(gradient[gradient != 0]).min() > 1e-7
    sign = np.sign(gradient)
    m = 0.9 * m + 0.1 * sign
    v = 0.999 * v + 0.001 * sign**2
    rate = step * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    z = project(z - rate * m / (np.sqrt(v) + 1e-8))
    path.append(z)
    margins.append(margin_and_gradient(discretize(z)[0], y)[0])
  return np.stack(path), np.array(margins)


# Not the paper's alpha in colour, so that no weight drowns in float32.
PAPER_A = {
  'grey': (np.array([[0.0], [1.0]]), (3, 3, 1), 10.0, 0.3, 0.02, 40),
  'colour': (
    np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7], [0.4, 0.7, 0.5]]),
    (2, 2, 3),
    8.0,
    0.3,
    0.05,
    20,
  ),
}


@pytest.mark.parametrize('case', PAPER_A)
@pytest.mark.parametrize('label', range(4))
def test_paper_a_takes_the_steps_of_its_code(case, label, key):
  codes, shape, alpha, eps, step, steps = PAPER_A[case]
  logits_fn, margin_and_gradient = network(np.prod(shape))
  x = np.random.default_rng(11).uniform(size=shape).astype(np.float32)
  discretize = lambda z: literal_discretization(z, codes, alpha)
  path, margins = literal_paper_a(
    margin_and_gradient,
    discretize,
    x.astype(np.float64),
    label,
    eps,
    step,
    steps,
  )
  (recipe,) = recipes.paper_a(steps, step, alpha)
  attack = assemble(
    recipe,
    logits_fn,
    binning(2, alpha) if case == 'grey' else nearest_code(codes, alpha),
    threats.linf(eps),
  )
  state, _ = base.begin(attack, key, x, label)
  np.testing.assert_allclose(state.z, path[0], atol=1e-6)
  one = jax.jit(functools.partial(base.step, attack))
  for i in range(steps):
    state, *_ = one(key, i + 1, state, x, label)
    # Rounding of dozens of steps, and of TensorFlow's bias correction (1e-5
    # of a step) in float32.
    np.testing.assert_allclose(state.z, path[i + 1], atol=2e-5)
    np.testing.assert_allclose(
      state.evaluation.margin, margins[i + 1], atol=1e-4
    )
  out = attack.outcome(state, x)
  np.testing.assert_array_equal(out.z, state.z)  # the last iterate
  assert not out.done  # whatever happened on the way


@pytest.mark.parametrize('case', PAPER_A)
def test_the_papers_cases_do_cross_thresholds(case):
  # Guards the test above: where T never changes, any defense would do.
  codes, shape, alpha, eps, step, steps = PAPER_A[case]
  _, margin_and_gradient = network(np.prod(shape))
  x = np.random.default_rng(11).uniform(size=shape).astype(np.float32)
  discretize = lambda z: literal_discretization(z, codes, alpha)
  margins = [
    literal_paper_a(
      margin_and_gradient, discretize, x.astype(np.float64), y, eps, step, steps
    )[1]
    for y in range(4)
  ]
  assert max(len(np.unique(values)) for values in margins) >= 3


# ------------------------------------------------------ an independent PGD


@pytest.mark.parametrize('eps, step', [(0.1, 0.03), (0.3, 0.05)])
def test_pgd_is_the_linf_pgd_of_foolbox(eps, step, key):
  foolbox = pytest.importorskip('foolbox')
  logits_fn, _ = network(9)
  rng = np.random.default_rng(6)
  images = jnp.asarray(rng.uniform(size=(6, *SHAPE)).astype(np.float32))
  labels = jnp.asarray(rng.integers(0, 4, 6))
  peer = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=7, random_start=False)
  model = foolbox.models.JAXModel(jax.vmap(logits_fn), bounds=(0, 1))
  # `run` attacks every example; __call__ would hand back clean images where
  # they are misclassified already.
  expected = peer.run(
    model, images, foolbox.criteria.Misclassification(labels), epsilon=eps
  )
  attack = pgd(
    gradients.through(logits_fn, identity(), losses.cross_entropy),
    steepest('linf', step),
    threats.linf(eps),
    start='clean',
    keep='last',
  )
  fn = jax.jit(jax.vmap(base.run(attack, 7), (0, 0, 0)))
  out, _ = fn(jax.random.split(key, 6), images, labels)
  # Seven additions of a step in float32.
  np.testing.assert_allclose(out.z, expected, rtol=0, atol=1e-6)
  assert np.abs(out.z - images).max() == pytest.approx(
    min(eps, 7 * step), abs=1e-6
  )

"""Auto-PGD against algorithm 1 of its paper, written out with lists."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import apgd, pgd, run, sign
from rdefense.attacks.apgd import checkpoints
from rdefense.attacks.base import begin, step
from rdefense.defenses import identity

EPS, SHAPE = 0.1, (4, 3, 1)
RNG = np.random.default_rng(8)
DEEP, WIDE = RNG.normal(size=(2, 24, 12)).astype(np.float32)
X = RNG.uniform(0.02, 0.98, (6, *SHAPE)).astype(np.float32)


def logits_fn(x):
  """Two classes; the first oscillates over the ball."""
  waves = jnp.sin(4 * DEEP @ x.ravel()) * jnp.cos(WIDE @ x.ravel())
  return jnp.stack([waves.sum(), 0.0])


def value_and_gradient(z):
  z = z.ravel().astype(np.float64)
  deep, wide = 4 * DEEP @ z, WIDE @ z
  grad = (np.cos(deep) * np.cos(wide)) @ (4 * DEEP.astype(np.float64))
  grad -= (np.sin(deep) * np.sin(wide)) @ WIDE
  return (np.sin(deep) * np.cos(wide)).sum(), grad.reshape(SHAPE)


def literal_checkpoints(num_steps):
  p = [0, 0.22]
  while p[-1] < 1:
    p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
  return [math.ceil(round(p_j * num_steps, 9)) for p_j in p if p_j <= 1]


def literal(x, direction, project, num_steps):
  """All iterates, and the last step size; losses are minimised."""
  eta, ends = 2 * EPS, literal_checkpoints(num_steps)
  iterates, values = [x], []
  z, before = x, x
  f_min, z_min, grad_min = np.inf, None, None
  unchanged_step, f_then, begun = True, np.inf, 0
  for k in range(num_steps):
    value, grad = value_and_gradient(z)
    values.append(value)
    if value < f_min:
      f_min, z_min, grad_min = value, z, grad
    if k in ends[1:]:
      better = sum(values[i + 1] < values[i] for i in range(begun, k))
      one = better < 0.75 * (k - begun)
      two = unchanged_step and f_min == f_then
      unchanged_step, f_then, begun = not (one or two), f_min, k
      if one or two:
        eta, z, grad, values[k] = eta / 2, z_min, grad_min, f_min
    aim = project(z - eta * direction(grad), x)
    a = 0.75 if k else 1.0
    moved = project(z + a * (aim - z) + (1 - a) * (z - before), x)
    before, z = z, moved
    iterates.append(z)
  return iterates, eta


def in_the_cube(z, x):
  return np.clip(np.clip(z, x - EPS, x + EPS), 0, 1)


def in_the_sphere(z, x):
  """Without the box, which the images of its test keep away from."""
  return x + (z - x) * min(1, EPS / max(np.sqrt(((z - x) ** 2).sum()), 1e-12))


def unit(grad):
  return grad / np.sqrt((grad**2).sum())


def oracle(loss=losses.margin):
  return gradients.through(logits_fn, identity(), loss)


@pytest.mark.parametrize(
  'norm, direction, project',
  [('linf', np.sign, in_the_cube), ('l2', unit, in_the_sphere)],
)
@pytest.mark.parametrize('num_steps', [7, 40])
def test_iterates_are_those_of_the_algorithm(
  norm, direction, project, num_steps, key
):
  x = X if norm == 'linf' else np.clip(X, 0.2, 0.8)
  link = apgd(2 * EPS, num_steps, norm)
  attack = pgd(oracle(), link, threats.ball(norm, EPS), 'clean', 'last')
  start = jax.jit(lambda key, x: begin(attack, key, x, 0)[0])
  go = jax.jit(lambda key, i, state, x: step(attack, key, i, state, x, 0)[0])
  halved = 0
  for image in x:
    expected, eta = literal(image, direction, project, num_steps)
    state = start(key, image)
    np.testing.assert_array_equal(state.z, expected[0])
    for i in range(1, num_steps + 1):
      state = go(key, i, state, image)
      # Forty steps of float32 on waves.
      np.testing.assert_allclose(state.z, expected[i], atol=2e-4)
    if norm == 'linf':  # in l2 it ends in gains that float32 does not see
      np.testing.assert_allclose(state.opt_state.step_size, eta, rtol=1e-6)
    halved += eta < 2 * EPS
  assert halved or num_steps < 10  # both ways of going on have been seen


@pytest.mark.parametrize('num_steps', [1, 2, 5, 20, 99, 100, 250, 1000])
def test_checkpoints_are_those_of_the_paper(num_steps):
  ours = checkpoints(num_steps)
  assert ours == sorted(set(literal_checkpoints(num_steps)))
  assert ours[0] == 0 and ours[-1] <= num_steps


def test_a_loss_that_never_improves_halves_the_step_at_each_checkpoint(key):
  flat = gradients.through(lambda x: jnp.zeros(3), identity(), losses.margin)
  attack = pgd(flat, apgd(0.2, 100), threats.linf(EPS))
  state, _ = begin(attack, key, X[0], 0)
  go = jax.jit(lambda i, state: step(attack, key, i, state, X[0], 0)[0])
  for i in range(1, 101):
    state = go(i, state)
  np.testing.assert_allclose(state.opt_state.step_size, 0.2 / 2**8)
  assert np.isfinite(state.z).all()


def test_it_goes_where_a_step_of_one_length_jumps_over(key):
  """The only point that is fooled lies within one step of any other."""
  target = X[0] + np.float32(0.37 * EPS)

  def near(z):
    return jnp.stack([jnp.abs(z - target).mean() - 1e-3, 0.0])

  through = gradients.through(near, identity(), losses.margin)
  left = {}
  for name, link in (('fixed', sign(EPS)), ('auto', apgd(2 * EPS, 60))):
    attack = pgd(through, link, threats.linf(EPS), 'clean')
    left[name] = run(attack, 60)(key, X[0], 0)[0].margin
  assert left['auto'] < 0 < left['fixed']


def test_it_is_the_last_link_of_any_chain(key):
  chain = optax.chain(optax.trace(0.5), apgd(2 * EPS, 10))
  outcome, info = run(pgd(oracle(), chain, threats.linf(EPS)), 10)(key, X[0], 0)
  assert outcome.margin < logits_fn(X[0])[0]
  assert info.distance.max() <= EPS + 1e-6


@pytest.mark.parametrize(
  'arguments, match',
  [
    ((0.2, 0), 'num_steps=0'),
    ((0.2, 2.5), 'num_steps=2.5'),
    ((51, 10), 'step_size=51 is larger than 2'),
    ((0.2, 10, 'l3'), "norm='l3'"),
  ],
)
def test_bad_input_is_one_sentence(arguments, match):
  with pytest.raises(ValueError, match=match):
    apgd(*arguments)

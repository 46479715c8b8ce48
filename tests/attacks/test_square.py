"""Random search by squares: its proposals, what it keeps, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import batch_attack, run
from rdefense.attacks.assembly import assemble
from rdefense.attacks.autoattack import square as recipes
from rdefense.attacks.base import begin, step
from rdefense.attacks.recipes import pgd_madry
from rdefense.attacks.square import _window, square
from rdefense.defenses import Defense, binning, identity

EPS, SHAPE = 0.1, (6, 5, 2)
RNG = np.random.default_rng(3)
W = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
X = RNG.uniform(0.3, 0.7, (9, *SHAPE)).astype(np.float32)
logits_fn = lambda x: (W * x[None]).sum((1, 2, 3))
LABELS = np.einsum('khwc,bhwc->bk', W, X).argmax(1)


@jax.jit
def sides(i):
  """Of squares in 100 x 100 pixels, 10,000 proposals in all."""
  inside = _window(jax.random.key(0), (100, 100), i, 10_000)
  return inside.any(1).sum(), inside.any(0).sum(), inside.sum()


@pytest.mark.parametrize(
  'i, share',
  # AutoAttack's p_selection for p_init = 0.8 and 10,000 queries.
  [
    (0, 0.8),
    (10, 0.8),
    (11, 0.4),
    (51, 0.2),
    (201, 0.1),
    (501, 0.05),
    (1001, 0.025),
    (2001, 0.0125),
    (4001, 0.00625),
    (6001, 0.003125),
    (8001, 0.0015625),
  ],
)
def test_squares_shrink_as_in_autoattack(i, share):
  side = round((share * 100 * 100) ** 0.5)
  assert tuple(map(int, sides(i))) == (side, side, side * side)


def test_squares_lie_anywhere_in_an_image_of_any_shape(key):
  keys = jax.random.split(key, 400)
  inside = jax.vmap(lambda k: _window(k, (6, 5), jnp.int32(900), 1000))(keys)
  assert (inside.sum((1, 2)) == 1).all()
  assert inside.any(0).all()


def attack(defense=None, num_steps=60):
  oracle = gradients.values(logits_fn, defense or identity(), losses.margin)
  return square(oracle, threats.linf(EPS), num_steps)


def test_proposals_are_corners_of_the_ball_and_the_best_is_kept(key):
  outcome, info = run(attack(), 60)(key, X[0], LABELS[0])
  np.testing.assert_allclose(np.abs(outcome.z - X[0]), EPS, rtol=1e-5)
  state, first = begin(attack(), key, X[0], LABELS[0])
  best = min(float(first.value), float(info.value.min()))
  assert (
    float(outcome.margin)
    == best
    < float(losses.margin(logits_fn(X[0]), LABELS[0]))
  )


def test_a_proposal_changes_one_square_of_what_is_kept(key):
  made = attack()
  state, _ = begin(made, key, X[0], LABELS[0])
  for i in range(1, 4):
    before = made.outcome(state, X[0]).z
    state, _, _ = step(made, key, i, state, X[0], LABELS[0])
    changed = np.asarray(state.z != before).any(-1)
    rows, columns = (
      np.flatnonzero(changed.any(1)),
      np.flatnonzero(changed.any(0)),
    )
    side = 5  # of 80% of 6 x 5 pixels; later ones halve
    assert changed.any() and np.ptp(rows) < side and np.ptp(columns) < side


def test_it_finds_the_corner_of_a_linear_classifier_of_two_classes(key):
  sign = jnp.asarray(np.sign(W[0, :3, :3, :1]))
  x = jnp.full((3, 3, 1), 0.5)
  two = lambda z: jnp.stack([(sign * z).sum(), 0.0])
  oracle = gradients.values(two, identity(), losses.margin)
  made = square(oracle, threats.linf(EPS), 300)
  outcome, _ = run(made, 300)(key, x, 0)
  np.testing.assert_allclose(outcome.z, x - EPS * sign, rtol=1e-6)


def test_it_breaks_what_masked_gradients_protect(key):
  steps = lambda x: jnp.floor(10 * logits_fn(x)) / 10  # no derivative
  batch = np.arange(9), X, LABELS, np.ones(9, bool)
  left = {}
  for recipe in (*pgd_madry(60, EPS), *recipes(60)):
    made = lambda _, r=recipe: assemble(r, steps, identity(), threats.linf(EPS))
    found = batch_attack(made)((), key, 60, *batch)
    left[recipe.name] = (found.margin >= 0).sum()
  assert left['square'] < left['pgd60'] == 9


def test_what_a_discretization_leaves_alone_is_not_evaluated_again(key):
  """One level: all images are the same one."""
  made = lambda _: attack(binning(2))
  batch = np.arange(9), np.full_like(X, 0.2), LABELS, np.ones(9, bool)
  found = batch_attack(made, loop='host')((), key, 20, *batch)
  assert (found.evaluations == 1).all()


def test_both_loops_submit_the_same(key):
  batch = np.arange(9), X, LABELS, np.ones(9, bool)
  made = lambda _: attack(binning(6), 12)
  host, scan = (
    batch_attack(made, loop=loop)((), key, 12, *batch)
    for loop in ('host', 'scan')
  )
  np.testing.assert_array_equal(host.z, scan.z)
  np.testing.assert_array_equal(host.evaluations, scan.evaluations)


def test_what_is_kept_is_compared_on_the_draws_of_the_proposal(key):
  """The noise moves one logit, by far more than any proposal does."""

  def shaken(key, x):
    return x + 8.0 * jax.random.bernoulli(key)

  def brightness(x):
    shape = (logits_fn(x - x.mean()) / 10)[0]
    return jnp.stack([x.mean() + shape, 0.0])

  submitted = []
  for defense, fresh in (
    (identity(), False),
    (Defense(shaken, shaken), True),
    (Defense(shaken, shaken), False),
  ):
    oracle = gradients.values(brightness, defense, losses.margin)
    made = square(oracle, threats.linf(EPS), 30, fresh=fresh)
    submitted.append(run(made, 30)(jax.random.clone(key), X[0], 0)[0].z)
  quiet, same_draws, lucky = submitted
  np.testing.assert_array_equal(same_draws, quiet)
  assert (lucky != quiet).any()


def test_squares_do_not_follow_the_noise_of_draws():
  """Draws have the keys that `averaged` folds their numbers into."""
  made = attack()
  state, _ = begin(made, jax.random.key(0), X[0], LABELS[0])
  same = 0
  for key in jax.random.split(jax.random.key(1), 20):
    moved, _ = made.move(key, state, X[0])
    changed = np.asarray(moved.z != state.z).any(-1)
    as_drawn = _window(jax.random.fold_in(key, 0), SHAPE[:2], state.step, 60)
    same += int((changed <= np.asarray(as_drawn)).all())
  assert same < 10

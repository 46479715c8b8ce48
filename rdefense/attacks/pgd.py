"""Projected gradient descent, and attacks that are one Optax chain of it.

Solves  min_z loss(z)  s.t.  z in threat  by  z <- project(z + tx(gradient)).

Whatever is only a direction is an Optax link; feasibility is `threat.project`
after the update, so that no `tx` can leave the ball. A new attack is one more
chain:

>>> import jax, jax.numpy as jnp
>>> from rdefense import gradients, losses, threats
>>> from rdefense.attacks.base import run
>>> from rdefense.defenses import binning
>>> logits_fn = lambda x: jnp.stack([x.mean(), 1 - x.mean()])
>>> oracle = gradients.through(logits_fn, binning(4), losses.margin)
>>> nesterov = optax.chain(  # a new attack, composed
...   optax.trace(0.9, nesterov=True),
...   optax.scale_by_sign(),
...   optax.scale_by_schedule(lambda i: -0.1 * 0.8**i),
... )
>>> attack = pgd(oracle, nesterov, threats.linf(0.3))
>>> x, y = jnp.full((2, 2, 1), 0.6), 0
>>> outcome, info = run(attack, num_steps=10)(jax.random.key(0), x, y)
>>> bool(outcome.margin < 0), round(float(abs(outcome.z - x).max()), 2) <= 0.3
(True, True)

References:
  Madry et al., Towards deep learning models resistant to adversarial attacks,
  2018, https://arxiv.org/abs/1706.06083.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from rdefense import checks
from rdefense.attacks.base import Attack, AttackInfo, Outcome, unevaluated
from rdefense.attacks.transforms import (
  scale_by_adam_epsilon_hat,
  scale_by_l1_norm,
  scale_by_l2_norm,
  scale_by_sparse_sign,
)
from rdefense.threats import LARGEST, Threat, start_at
from rdefense.types import Array, Evaluation, Int, Key, Oracle

__all__ = [
  'KEEP',
  'PGDState',
  'adam',
  'mi_fgsm',
  'pgd',
  'sign',
  'sign_adam',
  'steepest',
]

KEEP = ('best', 'last', 'next')


class PGDState(NamedTuple):
  """What the next step needs."""

  z: Array  # current iterate, [H, W, C]
  evaluation: Evaluation  # at `z`
  grad: Array  # of its value there, [H, W, C]
  opt_state: optax.OptState
  best_z: Array  # the iterate of smallest margin before `z`, [H, W, C]
  best_margin: Array  # shape=(), float32


def pgd(
  oracle: Oracle,
  tx: optax.GradientTransformation,
  threat: Threat,
  start: str = 'random',
  keep: str = 'best',
) -> Attack:
  """Projected descent on an attacker's loss with any Optax optimiser.

  Args:
    oracle: value and gradient, see `gradients.through`.
    tx: what turns gradients into updates, any Optax chain; gets `value`,
      `grad` and `project` (`z -> z'`, onto the threat) as extra arguments, but
      no `value_fn`, which line searches such as
      `optax.scale_by_backtracking_linesearch` need. A link with randomness of
      its own, such as `optax.add_noise`, draws the same for every example,
      restart and call, as it starts from the key it was made with.
    threat: the set to stay in.
    start: one of `threats.STARTS`, or its index (may be traced).
    keep: which point is submitted. `best`: the iterate of smallest deployed
      margin, the start included. `last`: the final one, as paper A does.
      `next`: the one after it, not evaluated, so that T + 1 steps cost T + 1
      gradients, for adversarial training; its margin is that of `last`.

  Returns:
    An `Attack` that is never `done`; see `wrappers.stop_when_fooled`.

  Raises:
    ValueError: on an unknown `start` or `keep`.
  """
  checks.check_choice('keep', keep, KEEP)
  first = start_at(threat, start)
  tx = optax.with_extra_args_support(tx)

  def init(key: Key, x: Array, y: Array) -> PGDState:
    z = first(key, x)
    nothing = unevaluated(oracle, key, z, y)
    return PGDState(
      z, nothing, jnp.zeros_like(z), tx.init(z), z, nothing.margin
    )

  def settle(state: PGDState) -> tuple[Array, Array]:
    margin = state.evaluation.margin
    better = margin < state.best_margin
    best_z = jnp.where(better, state.z, state.best_z)
    return best_z, jnp.minimum(margin, state.best_margin)

  def advance(state: PGDState, x: Array) -> tuple[Array, optax.OptState]:
    def project(z: Array) -> Array:
      return threat.project(z, x)

    updates, opt_state = tx.update(
      state.grad,
      state.opt_state,
      state.z,
      value=state.evaluation.value,
      grad=state.grad,
      project=project,
    )
    return project(optax.apply_updates(state.z, updates)), opt_state

  def move(key: Key, state: PGDState, x: Array) -> tuple[PGDState, Array]:
    z, opt_state = advance(state, x)
    last = state.evaluation
    moved = PGDState(z, last, state.grad, opt_state, *settle(state))
    return moved, oracle.stale(key, z, last)

  def evaluate(key: Key, state: PGDState, x: Array, y: Array, part: Int):
    new = oracle.evaluate(key, state.z, y, part)
    evaluation = oracle.combine(part, state.evaluation, new)
    info = AttackInfo(
      evaluation.value, evaluation.margin, threat.distance(state.z, x)
    )
    return state._replace(evaluation=evaluation), info

  def pull(key: Key, state: PGDState) -> PGDState:
    grad = oracle.gradient(key, state.z, state.evaluation)
    return state._replace(grad=grad)

  def outcome(state: PGDState, x: Array) -> Outcome:
    match keep:
      case 'best':
        z, margin = settle(state)
      case 'last':
        z, margin = state.z, state.evaluation.margin
      case 'next':
        z, margin = advance(state, x)[0], state.evaluation.margin
    return Outcome(z, margin, jnp.zeros_like(margin, bool))

  return Attack(init, move, evaluate, pull, outcome)


def steepest(norm: str, step_size) -> optax.GradientTransformation:
  """The steepest descent step of length `step_size` in a norm.

  With linf and step_size = eps, one step of it from a clean start is FGSM.

  Args:
    norm: `linf` (sign), `l2` (unit vector) or `l1` (a few largest entries).
    step_size: length in that norm, [0, 1] pixel units, or an Optax schedule
      of lengths. May be traced.

  Raises:
    ValueError: on an unknown norm, a length below 0, and in l_inf above 1.
  """
  return optax.chain(_direction(norm), _descend(step_size, LARGEST[norm]))


def _direction(norm: str) -> optax.GradientTransformation:
  links = {
    'linf': optax.scale_by_sign,
    'l2': scale_by_l2_norm,
    'l1': scale_by_sparse_sign,
  }
  checks.check_choice('norm', norm, links)
  return links[norm]()


def _descend(step_size, largest: float = 1.0) -> optax.GradientTransformation:
  """The last link of every chain here: a length, or a schedule of lengths."""
  if not callable(step_size):
    checks.check_length('step_size', step_size, largest)
  return optax.scale_by_learning_rate(step_size)


def sign(step_size) -> optax.GradientTransformation:
  """Sign steps; their length, here and below, is as in `steepest` with linf."""
  return steepest('linf', step_size)


def mi_fgsm(
  step_size, decay: float = 1.0, norm: str = 'linf'
) -> optax.GradientTransformation:
  """MI-FGSM: the sign of a momentum of l1-normalised gradients.

  In other norms the steepest direction of the momentum, as in `steepest`.

  References:
    Dong et al., 2018, https://arxiv.org/abs/1710.06081, algorithm 1.
  """
  return optax.chain(
    scale_by_l1_norm(),
    optax.trace(decay),
    _direction(norm),
    _descend(step_size, LARGEST[norm]),
  )


def adam(step_size, norm: str = 'linf') -> optax.GradientTransformation:
  """Adam on l1-normalised gradients: invariant to the scale of the loss.

  Without the normalisation Adam's `eps` freezes pixels whose gradients are
  small, as behind a steep surrogate they are. In norms other than linf, where
  Adam's steps are as long as signs, they are the steepest of their direction.
  """
  within = optax.identity() if norm == 'linf' else _direction(norm)
  return optax.chain(
    scale_by_l1_norm(),
    optax.scale_by_adam(eps=1e-12),
    within,
    _descend(step_size, LARGEST[norm]),
  )


def sign_adam(step_size) -> optax.GradientTransformation:
  """Paper A's update: TensorFlow's Adam fed with signs (PROTOCOL A2)."""
  return optax.chain(
    optax.scale_by_sign(),
    scale_by_adam_epsilon_hat(),
    _descend(step_size),
  )

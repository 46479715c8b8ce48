"""Random search by squares: an attack that asks for values and no gradient.

Each step moves the channels of one square of pixels to ends of the ball, and is
taken where the loss falls. What it finds and descent does not is what gradients
hide: to Athalye et al. an attack without gradients that beats one with them is
a sign of masking.

>>> import jax, jax.numpy as jnp
>>> from rdefense import gradients, losses, threats
>>> from rdefense.attacks.base import run
>>> from rdefense.defenses import binning
>>> logits_fn = lambda x: jnp.stack([x.mean(), 1 - x.mean()])
>>> oracle = gradients.values(logits_fn, binning(2), losses.margin)
>>> attack = square(oracle, threats.linf(0.2), num_steps=50)
>>> x, y = jnp.full((4, 4, 1), 0.6), 0
>>> outcome, info = run(attack, num_steps=50)(jax.random.key(0), x, y)
>>> bool(outcome.margin < 0), bool((info.distance <= 0.2001).all())
(True, True)

References:
  Andriushchenko, Croce, Flammarion, Hein, Square attack, 2020,
  https://arxiv.org/abs/1912.00049, algorithms 1 and 2; the share of pixels and
  its schedule as in AutoAttack, https://arxiv.org/abs/2003.01690.
  Athalye, Carlini, Wagner, Obfuscated gradients give a false sense of security,
  2018, https://arxiv.org/abs/1802.00420, section 3.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense.attacks.base import (
  Attack,
  AttackInfo,
  Outcome,
  select,
  unevaluated,
)
from rdefense.threats import Threat
from rdefense.types import Array, Evaluation, Int, Key, Oracle

__all__ = ['SquareState', 'square']

_SHARE = 0.8  # of all pixels, in the first squares
# It halves at these parts of all steps.
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_OUTSIDE = 2.0  # further than any ball within [0, 1] reaches
_MOVE = 2**32 - 1  # role folded into an iterate's key, beside numbers of draws


class SquareState(NamedTuple):
  """What the next step needs."""

  z: Array  # what is proposed, [H, W, C]
  evaluation: Evaluation  # at `z`
  kept_z: Array  # what has been taken so far, [H, W, C]
  kept: Evaluation  # at `kept_z`
  step: Array  # proposals so far, the start left out, shape=(), int32


def square(
  oracle: Oracle,
  threat: Threat,
  num_steps: Int,
  fresh: bool = False,
) -> Attack:
  """Random search for the point of smallest loss.

  It starts at vertical stripes. Made for l_inf, where each proposal lies at
  corners of the ball; elsewhere what leaves the ball is projected.

  Args:
    oracle: of values, see `gradients.values`; no gradient is asked for.
    threat: the set to stay in.
    num_steps: of all, at least 1, over which squares shrink; may be traced.
    fresh: whether the oracle draws anew at each step, as
      `gradients.averaged` does; then a proposal is compared with what is kept
      on the same draws, at twice the evaluations.

  Returns:
    An `Attack` that submits what it keeps, and is never `done`.
  """

  def corner(signs: Array, x: Array) -> Array:
    far = x + _OUTSIDE * jnp.broadcast_to(signs, x.shape)
    return threat.project(far, x)

  def init(key: Key, x: Array, y: Array) -> SquareState:
    signs = jax.random.rademacher(key, x.shape[1:], x.dtype)
    z = corner(signs, x)
    nothing = unevaluated(oracle, key, z, y)
    nothing = nothing._replace(value=jnp.full_like(nothing.value, jnp.inf))
    return SquareState(z, nothing, z, nothing, jnp.int32(0))

  def settle(state: SquareState) -> tuple[Array, Evaluation]:
    better = state.evaluation.value < state.kept.value
    return select(
      better, (state.z, state.evaluation), (state.kept_z, state.kept)
    )

  def move(key: Key, state: SquareState, x: Array):
    key_window, key_signs = jax.random.split(jax.random.fold_in(key, _MOVE))
    kept_z, kept = settle(state)
    inside = _window(key_window, x.shape[:2], state.step, num_steps)
    signs = jax.random.rademacher(key_signs, x.shape[2:], x.dtype)
    z = jnp.where(inside[..., None], corner(signs, x), kept_z)
    z = threat.project(z, x)
    stale = oracle.stale(jax.random.clone(key), z, kept)
    return SquareState(z, kept, kept_z, kept, state.step + 1), stale

  def evaluate(key: Key, state: SquareState, x: Array, y: Array, part: Int):
    new = oracle.evaluate(key, state.z, y, part)
    evaluation = oracle.combine(part, state.evaluation, new)
    kept = state.kept
    if fresh:
      same_key = jax.random.clone(key)  # the same draws for both, on purpose
      old = oracle.evaluate(same_key, state.kept_z, y, part)
      kept = oracle.combine(part, kept, old)
    info = AttackInfo(
      evaluation.value, evaluation.margin, threat.distance(state.z, x)
    )
    return state._replace(evaluation=evaluation, kept=kept), info

  def pull(key: Key, state: SquareState) -> SquareState:
    del key
    return state

  def outcome(state: SquareState, x: Array) -> Outcome:
    del x
    z, at = settle(state)
    return Outcome(z, at.margin, jnp.zeros_like(at.margin, bool))

  return Attack(init, move, evaluate, pull, outcome)


def _window(key: Key, shape, step: Array, num_steps: Int) -> Array:
  """`[H, W]` bool, the pixels of a square at a random place in the image."""
  height, width = shape
  done = step / jnp.maximum(num_steps, 1)
  share = _SHARE * 0.5 ** (done > jnp.array(_HALVINGS)).sum()
  side = jnp.round(jnp.sqrt(share * height * width))
  side = jnp.clip(side, 1, min(shape)).astype(jnp.int32)
  key_row, key_column = jax.random.split(key)
  row = jax.random.randint(key_row, (), 0, height - side + 1)
  column = jax.random.randint(key_column, (), 0, width - side + 1)
  rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]
  down, right = rows - row, columns - column
  return (down >= 0) & (down < side) & (right >= 0) & (right < side)

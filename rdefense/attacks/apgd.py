"""Auto-PGD: an Optax link that chooses its own step size.

Steps of momentum start at `step_size`, and halve at checkpoints where the loss
has gained too little; then they go on from the best point so far. The link
needs to know the set it moves in, which `pgd` passes on as `project`:

>>> import jax, jax.numpy as jnp
>>> from rdefense import gradients, losses, threats
>>> from rdefense.attacks.base import run
>>> from rdefense.attacks.pgd import pgd
>>> from rdefense.defenses import identity
>>> logits_fn = lambda x: jnp.stack([x.mean(), 0.5])
>>> oracle = gradients.through(logits_fn, identity(), losses.margin)
>>> attack = pgd(oracle, apgd(0.4, num_steps=10), threats.linf(0.2))
>>> x, y = jnp.full((2, 2, 1), 0.6), 0
>>> outcome, _ = run(attack, num_steps=10)(jax.random.key(0), x, y)
>>> round(float(outcome.z.max()), 3), bool(outcome.margin < 0)
(0.4, True)

References:
  Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble of
  diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690,
  section 3, algorithm 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from rdefense import checks
from rdefense.attacks.base import select
from rdefense.attacks.pgd import steepest
from rdefense.threats import LARGEST
from rdefense.types import Array

__all__ = ['APGDState', 'apgd', 'checkpoints']

_MOMENTUM = 0.75  # alpha of the paper: share of the new direction
_ENOUGH = 0.75  # rho of the paper: share of steps that must improve


class _Point(NamedTuple):
  """An iterate and what is known of it."""

  z: Array  # [H, W, C]
  value: Array  # of the loss, shape=(), float32
  grad: Array  # [H, W, C]


class APGDState(NamedTuple):
  """What the next step needs."""

  iterate: Array  # number of the one a step is taken from, shape=(), int32
  step_size: Array  # shape=(), float32
  last_z: Array  # the iterate before, [H, W, C]
  last_value: Array  # shape=(), float32
  best: _Point
  gains: Array  # improvements since the last checkpoint, shape=(), int32
  halved: Array  # whether it halved the step there, shape=(), bool
  best_then: Array  # the best value there, shape=(), float32


def checkpoints(num_steps: int) -> list[int]:
  """Iterates at which the step size may halve: ever closer, 0 first.

    w_j = ceil(p_j num_steps),   p_0 = 0,   p_1 = 0.22,
    p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)

  >>> checkpoints(100)
  [0, 22, 41, 57, 70, 80, 87, 93, 99]
  """
  percents, gap = [0, 22], 22
  while percents[-1] < 100:
    gap = max(gap - 3, 6)
    percents.append(percents[-1] + gap)
  ends = (-(-p * num_steps // 100) for p in percents if p <= 100)
  return sorted(set(ends))


def apgd(
  step_size, num_steps: int, norm: str = 'linf'
) -> optax.GradientTransformationExtraArgs:
  """Steps that halve where a window of them has brought too little.

  At iterate k, with s the steepest direction and P the projection,

    aim  = P(z_k + step_size s),
    next = P(z_k + a (aim - z_k) + (1 - a) (z_k - z_{k-1})),

  a = 0.75, and 1 for the first. At a checkpoint the step size halves and z_k is
  put back to the best iterate if less than 75% of the steps since the last one
  have improved the loss, or if the last one halved nothing and the best value
  is still the same. (The authors' code halves at exactly 75%, too.) Against a
  randomised defense values are compared across draws: it takes many.

  Args:
    step_size: of the first steps, [0, 1] pixel units: twice the radius in the
      paper. May be traced.
    num_steps: of the whole attack, which places the checkpoints.
    norm: of the threat, as for `steepest`. In l1 the directions are sparse, but
      this is not the authors' attack for l1, whose sparsity adapts.

  Returns:
    An Optax link for one image, last in its chain: its update is the move
    itself. Needs the extra arguments `value` and `project`, which `pgd` gives.

  Raises:
    ValueError: unless `num_steps` is a whole number of at least 1, on an
      unknown norm, and on a step below 0 or, in l_inf, above 2.
  """
  num_steps = checks.check_whole('num_steps', num_steps, 1)
  direction = steepest(norm, 1.0)
  checks.check_length('step_size', step_size, 2 * LARGEST[norm])
  ends = checkpoints(num_steps)
  windows = np.zeros(num_steps + 1, np.int32)  # steps since the last, or 0
  windows[ends[1:]] = np.diff(ends)

  def init(z: Array) -> APGDState:
    worst = jnp.float32(jnp.inf)
    return APGDState(
      iterate=jnp.int32(0),
      step_size=jnp.asarray(step_size, jnp.float32),
      last_z=z,
      last_value=-worst,  # the start improves on nothing
      best=_Point(z, worst, jnp.zeros_like(z)),
      gains=jnp.int32(0),
      halved=jnp.bool_(False),
      best_then=worst,
    )

  def update(
    updates: Array,
    state: APGDState,
    z: Array,
    *,
    value: Array,
    project: Callable[[Array], Array],
    **extra_args,
  ) -> tuple[Array, APGDState]:
    del extra_args
    here = _Point(z, value.astype(jnp.float32), updates)
    best = select(here.value < state.best.value, here, state.best)
    gains = state.gains + (here.value < state.last_value)

    window = jnp.take(windows, state.iterate, mode='fill', fill_value=0)
    check = window > 0
    stuck = ~state.halved & (best.value >= state.best_then)
    halve = check & ((gains < _ENOUGH * window) | stuck)
    length = jnp.where(halve, state.step_size / 2, state.step_size)
    here = select(halve, best, here)

    steep, _ = direction.update(here.grad, direction.init(here.z))
    aim = project(here.z + length * steep)
    share = jnp.where(state.iterate == 0, 1.0, _MOMENTUM)
    ahead = share * (aim - here.z) + (1 - share) * (here.z - state.last_z)
    moved = project(here.z + ahead)
    return moved - z, APGDState(
      state.iterate + 1,
      length,
      here.z,
      here.value,
      best,
      jnp.where(check, 0, gains),
      jnp.where(check, halve, state.halved),
      jnp.where(check, best.value, state.best_then),
    )

  return optax.GradientTransformationExtraArgs(init, update)

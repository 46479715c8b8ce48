"""Training: natural, adversarial, certified, and on discretized images.

One step of every method is: make the images (attack them, or not), put the
defense in front (or not), take one Optax step on the cross-entropy; certified
training adds that of the worst logits of all reachable discretizations. The
adversarial images come from the very `attacks.driver` that evaluates, run
before the loss is differentiated. All randomness is a function of
(key, step, example), so a resumed run repeats the same steps exactly.

References:
  Madry et al., 2018, https://arxiv.org/abs/1706.06083; paper A's settings in
  PROTOCOL A7; fast adversarial training with few large steps: Wong, Rice,
  Kolter, 2020, https://arxiv.org/abs/2001.03994; interval bounds: Gowal et
  al., 2018, https://arxiv.org/abs/1810.12715.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdefense import checks
from rdefense.attacks.assembly import Recipe, assemble
from rdefense.attacks.driver import batch_attack
from rdefense.certify.interval import interval
from rdefense.certify.reachable import box, reachable
from rdefense.data.batches import Batch
from rdefense.defenses.base import Defense
from rdefense.defenses.discretize import nearest_code
from rdefense.losses import cross_entropy, margins
from rdefense.models.base import Classifier, train_batch
from rdefense.parallel import Layout, everywhere
from rdefense.threats import ball
from rdefense.types import Array, Key, PyTree

__all__ = ['TrainState', 'attacker', 'certified_updater', 'initial', 'updater']


class TrainState(NamedTuple):
  """Everything a checkpoint holds."""

  step: Array  # shape=(), int32: steps taken
  params: PyTree
  opt_state: optax.OptState


def initial(
  classifier: Classifier,
  tx: optax.GradientTransformation,
  key: Key,
  x: Array,
) -> TrainState:
  """A fresh state.

  Args:
    classifier: the network.
    tx: its optimiser.
    key: consumed by the initialisation.
    x: one image `[H, W, C]` as the network sees it, after the defense.
  """
  params = classifier.init(key, x)
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params))


def updater(
  classifier: Classifier,
  tx: optax.GradientTransformation,
  defense: Defense,
  reduction: str = 'mean',
  where: Layout | None = None,
) -> Callable:
  """Compiles one optimiser step on the defended classifier.

  Args:
    classifier: the network.
    tx: its optimiser.
    defense: in front of it; only `apply` is used.
    reduction: `mean` or `sum` of the cross-entropy over the batch (paper A's
      MNIST network: sum).
    where: devices to use; None means those of all processes.

  Returns:
    `(state, key, index, x, y) -> (state, metrics)`, with `metrics` the mean
    `loss` and `accuracy`; `state` is donated. The key is the same at every
    step: the step is folded into it.

  Raises:
    ValueError: on an unknown reduction.
  """
  if reduction not in ('mean', 'sum'):
    raise ValueError(f"reduction={reduction!r} is neither 'mean' nor 'sum'.")
  where = everywhere() if where is None else where

  def objective(params, keys, x, y):
    z = jax.vmap(defense.apply)(keys, x)
    logits, params = train_batch(classifier, params, z)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    value = losses.sum() if reduction == 'sum' else losses.mean()
    accuracy = (logits.argmax(-1) == y).mean()
    return value, (params, {'loss': losses.mean(), 'accuracy': accuracy})

  def update(state: TrainState, key: Key, index, x, y):
    key = jax.random.fold_in(key, state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return _step(tx, objective, state, keys, x, y)

  copied, split = where.copied, where.split
  return _compile(update, copied, copied, split, split, split)


def _compile(update, copied, *rest) -> Callable:
  """Jits an update, its state donated; the shardings of its arguments."""
  return jax.jit(
    update,
    in_shardings=(copied, *rest),
    out_shardings=copied,
    donate_argnums=0,
  )


def _step(tx, objective, state: TrainState, *batch):
  grads, (params, metrics) = jax.grad(objective, has_aux=True)(
    state.params, *batch
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(params, updates)
  return TrainState(state.step + 1, params, opt_state), metrics


def certified_updater(
  classifier: Classifier,
  tx: optax.GradientTransformation,
  codes,
  norm: str = 'linf',
  attacked: bool = False,
  where: Layout | None = None,
) -> Callable:
  """Compiles one optimiser step on interval bounds behind `nearest_code`.

  The bounds are over the smallest box of the codes that each pixel can reach,
  so between the codes they have nothing to pay for; the loss is

    w CE(f(z), y) + (1 - w) CE(worst logits of the box, y)

  of z = T(x), or of an attack's z in the box. Bounds as loose as these cost
  accuracy: with an attacked z and a w near 1 they leave more of it, to a
  network that branch and bound (`certify.decide`) can still decide.

  Args:
    classifier: the network, of layers that `certify.interval` knows.
    tx: its optimiser.
    codes: `[k, C]`.
    norm: of T's distances over channels.
    attacked: is z attacked? One step from the middle of the box, to the code
      of each pixel that the gradient there likes best.
    where: devices to use; None means those of all processes.

  Returns:
    `(state, x, y, eps, natural_weight) -> (state, metrics)`, with `metrics`
    the mean `loss` and `accuracy` at z, and the share `certified` by bounds;
    `state` is donated; eps and the weight w may change without recompilation.

  Raises:
    ValueError: where it is traced, by name on a layer without bounds.

  References:
    De Palma et al., Expressive losses for verified robustness via convex
    combinations, 2024, https://arxiv.org/abs/2305.13991, MTL-IBP.
  """
  where = everywhere() if where is None else where
  codes = jnp.asarray(codes, jnp.float32)
  discretize = nearest_code(codes, norm=norm).apply

  def worst_codes(params, y, allowed, inside):
    fixed = jax.lax.stop_gradient(params)

    def loss(z):
      return cross_entropy(classifier.apply(fixed, z), y)

    slope = jax.grad(loss)((inside.low + inside.high) / 2)
    liked = jnp.where(allowed, jnp.matmul(slope, codes.T), jnp.inf)
    return codes[liked.argmin(-1)]

  def one(params, x, y, eps):
    allowed = reachable(x, codes, eps, norm)
    inside = box(allowed, codes)
    if attacked:
      z = worst_codes(params, y, allowed, inside)
    else:
      z = discretize(jax.random.key(0), x)
    logits = classifier.apply(params, z)
    lower = interval(
      lambda z: margins(classifier.apply(params, z), y), *inside, outward=False
    ).low
    worst = jnp.where(jnp.arange(len(logits)) == y, 0.0, -lower)
    return logits, worst

  def objective(params, x, y, eps, weight):
    logits, worst = jax.vmap(one, (None, 0, 0, None))(params, x, y, eps)
    loss = optax.softmax_cross_entropy_with_integer_labels
    natural, certified = loss(logits, y).mean(), loss(worst, y).mean()
    return weight * natural + (1 - weight) * certified, (
      params,
      {
        'loss': natural,
        'accuracy': (logits.argmax(-1) == y).mean(),
        'certified': (worst <= 0).all(-1).mean(),
      },
    )

  def update(state: TrainState, x, y, eps, natural_weight):
    return _step(tx, objective, state, x, y, eps, natural_weight)

  copied, split = where.copied, where.split
  return _compile(update, copied, split, split, copied, copied)


def attacker(
  classifier: Classifier,
  defense: Defense,
  recipe: Recipe,
  norm: str = 'linf',
  where: Layout | None = None,
) -> Callable[..., np.ndarray]:
  """Compiles the attack of adversarial training.

  It sees the network as it is deployed, with running statistics, and updates
  none. Paper A's code attacks with those of the batch, and every step of an
  attack goes into the running ones.

  Args:
    classifier: the network under training.
    defense: in front of it, attacked as the recipe says.
    recipe: which attack; its step size is a multiple of the radius, and what
      it keeps is the point after `num_steps` steps, not evaluated.
    norm: of the ball.
    where: devices to use; None means all of this process.

  Returns:
    `(params, key, batch, eps) -> images` `[B, H, W, C]`; eps and params may
    change without recompilation; the key is consumed: fold the step into it,
    as every epoch attacks an image from the same start otherwise.

  Raises:
    ValueError: if the recipe takes no step.
  """
  checks.check_at_least('num_steps', recipe.num_steps, 1, ' to attack')

  def make_attack(operands):
    params, eps = operands
    return assemble(
      recipe,
      lambda x: classifier.apply(params, x),
      defense,
      ball(norm, eps),
      step_size=recipe.step_size * eps,
    )

  recipe = recipe._replace(keep='next')
  attack = batch_attack(make_attack, where, compact=False)

  def adversarial(params, key: Key, batch: Batch, eps: float) -> np.ndarray:
    return attack(
      (params, np.float32(eps)),
      key,
      recipe.num_steps - 1,
      batch.index,
      batch.image,
      batch.label,
      batch.mask,
    ).z

  return adversarial

"""Steps on the worst logits of all reachable discretizations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from rdefense.certify.interval import interval
from rdefense.certify.reachable import box, reachable
from rdefense.defenses.discretize import nearest_code
from rdefense.losses import cross_entropy, margins
from rdefense.models.base import Classifier
from rdefense.parallel import Layout, everywhere
from rdefense.training.state import TrainState, compiled, descend

__all__ = ['certified_updater']


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
    return descend(tx, objective, state, x, y, eps, natural_weight)

  copied, split = where.copied, where.split
  return compiled(update, copied, split, split, copied, copied)

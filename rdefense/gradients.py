"""Value and gradient of an attacker's loss through a defended classifier."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.defenses.base import Defense, differentiable
from rdefense.losses import margin
from rdefense.types import (
  Array,
  Evaluation,
  Int,
  Key,
  LogitsFn,
  Loss,
  Oracle,
)

__all__ = ['AVERAGES', 'averaged', 'defended', 'through', 'values']

AVERAGES = ('loss', 'probability', 'log_probability')


def defended(logits_fn: LogitsFn, defense: Defense) -> Callable:
  """The deployed pipeline: `(key, x) -> logits`; the key is consumed."""
  return lambda key, x: logits_fn(defense.apply(key, x))


def through(
  logits_fn: LogitsFn,
  defense: Defense,
  loss: Loss,
  backward: str = 'bpda',
  deployed_margin: bool = True,
) -> Oracle:
  """Evaluates and differentiates `loss` through `defense` and classifier.

  Whatever is differentiated, the margin that decides which iterate is kept
  and when an attack has won is that of the deployed `apply`: `surrogate` costs
  one forward pass more for it.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: what stands in front of it.
    loss: `(logits, label) -> []`, minimised.
    backward: how to differentiate, one of `rdefense.defenses.BACKWARD`.
    deployed_margin: whether the margin must be that of `apply`; without it
      `surrogate` saves that pass, for attacks that do not look at the margin.

  Returns:
    An `Oracle` of one part; its functions consume the key, and see the same
    noise when given the same one.

  Raises:
    ValueError: on an unknown `backward`.

  >>> from rdefense.defenses import binning
  >>> logits_fn = lambda x: jnp.stack([x.sum(), 1.0])
  >>> oracle = through(logits_fn, binning(2), margin)
  >>> key, z = jax.random.key(0), jnp.full((1, 1, 1), 0.6)
  >>> out = oracle.evaluate(key, z, 0, 0)
  >>> grad = oracle.gradient(key, z, out)
  >>> float(out.margin), round(float(grad[0, 0, 0]), 3)
  (0.0, 2.1)
  >>> bool(oracle.stale(key, z + 0.1, out))  # still rounds to 1
  False
  """
  fn = differentiable(defense, backward)
  value_of = defense.surrogate if backward == 'surrogate' else defense.apply

  def float32(image: Array) -> Array:
    """Logits as attacks compare them, whatever the network computes in."""
    return logits_fn(image).astype(jnp.float32)

  def evaluate(key: Key, z: Array, y: Array, part: Int) -> Evaluation:
    del part

    def objective(image):
      logits = float32(image)
      return loss(logits, y), logits

    output = value_of(key, z)
    (value, logits), slope = jax.value_and_grad(objective, has_aux=True)(output)
    if backward == 'surrogate' and deployed_margin:
      same_key = jax.random.clone(key)  # the same noise twice, on purpose
      logits = float32(defense.apply(same_key, z))
    return Evaluation(value, margin(logits, y), output, slope)

  def gradient(key: Key, z: Array, last: Evaluation) -> Array:
    _, vjp = jax.vjp(lambda z: fn(key, z), z)
    return vjp(last.slope)[0]

  def stale(key: Key, z: Array, last: Evaluation) -> Array:
    # The deployed margin may change where the surrogate's output does not.
    if backward == 'surrogate':
      return jnp.bool_(True)
    return (value_of(key, z) != last.output).any()

  return Oracle(evaluate, _newest, gradient, stale)


def values(logits_fn: LogitsFn, defense: Defense, loss: Loss) -> Oracle:
  """Evaluates `loss` on the deployed pipeline, for attacks without gradients.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: what stands in front of it; only `apply` is used.
    loss: `(logits, label) -> []`, minimised.

  Returns:
    An `Oracle` of one part, whose slopes and gradients are empty; its functions
    consume the key.

  >>> from rdefense.defenses import binning
  >>> oracle = values(lambda x: jnp.stack([x.sum(), 1.0]), binning(2), margin)
  >>> key, z = jax.random.key(0), jnp.full((1, 1, 1), 0.6)
  >>> out = oracle.evaluate(key, z, 1, 0)
  >>> float(out.value), bool(oracle.stale(key, z - 0.2, out))
  (0.0, True)
  """

  def evaluate(key: Key, z: Array, y: Array, part: Int) -> Evaluation:
    del part
    output = defense.apply(key, z)
    logits = logits_fn(output).astype(jnp.float32)
    return Evaluation(loss(logits, y), margin(logits, y), output, jnp.zeros(0))

  def gradient(key: Key, z: Array, last: Evaluation) -> Array:
    del key, z
    return last.slope

  def stale(key: Key, z: Array, last: Evaluation) -> Array:
    return (defense.apply(key, z) != last.output).any()

  return Oracle(evaluate, _newest, gradient, stale)


def _newest(part: Int, so_far: Evaluation, new: Evaluation) -> Evaluation:
  """`Oracle.combine` where an evaluation has one part."""
  del part, so_far
  return new


def averaged(oracle: Oracle, average: str = 'loss', chunk: int = 1) -> Oracle:
  """Averages an oracle over draws of a randomised defense, part by part.

  With L_d the loss of draw d and n draws so far, the attacker descends on

    loss             mean_d L_d
    probability      mean_d exp(L_d)
    log_probability  log mean_d exp(L_d)

  which for `losses.cross_entropy`, L = log p_y, are the mean log-probability
  of the label (paper B as printed), its mean probability, and the logarithm
  of that: the cross-entropy of the averaged prediction. The last two point
  the same way, and weigh draws by how right they still are.

  Each draw's gradient is taken inside its part and only the average is kept,
  so memory does not grow with the number of draws.

  Args:
    oracle: of one draw.
    average: what is averaged, one of `AVERAGES`.
    chunk: draws a part, side by side: memory against dispatch.

  Returns:
    An `Oracle`. Its margin is the mean over draws of tanh(margin / 2), which
    between two classes is the difference of their mean probabilities; every
    move makes it stale, because noise is fresh at each evaluation.

  Raises:
    ValueError: on an unknown average or chunk < 1.

  References:
    Athalye, Engstrom, Ilyas, Kwok, Synthesizing robust adversarial examples,
    2018, https://arxiv.org/abs/1707.07397; paper B, PROTOCOL B2.
  """
  checks.check_choice('average', average, AVERAGES)
  checks.check_whole('chunk', chunk, 1, ': draws of one part')

  def weighed(values: Array, grads: Array) -> tuple[Array, Array]:
    """Value and gradient of one part from those of its draws."""
    if average == 'loss':
      weights, value = jnp.full(chunk, 1 / chunk), values.mean()
    else:
      mean = jax.nn.logsumexp(values) - jnp.log(chunk)
      weights = jax.nn.softmax(values)
      if average == 'probability':
        weights, value = weights * jnp.exp(mean), jnp.exp(mean)
      else:
        value = mean
    return value, jnp.tensordot(weights, grads, 1, precision='highest')

  def evaluate(key: Key, z: Array, y: Array, part: Int) -> Evaluation:
    draws = part * chunk + jnp.arange(chunk)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, draws)

    def one(key: Key) -> tuple[Evaluation, Array]:
      draw = oracle.evaluate(key, z, y, 0)
      same_key = jax.random.clone(key)  # the same noise twice, on purpose
      return draw, oracle.gradient(same_key, z, draw)

    each, grads = jax.vmap(one)(keys)
    value, grad = weighed(each.value, grads)
    mean = jnp.tanh(each.margin / 2).mean()
    return Evaluation(value, mean, jnp.zeros(0), grad)

  def combine(part: Int, so_far: Evaluation, new: Evaluation) -> Evaluation:
    share = 1 / (part + 1)
    margin = so_far.margin + share * (new.margin - so_far.margin)
    if average == 'log_probability':
      both = jnp.stack([so_far.value, new.value])
      shares = jnp.stack([1 - share, share])
      value = jax.nn.logsumexp(both, b=shares)
      share = share * jnp.exp(new.value - value)
    else:
      value = so_far.value + share * (new.value - so_far.value)
    slope = so_far.slope + share * (new.slope - so_far.slope)
    mixed = new._replace(value=value, margin=margin, slope=slope)
    return jax.tree.map(lambda a, b: jnp.where(part == 0, a, b), new, mixed)

  def gradient(key: Key, z: Array, last: Evaluation) -> Array:
    del key, z
    return last.slope

  def stale(key: Key, z: Array, last: Evaluation) -> Array:
    del key, z, last
    return jnp.bool_(True)

  return Oracle(evaluate, combine, gradient, stale)

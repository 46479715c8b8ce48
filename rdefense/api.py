"""The batched, jitted face of the library, for notebooks.

  images, labels   numpy or JAX arrays `[B, H, W, C]` in [0, 1] and `[B]`
  key              one root key; example i uses fold_in(key, i)

>>> import jax, jax.numpy as jnp, optax
>>> from rdefense import api, attacks, defenses, losses, threats
>>> images, labels = jnp.full((4, 2, 2, 1), 0.6), jnp.zeros(4, int)
>>> api.transform(defenses.binning(2))(jax.random.key(0), images).max().item()
1.0
>>> logits_fn = lambda x: jnp.stack([x.mean(), 1 - x.mean()])
>>> run = api.attack(
...   logits_fn,
...   defenses.binning(4),
...   threats.linf(0.3),
...   losses.margin,
...   optax.chain(optax.scale_by_sign(), optax.scale(-0.05)),
...   num_steps=10,
... )
>>> api.accuracy(logits_fn, defenses.binning(4))(
...   jax.random.key(1), run(jax.random.key(0), images, labels), labels
... )
0.0
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rdefense import checks
from rdefense.attacks.checks import check_draws, check_parts, whole
from rdefense.attacks.driver import batch_attack
from rdefense.attacks.pgd import pgd
from rdefense.attacks.wrappers import (
  over_examples,
  restarts,
  stop_when_fooled,
)
from rdefense.certify import votes
from rdefense.certify.decide import Decisions, decide
from rdefense.certify.randomized import Certified, Certifier
from rdefense.defenses.base import Defense
from rdefense.gradients import AVERAGES, averaged, defended, through
from rdefense.parallel import layout
from rdefense.precision import HIGHEST, at
from rdefense.threats import Threat
from rdefense.types import LogitsFn, Loss

__all__ = [
  'accuracy',
  'attack',
  'certify',
  'certify_randomized',
  'predict',
  'transform',
]


def transform(defense: Defense, surrogate: bool = False) -> Callable:
  """Applies a defense to a batch.

  Args:
    defense: what to apply.
    surrogate: apply its differentiable stand-in instead.

  Returns:
    `(key, images) -> images`, jitted; the key is consumed. Raises `ValueError`
    on images that are not a non-empty batch in [0, 1].
  """
  checks.check_defense(defense)
  return _on_images(
    jax.jit(over_examples(defense.surrogate if surrogate else defense.apply))
  )


def predict(logits_fn: LogitsFn, defense: Defense) -> Callable:
  """Classes given by the defended classifier, at highest matmul precision.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it.

  Returns:
    `(key, images) -> classes` `[B]` int32; the key is consumed. Raises
    `ValueError` on logits that are NaN.
  """
  checks.check_defense(defense)
  pipeline = defended(logits_fn, defense)

  @jax.jit
  def fn(key, index, images):
    logits = at(HIGHEST, over_examples(pipeline))(key, index, images)
    return logits.argmax(-1), jnp.isnan(logits).any(-1)

  def classes(key, index, images):
    found, lost = fn(key, index, images)
    checks.check_classified(lost, index)
    return found

  return _on_images(classes)


def accuracy(logits_fn: LogitsFn, defense: Defense) -> Callable:
  """Share of right answers of the defended classifier.

  Returns:
    `(key, images, labels) -> float` in [0, 1]; the key is consumed and should
    not be the one an attack has seen. Raises `ValueError` on labels that do
    not match.
  """
  classes = predict(logits_fn, defense)

  def fraction(key, images, labels) -> float:
    _check(logits_fn, defense, key, images, labels)
    right = np.asarray(classes(key, images)) == np.asarray(labels)
    return float(right.mean())

  return fraction


def attack(
  logits_fn: LogitsFn,
  defense: Defense,
  threat: Threat,
  loss: Loss,
  tx: optax.GradientTransformation,
  num_steps: int,
  backward: str = 'bpda',
  start: str = 'random',
  num_restarts: int = 1,
  num_draws: int = 0,
  average: str = 'loss',
  precision: str = HIGHEST,
) -> Callable:
  """A whole attack on a defended classifier, batched and compiled.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it.
    threat: what the attacker may do.
    loss: minimised, see `rdefense.losses`.
    tx: any Optax chain; see `rdefense.attacks` for ready ones.
    num_steps: gradient steps.
    backward: how to differentiate the defense, one of `defenses.BACKWARD`.
    start: one of `threats.STARTS`.
    num_restarts: copies side by side.
    num_draws: of a randomised defense, averaged in each gradient; 0 says that
      the defense is deterministic, and an example is done once it is fooled.
    average: over draws, one of `gradients.AVERAGES`.
    precision: of the classifier's products, one of `precision.PRECISIONS`;
      `accuracy` judges at `highest` whatever the attack has seen.

  Returns:
    `(key, images, labels) -> images`, for each example the iterate of smallest
    margin, inside the threat; the key is consumed. Raises `ValueError` on
    images outside [0, 1], labels that do not match, NaN on the way, and on a
    randomised defense without draws.

  Raises:
    ValueError: on parts and options that are none.
  """
  checks.check_defense(defense)
  check_parts(threat, loss, tx)
  checks.check_choice('average', average, AVERAGES)
  num_steps = whole('num_steps', num_steps)
  num_draws = whole(
    'num_draws', num_draws, 0, ': 0 is for a deterministic defense'
  )
  oracle = through(at(precision, logits_fn), defense, loss, backward)
  if num_draws:
    oracle = averaged(oracle, average)
  single = pgd(oracle, tx, threat, start)
  if num_restarts != 1:
    single = restarts(single, num_restarts)
  if not num_draws:
    single = stop_when_fooled(single)
  run = batch_attack(lambda _: single, layout())
  deployed = jax.jit(defense.apply)

  def batch(key, images, labels):
    _check(logits_fn, defense, key, images, labels)
    images = np.asarray(images, np.float32)
    check_draws(num_draws, deployed, images[0])
    everything = np.ones(len(images), bool)
    return run(
      (),
      key,
      num_steps,
      np.arange(len(images)),
      images,
      labels,
      everything,
      max(1, num_draws),
    ).z

  return batch


def certify(
  logits_fn: LogitsFn, codes, norm: str = 'linf', **budget
) -> Callable:
  """Decides which images no l_inf attacker can change behind `nearest_code`.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`, of layers that
      `rdefense.certify.linear` knows.
    codes: `[k, C]`.
    norm: of T's distances over channels.
    **budget: `max_nodes`, `batch_size`, `leaf_size` of `certify.decide`.

  Returns:
    `(images, labels, eps) -> Decisions`: `status` (an index into
    `certify.decide.STATUS`), `witness`, `lower`, `nodes`; what is compiled is
    kept. Raises `ValueError` on logits of a batch, and as `certify.decide`.
  """
  apply = lambda params, z: logits_fn(z)
  codes = np.asarray(codes)

  def batch(images, labels, eps: float) -> Decisions:
    checks.check_images(images)
    image = np.asarray(images[0], np.float32)
    checks.check_logits(jax.eval_shape(logits_fn, image).shape)
    labels = np.asarray(labels)
    return decide(apply, (), codes, images, labels, eps, norm, **budget)

  return batch


def certify_randomized(
  logits_fn: LogitsFn,
  defense: Defense,
  certifier: Certifier,
  num_votes: int = 1000,
  delta: float = 0.001,
) -> Callable:
  """Bounds what any attack leaves of the votes of a randomised defense.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it, randomised.
    certifier: of that defense, see `rdefense.certify.randomized`. Of another
      one, or with other numbers, it proves nothing: make both from the same
      codes and sigma.
    num_votes: draws on each clean image.
    delta: probability that the votes on an image mislead, in (0, 1); what the
      certifier may fail with comes on top.

  Returns:
    `(key, images, labels, eps) -> Certified`: an image is certified where one
    of its margins is positive; the key is consumed. Raises `ValueError` on
    images and labels that do not match, and as the certifier.

  Raises:
    ValueError: on delta outside (0, 1), and on too few votes for any image.
  """
  votes.check_votes(num_votes, delta)
  classes = predict(logits_fn, defense)

  def batch(key, images, labels, eps: float) -> Certified:
    num_classes = _check(logits_fn, defense, key, images, labels)
    keys = jax.random.split(key, num_votes)
    draws = np.stack([np.asarray(classes(k, images)) for k in keys], 1)
    counts = (draws[:, :, None] == np.arange(num_classes)).sum(1)
    shares = votes.shares(counts, np.asarray(labels), delta)
    return certifier(np.asarray(images, np.float32), eps, shares)

  return batch


def _on_images(fn: Callable) -> Callable:
  """`fn(key, index, images)` as a function of a key and checked images."""

  def batch(key, images):
    checks.check_key(key)
    checks.check_images(images)
    images = np.asarray(images, np.float32)
    return fn(key, np.arange(len(images)), images)

  return batch


def _check(logits_fn, defense, key, images, labels) -> int:
  """Of what a batch is given; the number of classes."""
  checks.check_key(key)
  checks.check_images(images)
  pipeline = defended(logits_fn, defense)
  shape = jax.eval_shape(
    pipeline, jax.random.key(0), np.asarray(images[0], np.float32)
  ).shape
  checks.check_logits(shape)
  checks.check_labels(labels, len(images), shape[0])
  return shape[0]

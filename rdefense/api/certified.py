"""Batches certified: behind codes, and from the votes of random draws."""

from collections.abc import Callable
import functools

import jax
import numpy as np

from rdefense import checks
from rdefense.api.batched import AT_ONCE
from rdefense.api.defended import check_batch, check_classifier, predict
from rdefense.attacks.checks import is_random
from rdefense.certify import votes
from rdefense.certify.decide import Decisions, check_budget, decide
from rdefense.certify.randomized import Certified, Certifier
from rdefense.certify.search import compiled_for
from rdefense.defenses.base import Defense
from rdefense.defenses.discretize import NORMS
from rdefense.types import LogitsFn

__all__ = ['certify', 'certify_randomized']


def certify(
  logits_fn: LogitsFn,
  codes,
  norm: str = 'linf',
  *,
  max_nodes: int = 500,
  batch_size: int = 64,
  leaf_size: int = 16,
) -> Callable:
  """Decides which images no l_inf attacker can change behind `nearest_code`.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`, of layers that
      `rdefense.certify.linear` knows; a maximum over windows as
      `models.max_pool` takes it, a leaky ReLU as `jnp.maximum(t, 0.1 * t)`.
    codes: `[k, C]`.
    norm: of T's distances over channels.
    max_nodes, batch_size, leaf_size: as for `certify.decide`.

  Returns:
    `(images, labels, eps) -> Decisions`: `status` (an index into
    `certify.decide.STATUS`), `witness`, `lower`, `nodes`; what is compiled
    goes with it. Raises `ValueError` on logits of a batch, and as
    `certify.decide`.

  Raises:
    ValueError: on codes that are none, an unknown norm, a budget or sizes below
      1, a leaf size that is no power of two.
  """
  checks.check_codes(codes)
  checks.check_choice('norm', norm, NORMS)
  check_budget(max_nodes, batch_size, leaf_size)
  apply = lambda params, z: logits_fn(z)
  codes = np.asarray(codes)
  compiled = functools.cache(compiled_for)  # goes with `batch`

  def batch(images, labels, eps: float) -> Decisions:
    checks.check_untraced(images)
    images, labels = np.asarray(images), np.asarray(labels)
    checks.check_images(images)
    check_classifier(logits_fn, images[0].astype(np.float32))
    return decide(
      apply,
      (),
      codes,
      images,
      labels,
      eps,
      norm,
      max_nodes=max_nodes,
      batch_size=batch_size,
      leaf_size=leaf_size,
      compiled=compiled,
    )

  return batch


def certify_randomized(
  logits_fn: LogitsFn,
  defense: Defense,
  certifier: Certifier,
  num_votes: int = 1000,
  delta: float = 0.001,
  batch_size: int = AT_ONCE,
) -> Callable:
  """Bounds what any attack leaves of the votes of a randomised defense.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it, randomised; of another one votes prove nothing.
    certifier: of that defense, see `rdefense.certify.randomized`. Of another
      one, or with other numbers, it proves nothing: make both from the same
      codes and sigma.
    num_votes: draws on each clean image.
    delta: probability that the votes on an image mislead, in (0, 1); what the
      certifier may fail with comes on top.
    batch_size: images at once: memory, and no number, depends on it.

  Returns:
    `(key, images, labels, eps) -> Certified`: an image is certified where one
    of its margins is positive; the key is consumed. Raises `ValueError` on
    images and labels that do not match, on a defense that draws nothing, and
    as the certifier.

  Raises:
    ValueError: on delta outside (0, 1), on too few votes for any image, and on
      a certifier that is none.
  """
  votes.check_votes(num_votes, delta)
  if not callable(certifier):
    raise ValueError(
      f'certifier={certifier!r} is no function: make one by '
      'rdefense.certify.randomized, as fixed_codes(codes, sigma).'
    )
  classes = predict(logits_fn, defense, batch_size)
  deployed = jax.jit(defense.apply)

  def batch(key, images, labels, eps: float) -> Certified:
    num_classes = check_batch(logits_fn, defense, key, images, labels)
    checks.check_length('eps', eps)
    if not is_random(deployed, np.asarray(images[0], np.float32)):
      raise ValueError(
        'this defense draws nothing, so that its votes are all the same and '
        'prove nothing: take api.certify.'
      )
    keys = jax.random.split(key, num_votes)
    draws = np.stack([np.asarray(classes(k, images)) for k in keys], 1)
    counts = (draws[:, :, None] == np.arange(num_classes)).sum(1)
    shares = votes.shares(counts, np.asarray(labels), delta)
    return certifier(np.asarray(images, np.float32), eps, shares)

  return batch

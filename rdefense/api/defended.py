"""Batches through a defense, and through the classifier behind it."""

from collections.abc import Callable
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import checks
from rdefense.api.batched import AT_ONCE, check_size, in_batches
from rdefense.attacks.wrappers import over_examples
from rdefense.defenses.base import Defense
from rdefense.gradients import defended
from rdefense.precision import HIGHEST, at
from rdefense.types import LogitsFn

__all__ = [
  'accuracy',
  'check_batch',
  'check_classifier',
  'predict',
  'transform',
]


def transform(
  defense: Defense, surrogate: bool = False, batch_size: int = AT_ONCE
) -> Callable:
  """Applies a defense to a batch.

  Args:
    defense: what to apply.
    surrogate: apply its differentiable stand-in instead.
    batch_size: images at once: memory, and no number, depends on it.

  Returns:
    `(key, images) -> images`, jitted; the key is consumed. Raises `ValueError`
    on images that are not a non-empty batch in [0, 1].

  Raises:
    ValueError: on what is no defense, and a batch size below 1.
  """
  checks.check_defense(defense)
  fn = over_examples(defense.surrogate if surrogate else defense.apply)
  return _on_images(jax.jit(fn), batch_size)


def predict(
  logits_fn: LogitsFn, defense: Defense, batch_size: int = AT_ONCE
) -> Callable:
  """Classes given by the defended classifier, at highest matmul precision.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it.
    batch_size: as for `transform`.

  Returns:
    `(key, images) -> classes` `[B]` int32; the key is consumed. Raises
    `ValueError` on logits of more than one image, and on those that are NaN.
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

  def check(image):
    _num_classes(logits_fn, defense, image)

  return _on_images(classes, batch_size, check)


def accuracy(
  logits_fn: LogitsFn, defense: Defense, batch_size: int = AT_ONCE
) -> Callable:
  """Share of right answers of the defended classifier.

  Returns:
    `(key, images, labels) -> float` in [0, 1]; the key is consumed and should
    not be the one an attack has seen. Raises `ValueError` on labels that do
    not match.
  """
  classes = predict(logits_fn, defense, batch_size)

  def fraction(key, images, labels) -> float:
    check_batch(logits_fn, defense, key, images, labels)
    right = np.asarray(classes(key, images)) == np.asarray(labels)
    return float(right.mean())

  return fraction


def _on_images(
  fn: Callable, batch_size: int, check: Callable = lambda image: None
) -> Callable:
  """`fn(key, index, images)` as a function of a key and checked images."""
  batch_size = check_size(batch_size)

  def call(key, images):
    _check_call(key, images)
    check(images[0])
    nothing = np.zeros(len(images), np.int32)
    found = [
      fn(jax.random.clone(key), batch.index, batch.image)
      for batch in in_batches(images, nothing, batch_size)
    ]
    if len(found) == 1:
      return found[0]
    return jnp.concatenate(found)[: len(images)]

  return call


def _check_call(key, images) -> None:
  checks.check_key(key)
  checks.check_untraced(images)
  checks.check_images(images)


def check_batch(logits_fn, defense, key, images, labels) -> int:
  """Checks what a batch is called with; the number of classes.

  Raises:
    ValueError: on what is no key, images outside [0, 1], logits of more than
      one image, and labels that do not match.
  """
  _check_call(key, images)
  num_classes = _num_classes(logits_fn, defense, images[0])
  checks.check_labels(labels, len(images), num_classes)
  return num_classes


def _num_classes(logits_fn, defense, image) -> int:
  """Of the classifier on what it sees of an image, as it is checked."""
  seen = jax.eval_shape(
    defense.apply, jax.random.key(0), np.asarray(image, np.float32)
  )
  return check_classifier(logits_fn, seen)


def check_classifier(logits_fn: LogitsFn, image) -> int:
  """Checks what is to classify; the number of its classes.

  Args:
    logits_fn: called with one image.
    image: `[H, W, C]` as it sees them, or its shape and dtype.

  Raises:
    ValueError: on what is no function of one image, and on logits of a batch.
  """
  try:
    inspect.signature(logits_fn).bind('image')
  except TypeError as error:
    raise ValueError(
      f'logits_fn={logits_fn!r} is no function of one image ({error}): give '
      'one, as lambda image: network.apply(params, image).'
    ) from error
  made = jax.eval_shape(logits_fn, image)
  if not hasattr(made, 'shape'):
    raise ValueError(
      f'logits_fn gives a {type(made).__name__}, expected an array of logits: '
      'leave out what a network returns beside them.'
    )
  checks.check_logits(made.shape)
  return made.shape[0]

"""Checks of what an attack is made of, each with one sentence.

>>> check_parts('linf', None, None)
Traceback (most recent call last):
  ...
ValueError: threat='linf' is none: make one by rdefense.threats, as linf(0.1).
"""

import inspect

import jax
import numpy as np

from rdefense.types import KeyedFn

__all__ = ['check_draws', 'check_parts', 'is_random']


def check_parts(threat, loss, tx) -> None:
  """Raises `ValueError` on a threat, a loss or a transformation that is none.

  Args:
    threat: as `rdefense.threats` makes them.
    loss: `(logits, label) -> scalar`, see `rdefense.losses`.
    tx: an Optax transformation; None for a search without gradients.
  """
  if not hasattr(threat, 'project'):
    raise ValueError(
      f'threat={threat!r} is none: make one by rdefense.threats, as linf(0.1).'
    )
  try:
    inspect.signature(loss).bind('logits', 'label')
  except TypeError as error:
    raise ValueError(
      f'loss={loss!r} is no function of logits and a label ({error}): take one '
      'of rdefense.losses, such as margin or cw(50.0).'
    ) from error
  if tx is not None and not hasattr(tx, 'update'):
    raise ValueError(
      f'tx={tx!r} is no Optax transformation: give what its constructor '
      'returns, as attacks.sign(0.02).'
    )


def is_random(apply: KeyedFn, image) -> bool:
  """Whether a defense makes something else of an image under another key.

  Args:
    apply: of the defense; jitted, where it is asked more than once.
    image: `[H, W, C]` in [0, 1], to see what two keys make of it; and of noise
      and grey of its shape, where codes behind noise make nothing of it.
  """
  noise = np.random.default_rng(0).random(np.shape(image), np.float32)
  seen = (image, noise, np.full_like(noise, 0.5))
  one, other = ([apply(jax.random.key(i), x) for x in seen] for i in range(2))
  return not all(map(np.array_equal, one, other))


def check_draws(num_draws: int, apply: KeyedFn, image) -> None:
  """Raises `ValueError` where a defense draws and its attack averages nothing.

  Such an attack would keep the luckiest draw of each image, which says little
  of any other.

  Args:
    num_draws: of each gradient.
    apply, image: as for `is_random`.
  """
  if not num_draws and is_random(apply, image):
    raise ValueError(
      'num_draws=0 is for a deterministic defense, and this one is not: give '
      'the draws to average each gradient over, as num_draws=8.'
    )

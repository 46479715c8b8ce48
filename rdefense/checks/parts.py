"""Checks of what functions are made of: choices, keys, defenses, logits."""

import jax
import numpy as np

__all__ = [
  'THREEFRY',
  'check_choice',
  'check_defense',
  'check_key',
  'check_logits',
]

THREEFRY = 'threefry2x32'


def check_choice(name: str, value, choices) -> None:
  """Raises `ValueError` unless `value` is one of `choices`."""
  if value not in choices:
    listed = ', '.join(str(choice) for choice in choices)
    raise ValueError(f'{name}={value!r} is unknown; choose one of: {listed}.')


def check_key(key) -> None:
  """Raises `ValueError` unless `key` is one random key, typed or raw.

  It must be of threefry, JAX's default: under `vmap`, what the other generators
  draw for one example depends on how many are beside it.

  >>> check_key(0)
  Traceback (most recent call last):
    ...
  ValueError: key=0 is no random key: make one by jax.random.key(0).
  """
  dtype, shape = getattr(key, 'dtype', None), np.shape(key)
  typed = dtype is not None and jax.dtypes.issubdtype(
    dtype, jax.dtypes.prng_key
  )
  if typed and shape:
    raise ValueError(f'key has shape {shape}: give one key, not a batch.')
  if typed and (name := str(jax.random.key_impl(key))) != THREEFRY:
    raise ValueError(
      f'key is one of {name}, whose draws for an example depend on its batch: '
      f'make one by jax.random.key(0, impl={THREEFRY!r}).'
    )
  if not typed and (dtype != np.uint32 or shape != (2,)):
    raise ValueError(
      f'key={key} is no random key: make one by jax.random.key(0).'
    )


def check_defense(defense) -> None:
  """Raises `ValueError` unless `defense` has `apply` and `surrogate`."""
  if not (hasattr(defense, 'apply') and hasattr(defense, 'surrogate')):
    raise ValueError(
      f'defense={defense} has no `apply` and `surrogate`: make it a '
      'rdefense.defenses.Defense of two functions of a key and an image.'
    )


def check_logits(shape: tuple[int, ...]) -> None:
  """Raises `ValueError` unless an image's logits have the shape `[classes]`."""
  if len(shape) != 1:
    raise ValueError(
      f'logits_fn gives shape {shape} for one image; expected [num_classes]: '
      'it is called with one image [H, W, C], not with a batch.'
    )

"""Checks of one number: its range, and the likely cause of a wrong one."""

import operator

import jax
import numpy as np

__all__ = [
  'check_at_least',
  'check_length',
  'check_noise',
  'check_number',
  'check_positive',
  'check_probability',
  'check_steepness',
  'check_whole',
  'is_concrete',
]


def is_concrete(value) -> bool:
  """Whether a value can be looked at: it is no tracer of `jax.jit`."""
  return not isinstance(value, jax.core.Tracer)


def check_number(name: str, value) -> None:
  """Raises `ValueError` on text, None and arrays; traced values pass.

  >>> check_number('eps', '0.1')
  Traceback (most recent call last):
    ...
  ValueError: eps='0.1' must be one number.
  """
  if is_concrete(value) and not (
    np.ndim(value) == 0
    and jax.dtypes.issubdtype(np.asarray(value).dtype, np.number)
  ):
    raise ValueError(f'{name}={value!r} must be one number.')


def check_at_least(name: str, value, least, hint: str = '') -> None:
  """Raises `ValueError` unless `value >= least`; traced values pass."""
  check_number(name, value)
  if is_concrete(value) and not value >= least:
    raise ValueError(f'{name}={value} must be at least {least}{hint}.')


def check_positive(name: str, value, hint: str = '') -> None:
  """Raises `ValueError` unless `value > 0`; traced values pass."""
  check_number(name, value)
  if is_concrete(value) and not value > 0:
    raise ValueError(f'{name}={value} must be positive{hint}.')


def check_probability(name: str, value, hint: str = '') -> None:
  """Raises `ValueError` unless `0 < value < 1`; traced values pass."""
  check_number(name, value)
  if is_concrete(value) and not 0 < value < 1:
    raise ValueError(f'{name}={value} must be strictly between 0 and 1{hint}.')


def check_length(name: str, value, largest: float = 1.0) -> None:
  """Raises `ValueError` unless `0 <= value <= largest`; traced values pass.

  In l_inf no pixel can move further than its range; other norms have no such
  limit.

  >>> check_length('eps', 8)
  Traceback (most recent call last):
    ...
  ValueError: eps=8 is larger than 1, the whole range of a pixel: divide by 255.
  """
  check_at_least(name, value, 0, ': in [0, 1] pixel units, such as 8/255')
  if is_concrete(value) and not value <= largest:
    raise ValueError(
      f'{name}={value} is larger than {largest:g}, the whole range of a pixel: '
      'divide by 255.'
    )


def check_noise(name: str, value) -> None:
  """Raises `ValueError` unless `0 < value <= 1`; traced values pass.

  >>> check_noise('tau', 8)
  Traceback (most recent call last):
    ...
  ValueError: tau=8 is larger than 1, the whole range of a pixel: divide by 255.
  """
  check_positive(name, value, ': for almost no noise, make it small')
  check_length(name, value)


def check_steepness(name: str, value, hint: str = '') -> None:
  """Raises `ValueError` unless `0 < value < infinity`; traced values pass.

  >>> check_steepness('alpha', np.inf)
  Traceback (most recent call last):
    ...
  ValueError: alpha=inf must be finite.
  """
  check_positive(name, value, hint)
  if is_concrete(value) and not np.isfinite(value):
    raise ValueError(f'{name}={value} must be finite{hint}.')


def check_whole(name: str, value, least: int = 0, hint: str = '') -> int:
  """An integer of at least so much, of whatever type.

  Raises:
    ValueError: if it is none, or less.

  >>> check_whole('num_steps', np.int64(3))
  3
  >>> check_whole('num_steps', 3.0)
  Traceback (most recent call last):
    ...
  ValueError: num_steps=3.0 must be a whole number.
  """
  try:
    number = operator.index(value)
  except TypeError:
    raise ValueError(f'{name}={value!r} must be a whole number.') from None
  check_at_least(name, number, least, hint)
  return number

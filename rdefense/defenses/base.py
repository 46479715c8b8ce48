"""What a defense is: a pair of pure functions of one key and one image.

`apply` is what is deployed. `surrogate` is its differentiable stand-in: given
the same key it sees the same noise and the same centres. The attacker chooses
how to differentiate the deployed transformation, by name (`BACKWARD`):

  bpda       value of `apply`, Jacobian of `surrogate`, both at `x`
             (Athalye et al. 2018; paper A's attack)
  surrogate  value and Jacobian of `surrogate` (paper B's attack on RandMix)
  identity   value of `apply`, the identity as Jacobian

>>> import jax, jax.numpy as jnp
>>> round_off = Defense(lambda key, x: jnp.round(x), lambda key, x: x**2)
>>> fn = differentiable(round_off, 'bpda')
>>> x = jnp.float32(0.75)
>>> float(fn(jax.random.key(0), x))
1.0
>>> float(jax.grad(fn, argnums=1)(jax.random.key(0), x))
1.5

References:
  Athalye, Carlini, Wagner, Obfuscated gradients give a false sense of
  security, 2018, https://arxiv.org/abs/1802.00420, section 4.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Key, KeyedFn

__all__ = [
  'BACKWARD',
  'Defense',
  'chain',
  'checked',
  'differentiable',
  'frozen',
  'identity',
  'straight_through',
]

BACKWARD = ('bpda', 'surrogate', 'identity')


class Defense(NamedTuple):
  """A transformation in front of a classifier, and its differentiable twin.

  Attributes:
    apply: `(key, x) -> x'`, deployed; its derivative may be zero or undefined.
    surrogate: `(key, x) -> x'`, differentiable, same shapes and same use of
      the key as `apply`.
  """

  apply: KeyedFn
  surrogate: KeyedFn


def checked(apply: KeyedFn, surrogate: KeyedFn | None = None) -> Defense:
  """A `Defense` that refuses what is no image, `[H, W, C]` in floats.

  All of this package are made here: bytes would be taken for units, rows for
  channels, and the images of a batch would share what is random. Half
  precision has no room for 256 levels and what lies between: such an image is
  made float32, and so is what comes out.

  Args:
    apply: `(key, x) -> x'`, deployed.
    surrogate: the same, differentiable; by default `apply`.

  Returns:
    A `Defense` whose functions raise `ValueError`, by `checks.check_image`,
    when they are called or traced on another shape or dtype.

  >>> double = checked(lambda key, x: 2 * x)
  >>> double.apply(jax.random.key(0), jax.numpy.zeros((8, 8)))
  Traceback (most recent call last):
    ...
  ValueError: image has shape (8, 8), not [H, W, C]: take x[..., None].
  """

  def on_images(fn: KeyedFn) -> KeyedFn:
    def fn_of_image(key: Key, x: Array) -> Array:
      checks.check_image(x)
      half = jnp.finfo(jnp.result_type(x)).bits < 32
      return fn(key, x.astype(jnp.float32) if half else x)

    return fn_of_image

  deployed = on_images(apply)
  return Defense(deployed, on_images(surrogate) if surrogate else deployed)


def identity() -> Defense:
  """No defense: `x -> x`; the key is not used."""

  def same(key: Key, x: Array) -> Array:
    del key
    return x

  return checked(same)


def chain(*defenses: Defense) -> Defense:
  """Applies defenses from left to right; link `i` gets `fold_in(key, i)`.

  The surrogate of the chain is the chain of the surrogates, so `bpda` on a
  chain takes their Jacobians along the surrogates' own images. To take each
  link's Jacobian at what the links before it really output, make the links
  straight-through first: `Defense(d.apply, straight_through(*d))`.

  Args:
    *defenses: any number of defenses; none at all is the identity.

  Returns:
    A `Defense`; the key is consumed.

  Raises:
    ValueError: on what is no defense, such as a list of them.
  """
  for defense in defenses:
    checks.check_defense(defense)
  if not defenses:
    return identity()

  def compose(fns: list[KeyedFn]) -> KeyedFn:
    def composed(key: Key, x: Array) -> Array:
      for i, fn in enumerate(fns):
        x = fn(jax.random.fold_in(key, i), x)
      return x

    return composed

  return Defense(
    compose([d.apply for d in defenses]),
    compose([d.surrogate for d in defenses]),
  )


def frozen(defense: Defense, key: Key) -> Defense:
  """A randomised defense with its randomness fixed: the same for every image.

  What is left is deterministic, and an attack that cannot break it is at
  fault, not kept out by noise (Carlini et al. 2019).

  Args:
    defense: what to freeze.
    key: the one it always gets; consumed.
  """

  fixed_key = key

  def fixed(fn: KeyedFn) -> KeyedFn:
    def apply(key: Key, x: Array) -> Array:
      del key
      return fn(jax.random.clone(fixed_key), x)

    return apply

  return Defense(fixed(defense.apply), fixed(defense.surrogate))


def straight_through(hard: KeyedFn, soft: KeyedFn) -> KeyedFn:
  """The value of `hard` with the derivative of `soft`, exactly (BPDA).

  A `custom_jvp`, so that the forward value is `hard`'s to the last bit
  (`soft + stop_gradient(hard - soft)` is not) and that forward mode, reverse
  mode, `vmap`, `jit` and `scan` all work.

  Args:
    hard: `(key, x) -> x'`, evaluated.
    soft: `(key, x) -> x'` of the same shape, differentiated at the same `x`
      and key.

  Returns:
    `(key, x) -> x'`; the key is consumed.
  """

  @jax.custom_jvp
  def fn(key: Key, x: Array) -> Array:
    return hard(key, x)

  @fn.defjvp
  def _(primals, tangents):
    (key, x), (_, dx) = primals, tangents
    same_key = jax.random.clone(key)  # the same noise twice, on purpose
    tangent = jax.jvp(lambda z: soft(same_key, z), (x,), (dx,))[1]
    return hard(key, x), tangent

  return fn


def differentiable(defense: Defense, backward: str) -> KeyedFn:
  """The function an attacker differentiates, chosen by name.

  Args:
    defense: the deployed defense.
    backward: one of `BACKWARD`. `identity` needs a defense that keeps the
      image's shape.

  Returns:
    `(key, x) -> x'`; the key is consumed.

  Raises:
    ValueError: on an unknown name, or (when traced) on `identity` through a
      defense that changes the shape.
  """
  checks.check_choice('backward', backward, BACKWARD)
  if backward == 'surrogate':
    return defense.surrogate
  if backward == 'bpda':
    return straight_through(defense.apply, defense.surrogate)

  def same(key: Key, x: Array) -> Array:
    made = jax.eval_shape(defense.apply, key, x)
    if made.shape != x.shape:
      raise ValueError(
        f"backward='identity' needs a defense that keeps the image's shape; "
        f'this one maps {x.shape} to {made.shape}: use bpda or surrogate.'
      )
    return x.astype(made.dtype)

  return straight_through(defense.apply, same)

"""What an attacker may do to an image: norm balls intersected with [0, 1].

`project` is the exact Euclidean projection onto ball and box together:

  argmin_z' ||z' - z||_2   s.t.   ||z' - x||_p <= eps,  0 <= z' <= 1.

For linf it is two clips. For l2 and l1 the constraint has one multiplier, the
distance to `x` is monotone in it, and a bisection that ends on the feasible
side finds it. Its derivative is that of the implicit function theorem.

>>> import jax.numpy as jnp
>>> x, z = jnp.array([[[0.5]]]), jnp.array([[[0.9]]])
>>> float(linf(0.125).project(z, x)[0, 0, 0])
0.625
"""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rdefense import checks
from rdefense.types import Array, Key

__all__ = [
  'LARGEST',
  'NORMS',
  'STARTS',
  'Threat',
  'ball',
  'euclidean',
  'l1',
  'l2',
  'linf',
  'start_at',
]

NORMS = ('linf', 'l2', 'l1')
# No change of an image in [0, 1] is longer; the others grow with its size.
LARGEST = {'linf': 1.0, 'l2': math.inf, 'l1': math.inf}
STARTS = ('clean', 'random', 'lower', 'upper')
_BISECTIONS = 40  # halves the bracket below one float32 ulp of 1


class Threat(NamedTuple):
  """The set of images an attacker may submit instead of `x`.

  Attributes:
    init: `(key, x) -> z`, a random point of the set; the key is consumed.
    project: `(z, x) -> z'`, the nearest point of the set.
    distance: `(z, x) -> []`, in the norm of the ball.
    bounds: the valid range of a pixel.
  """

  init: Callable[[Key, Array], Array]
  project: Callable[[Array, Array], Array]
  distance: Callable[[Array, Array], Array]
  bounds: tuple[float, float] = (0.0, 1.0)


def linf(eps, bounds: tuple[float, float] = (0.0, 1.0)) -> Threat:
  """Every channel of every pixel may move by `eps`.

  Args:
    eps: radius in [0, 1] pixel units, e.g. 8/255. May be traced.
    bounds: the valid range of a pixel.

  Returns:
    A `Threat`; `init` is uniform in the ball, then clipped to the bounds.

  Raises:
    ValueError: if eps < 0, or more than the whole range of a pixel.
  """
  checks.check_length('eps', eps, bounds[1] - bounds[0])

  def project(z: Array, x: Array) -> Array:
    return jnp.clip(jnp.clip(z, x - eps, x + eps), *bounds)

  def init(key: Key, x: Array) -> Array:
    noise = jax.random.uniform(key, x.shape, x.dtype, -1.0, 1.0)
    return project(x + eps * noise, x)

  return Threat(init, project, lambda z, x: jnp.abs(z - x).max(), bounds)


def _norm_ball(eps, bounds, distance, shrunk, noise) -> Threat:
  """A ball whose projection is `clip(x + shrunk(z - x, t))`, 0 <= t <= 1.

  `shrunk(d, 1) = d`, `shrunk(d, 0) = 0`, and the distance grows with t: the
  largest feasible t is bracketed, and its lower end is returned. Where it is 0
  by all rights, at eps = 0, its derivative is taken to be 0.
  """

  def at(t: Array, z: Array, x: Array) -> Array:
    return jnp.clip(x + shrunk(z - x, t), *bounds)

  @jax.custom_jvp
  def largest(z: Array, x: Array, eps: Array) -> Array:
    def halve(_, bracket):
      low, high = bracket
      middle = 0.5 * (low + high)
      feasible = distance(at(middle, z, x), x) <= eps
      return jnp.where(feasible, middle, low), jnp.where(feasible, high, middle)

    zero = jnp.zeros_like(x, shape=())
    low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (zero, zero + 1))
    return low

  @largest.defjvp
  def _(primals, tangents):
    # distance(at(t, z, x), x) = eps on both sides of any change.
    def excess(t, z, x, eps):
      return distance(at(t, z, x), x) - eps

    t = largest(*primals)
    _, change = jax.jvp(lambda *args: excess(t, *args), primals, tangents)
    slope = jax.jacfwd(excess)(t, *primals)
    return t, -change / jnp.where(slope > 0, slope, jnp.inf)

  # Called by itself, its loop would be compiled at each call.
  found = jax.jit(largest)

  def project(z: Array, x: Array) -> Array:
    t = found(z, x, eps + jnp.zeros_like(x, shape=()))
    inside = jnp.clip(z, *bounds)
    return jnp.where(distance(inside, x) <= eps, inside, at(t, z, x))

  def init(key: Key, x: Array) -> Array:
    return project(x + eps * noise(key, x), x)

  return Threat(init, project, distance, bounds)


def euclidean(v: Array) -> Array:
  """The square root of the sum of squares; its derivative at zero is zero."""
  squares = (v**2).sum()
  zero = squares == 0
  return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))


def l2(eps, bounds: tuple[float, float] = (0.0, 1.0)) -> Threat:
  """The Euclidean norm of the whole perturbation is at most `eps`.

  Args:
    eps: radius in [0, 1] pixel units, over all channels of all pixels.
    bounds: the valid range of a pixel.

  Returns:
    A `Threat`; `init` is uniform in the ball, then projected to the bounds.

  Raises:
    ValueError: if eps < 0.
  """
  checks.check_length('eps', eps, LARGEST['l2'])

  def distance(z: Array, x: Array) -> Array:
    return euclidean(z - x)

  def noise(key: Key, x: Array) -> Array:
    key_direction, key_radius = jax.random.split(key)
    direction = jax.random.normal(key_direction, x.shape, x.dtype)
    radius = jax.random.uniform(key_radius, (), x.dtype) ** (1 / x.size)
    return radius * direction / jnp.sqrt((direction**2).sum())

  return _norm_ball(eps, bounds, distance, lambda d, t: t * d, noise)


def l1(eps, bounds: tuple[float, float] = (0.0, 1.0)) -> Threat:
  """The sum of all absolute changes is at most `eps`.

  Args:
    eps: radius in [0, 1] pixel units, summed over all channels of all pixels.
    bounds: the valid range of a pixel.

  Returns:
    A `Threat`; `init` is uniform in the ball, then projected to the bounds.

  Raises:
    ValueError: if eps < 0.
  """
  checks.check_length('eps', eps, LARGEST['l1'])

  def shrunk(d: Array, t: Array) -> Array:
    threshold = (1 - t) * jnp.abs(d).max()
    return jnp.sign(d) * jnp.maximum(jnp.abs(d) - threshold, 0.0)

  def noise(key: Key, x: Array) -> Array:
    key_size, key_sign = jax.random.split(key)
    sizes = jax.random.exponential(key_size, (x.size + 1,), x.dtype)
    signs = jax.random.rademacher(key_sign, x.shape, x.dtype)
    return signs * sizes[:-1].reshape(x.shape) / sizes.sum()

  return _norm_ball(
    eps, bounds, lambda z, x: jnp.abs(z - x).sum(), shrunk, noise
  )


def ball(norm: str, eps) -> Threat:
  """The ball of a norm named in `NORMS`; see `linf`, `l2`, `l1`."""
  checks.check_choice('norm', norm, NORMS)
  return {'linf': linf, 'l2': l2, 'l1': l1}[norm](eps)


def start_at(threat: Threat, start) -> Callable[[Key, Array], Array]:
  """Where an attack begins, by name.

  Args:
    threat: the set to stay in.
    start: `clean` (at x), `random` (`threat.init`), `lower` or `upper` (the
      ends of `threat.bounds`, black or white, projected: for linf the corners
      max(x - eps, 0) and min(x + eps, 1); the former is where paper A's attack
      begins). Or an index into `STARTS`, which may be traced.

  Returns:
    `(key, x) -> z`; the key is consumed.

  Raises:
    ValueError: on an unknown name.
  """
  lower, upper = threat.bounds
  branches = [
    lambda key, x: x,
    threat.init,
    lambda key, x: threat.project(jnp.full_like(x, lower), x),
    lambda key, x: threat.project(jnp.full_like(x, upper), x),
  ]
  if isinstance(start, str):
    checks.check_choice('start', start, STARTS)
    return branches[STARTS.index(start)]
  return lambda key, x: jax.lax.switch(start, branches, key, x)

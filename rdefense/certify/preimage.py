"""Points of the ball that T sends to chosen codes: the witness of an attack.

An attack in code space says which code each pixel should be given, among those
that `reachable` allows. The image that is submitted has to lie in the ball, and
T has to give it these codes.

>>> import numpy as np
>>> x, codes = np.float32([[[0.375], [0.9]]]), np.float32([[0.0], [1.0]])
>>> v, found = preimage(x, codes, np.array([[1, 1]]), 0.25)
>>> v[0, :, 0].tolist(), found[0].tolist()
([0.625, 1.0], [True, True])
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rdefense.certify.reachable import checked
from rdefense.defenses.discretize import channel_distance
from rdefense.types import Array

__all__ = ['preimage']

_GRID = np.linspace(0, 1, 5)  # of each channel of a pixel's box


def preimage(
  x, codes, chosen: Array, eps, norm: str = 'linf'
) -> tuple[Array, Array]:
  """A point of the ball that T sends to the chosen codes, pixel by pixel.

  On one channel the point nearest to the code is one if any is. In colour a
  grid over the pixel's box is tried as well, and may miss a small corner.

  Args:
    x: image `[H, W, C]` in [0, 1].
    codes: `[k, C]`, distinct, in [0, 1].
    chosen: `[H, W]`, int32: an index into the codes for each pixel.
    eps: radius in [0, 1] pixel units. May be traced.
    norm: of T's distances over channels, one of `discretize.NORMS`.

  Returns:
    `(v [H, W, C], found [H, W])`: where nothing was found, `v` is the point
    nearest to the code.

  Raises:
    ValueError: as `reachable.triangle`.
  """
  x, codes = checked(x, codes, eps, norm)
  low, high = jnp.clip(x - eps, 0, 1), jnp.clip(x + eps, 0, 1)
  nearest = jnp.clip(codes[chosen], low, high)
  if x.shape[-1] == 1:
    tried = nearest[None]
  else:
    grid = np.array([*itertools.product(_GRID, repeat=x.shape[-1])])
    steps = jnp.asarray(grid, jnp.float32)[:, None, None]
    inside = jnp.minimum(low[None] + steps * (high - low)[None], high[None])
    tried = jnp.concatenate([nearest[None], inside])
  distance = channel_distance(tried, codes, norm)
  own = jax.nn.one_hot(chosen, len(codes), dtype=bool)
  # How much nearer the chosen code is than any other.
  apart = jnp.where(own[None], jnp.inf, distance).min(-1)
  lead = apart - jnp.where(own[None], distance, jnp.inf).min(-1)
  best = lead.argmax(0)
  v = jnp.take_along_axis(tried, best[None, ..., None], 0)[0]
  return v, lead.max(0) > 0

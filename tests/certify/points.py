"""What T gives to points of a ball: the truth that reachable codes contain."""

import jax
import numpy as np

from rdefense.defenses.discretize import nearest_code

KEY = jax.random.key(0)
GREY = np.float32([[0.0], [0.2], [0.55], [1.0]])


def colors(seed, k=6):
  return np.random.default_rng(seed).random((k, 3), np.float32)


def seen(x, codes, eps, norm, count=400, seed=0):
  """Codes that random points of the ball, and its corners, are given by T."""
  rng = np.random.default_rng(seed)
  apply = jax.jit(nearest_code(codes, norm=norm).apply)
  found = np.zeros((*x.shape[:-1], len(codes)), bool)
  for i in range(count):
    noise = rng.uniform(-1, 1, x.shape)
    noise = np.sign(noise) if i % 4 == 0 else noise
    v = np.clip(x + np.float32(eps) * noise, 0, 1).astype(np.float32)
    pixels = np.asarray(apply(KEY, v))
    found |= (pixels[..., None, :] == codes).all(-1)
  return found

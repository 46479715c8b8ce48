"""Five images and a linear classifier of three classes that disagree early."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import api, attacks, defenses, losses, threats

SHAPE = (2, 3, 1)
RNG = np.random.default_rng(9)
W = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
W -= W.mean((1, 2, 3), keepdims=True)  # so that small changes decide
IMAGES = RNG.uniform(0.4, 0.6, (5, *SHAPE)).astype(np.float32)
logits_fn = lambda x: (jnp.asarray(W) * x[None]).sum((1, 2, 3))
LABELS = np.einsum('khwc,bhwc->bk', W, IMAGES).argmax(1)
CODES = np.float32([[0.0], [1.0]])
NOISY = defenses.Defense(
  lambda key, x: x + jax.random.normal(key, x.shape),
  lambda key, x: x + jax.random.normal(key, x.shape),
)


def make_attack(defense=None, num_steps=4, **options):
  parts = {
    'logits_fn': logits_fn,
    'threat': threats.linf(0.1),
    'loss': losses.margin,
    'tx': attacks.steepest('linf', 0.1),
  }
  defense = defense or defenses.identity()
  return api.attack(defense=defense, num_steps=num_steps, **(parts | options))

"""The batched, jitted face of the library, for notebooks.

  images, labels   numpy or JAX arrays `[B, H, W, C]` in [0, 1] and `[B]`
  key              one root key; example i uses fold_in(key, i)

What a `logits_fn` closes over is compiled in: a network that is trained further
in place needs the functions made anew.

>>> import jax, jax.numpy as jnp, optax
>>> from rdefense import api, attacks, defenses, losses, threats
>>> images, labels = jnp.full((4, 2, 2, 1), 0.6), jnp.zeros(4, int)
>>> api.transform(defenses.binning(2))(jax.random.key(0), images).max().item()
1.0
>>> logits_fn = lambda x: jnp.stack([x.mean(), 1 - x.mean()])
>>> run = api.attack(
...   logits_fn,
...   defenses.binning(4),
...   threats.linf(0.3),
...   losses.margin,
...   optax.chain(optax.scale_by_sign(), optax.scale(-0.05)),
...   num_steps=10,
... )
>>> api.accuracy(logits_fn, defenses.binning(4))(
...   jax.random.key(1), run(jax.random.key(0), images, labels), labels
... )
0.0
"""

from rdefense.api.attacked import attack
from rdefense.api.certified import certify, certify_randomized
from rdefense.api.defended import accuracy, predict, transform

__all__ = [
  'accuracy',
  'attack',
  'certify',
  'certify_randomized',
  'predict',
  'transform',
]

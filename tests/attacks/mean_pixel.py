"""A classifier of the mean pixel, and what a recipe makes of one image."""

import jax
import jax.numpy as jnp
import numpy as np

from rdefense import threats
from rdefense.attacks import assemble, run
from rdefense.defenses import identity

X = np.full((2, 2, 1), 0.6, np.float32)
logits_fn = lambda x: jnp.stack([x.mean() - 0.5, 0.0])  # class 0 at X


def attacked(recipe, eps=0.3, defense=None, **options):
  attack = assemble(
    recipe, logits_fn, defense or identity(), threats.linf(eps), **options
  )
  return jax.jit(run(attack, recipe.num_steps))(jax.random.key(0), X, 0)

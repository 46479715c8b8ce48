"""Crops and flips against every one there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.data import augment

IMAGE = np.arange(1.0, 25.0, dtype=np.float32).reshape(4, 3, 2)


def everything(padding, flip):
  padded = np.pad(IMAGE, ((padding, padding), (padding, padding), (0, 0)))
  found = [
    padded[i : i + 4, j : j + 3]
    for i in range(2 * padding + 1)
    for j in range(2 * padding + 1)
  ]
  return found + [each[:, ::-1] for each in found] * flip


@pytest.mark.parametrize('padding, flip', [(0, False), (1, False), (2, True)])
def test_each_crop_and_flip_comes_as_often_as_another(padding, flip):
  keys = jax.random.split(jax.random.key(0), 4000)
  one = lambda key: augment(key, jnp.asarray(IMAGE), padding, flip)
  drawn = jax.vmap(one)(keys)
  expected = np.array(everything(padding, flip))
  same = (np.asarray(drawn)[:, None] == expected).all((2, 3, 4))
  assert (same.sum(1) == 1).all()
  share = same.mean(0)
  # 5 standard errors of a share of 4,000 draws.
  spread = np.sqrt(1 / len(expected) / 4000)
  np.testing.assert_allclose(share, 1 / len(expected), atol=5 * spread)


def test_negative_padding_is_refused():
  with pytest.raises(ValueError, match='padding=-1 must be at least 0'):
    augment(jax.random.key(0), jnp.asarray(IMAGE), -1, False)

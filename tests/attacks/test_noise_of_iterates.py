"""Attacks whose slope is noise, which shows the key of every evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import gradients, losses, threats
from rdefense.attacks import batch_attack, pgd, restarts, run, steepest
from rdefense.attacks.assembly import Recipe, assemble
from rdefense.defenses import Defense, binning

W = np.random.default_rng(5).normal(size=(6, 7)).astype(np.float32)
V = np.random.default_rng(6).normal(size=(7, 3)).astype(np.float32)
X = np.random.default_rng(1).uniform(0.3, 0.7, (2, 3, 1)).astype(np.float32)
logits_fn = lambda x: jnp.tanh(x.ravel() @ W) @ V


def scaled():
  """A slope that is the noise itself: keys show in gradients."""
  fn = lambda key, x: x * (1 + 0.5 * jax.random.normal(key, x.shape))
  return Defense(fn, fn)


def single(defense, keep='last', start='random'):
  oracle = gradients.through(logits_fn, defense, losses.margin)
  tx = steepest('l2', 0.1)
  return pgd(oracle, tx, threats.l2(1.0), start, keep)


@pytest.mark.parametrize(
  'defense', [scaled(), binning(5)], ids=['noise', 'bins']
)
@pytest.mark.parametrize('keep', ['best', 'last'])
def test_each_copy_is_the_attack_alone_under_its_own_keys(defense, keep, key):
  """Moves, evaluations and pulls of copy r have fold_in(., r)."""
  num, attack = 4, single(defense, keep)

  def copy(r):
    folded = lambda fn: lambda k, *a: fn(jax.random.fold_in(k, r), *a)
    return attack._replace(
      init=folded(attack.init), move=folded(attack.move),
      evaluate=folded(attack.evaluate), pull=folded(attack.pull),
    )  # fmt: skip

  _, info = jax.jit(run(restarts(attack, num), 5))(key, X, 0)
  for r in range(num):
    _, alone = jax.jit(run(copy(r), 5))(jax.random.clone(key), X, 0)
    np.testing.assert_allclose(info.distance[:, r], alone.distance, atol=1e-5)


@pytest.mark.parametrize('loop', ['host', 'scan'])
@pytest.mark.parametrize('keep', ['last', 'next'])
def test_noise_that_scales_a_gradient_has_the_key_of_its_iterate(loop, keep):
  n = 12
  x = np.stack([X] * n)
  attack = batch_attack(lambda _: single(scaled(), keep), loop=loop)
  out = attack(
    (), jax.random.key(5), 4, np.arange(n), x, np.zeros(n), np.ones(n, bool)
  )
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(5), np.arange(n)
  )
  one = lambda key, x: run(single(scaled(), keep), 4)(key, x, 0)[0]
  expected = jax.jit(jax.vmap(one))(keys, x)
  np.testing.assert_allclose(out.z, expected.z, atol=1e-5)


def test_more_rows_than_a_piece():
  n = 130
  rng = np.random.default_rng(0)
  x = rng.uniform(size=(n, 2, 3, 1)).astype(np.float32)
  args = (
    (),
    jax.random.key(5),
    3,
    np.arange(n),
    x,
    np.zeros(n),
    np.ones(n, bool),
  )
  attack = lambda loop: batch_attack(lambda _: single(binning(5)), loop=loop)(
    *args
  )
  host, scan = attack('host'), attack('scan')
  np.testing.assert_allclose(host.z, scan.z, atol=1e-5)
  np.testing.assert_allclose(host.margin, scan.margin, atol=1e-5)
  np.testing.assert_array_equal(host.evaluations, scan.evaluations)


def test_what_a_surrogate_fools_is_not_what_is_deployed():
  """g = x falls below a half at once; T = 1 stays: nobody is fooled."""
  defense = Defense(lambda key, x: jnp.ones_like(x), lambda key, x: x)
  fn = lambda x: jnp.stack([x.mean() - 0.5, 0.0])
  recipe = Recipe(
    'r',
    losses.margin,
    lambda s: steepest('linf', s),
    0.1,
    5,
    start='clean',
    backward='surrogate',
  )
  x = jnp.full((2, 2, 1), 0.6)
  attack = assemble(recipe, fn, defense, threats.linf(0.3))
  out, _ = jax.jit(run(attack, 5))(jax.random.key(0), x, 0)
  assert out.margin == 0.5 and not out.done

"""What is made on one pipeline and handed to others, and kept in between."""

import jax
import numpy as np
import optax
import pytest

from rdefense import deployed, evaluation, losses, records
from rdefense.attacks import assemble, run, sign
from rdefense.attacks.assembly import Recipe
from rdefense.data import Arrays, batches
from rdefense.defenses import identity, nearest_code
from rdefense.threats import linf

NUM, SHAPE, EPS = 30, (4, 4, 1), 0.2
_RNG = np.random.default_rng(5)
IMAGES = _RNG.integers(0, 256, (NUM, *SHAPE), np.uint8)
OWN, TWIN = _RNG.normal(size=(2, 3, 16)).astype(np.float32)
TWIN = OWN + 0.3 * TWIN
CODES = np.linspace(0, 1, 4, dtype=np.float32)[:, None]
KEY = jax.random.key(7)
RECIPE = Recipe('sign', losses.margin, sign, 0.05, 4, 'random')
ENSEMBLE = RECIPE, RECIPE._replace(name='entropy', loss=losses.cross_entropy)


def apply(params, x):
  return params @ x.ravel()


def bare(codes, alpha):
  return identity()


LABELS = (IMAGES.reshape(NUM, -1) / 255 @ OWN.T).argmax(1)
ARRAYS = Arrays(IMAGES, LABELS.astype(np.int32), 3, 'toy')
SOURCE = deployed.Target(apply, bare, TWIN)
TARGETS = {
  'bare': deployed.Target(apply, bare, OWN),
  'codes': deployed.Target(apply, nearest_code, OWN, CODES),
}


def attacked(name, submissions=None, batch_size=NUM, recipes=ENSEMBLE):
  found = [
    evaluation.attack(
      TARGETS[name], recipes, 'linf', EPS, KEY, batch,
      source=SOURCE, submissions=submissions,
    )
    for batch in batches(ARRAYS, batch_size)
  ]  # fmt: skip
  return [
    np.concatenate([getattr(part, column) for part in found])[:NUM]
    for column in ('z', 'draws', 'margin', 'gradients', 'broken_by')
  ]


@pytest.fixture
def made(monkeypatch):
  """Names of the recipes that were run."""
  names, submit = [], evaluation.submit

  def counted(source, recipe, *arguments):
    names.append(recipe.name)
    return submit(source, recipe, *arguments)

  monkeypatch.setattr(evaluation, 'submit', counted)
  return names


def test_who_is_handed_images_is_judged_as_if_they_were_made_for_it(
  tmp_path, made
):
  for name in TARGETS:
    alone = attacked(name)
    del made[:]
    handed = attacked(name, tmp_path)
    assert made == ['sign', 'entropy'] * (name == 'bare')  # once for all
    for one, other in zip(alone, handed, strict=True):
      np.testing.assert_array_equal(one, other)
    assert 0 < (handed[1][:, 0] != LABELS).sum() < NUM


def test_images_of_another_batch_are_made_anew(tmp_path, made):
  whole = attacked('codes', tmp_path, recipes=(RECIPE,))
  parts = attacked('codes', tmp_path, 12, (RECIPE,))
  assert made == ['sign'] * 4
  for one, other in zip(whole, parts, strict=True):
    np.testing.assert_array_equal(one, other)
  assert attacked('bare', tmp_path, 12, (RECIPE,)) and len(made) == 4


def test_a_damaged_file_is_named(tmp_path):
  attacked('codes', tmp_path)
  path = records.shard_path(tmp_path / 'sign', 0)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError, match=f'{path} is truncated or damaged'):
    attacked('bare', tmp_path)


@pytest.mark.parametrize('alpha', [3.0, 30.0])
def test_the_steepness_of_a_recipe_is_that_of_the_surrogate(alpha):
  recipe = Recipe(
    'steep', losses.margin, optax.sgd, 0.02, 3, 'clean',
    alpha=alpha, keep='last', every_example=True,
  )  # fmt: skip
  (batch,) = batches(ARRAYS, NUM)
  found = evaluation.attack(
    TARGETS['codes'], (recipe,), 'linf', EPS, KEY, batch
  )
  alone = assemble(
    recipe, lambda x: apply(OWN, x), nearest_code(CODES, alpha), linf(EPS)
  )
  z = jax.vmap(lambda x, y: run(alone, 3)(KEY, x, y)[0].z)
  expected = jax.jit(z)(batch.image, batch.label)
  np.testing.assert_allclose(found.z, expected, atol=1e-5)
  assert np.abs(found.z - batch.image).max() > 1e-3

"""Images through a defense, and right answers on whole batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import api, defenses
from tests.api.linear import IMAGES, LABELS, NOISY, SHAPE, logits_fn


@pytest.mark.parametrize('surrogate', [False, True])
def test_transform_is_the_defense_on_each_image(surrogate, key):
  defense = defenses.binning(3)
  got = api.transform(defense, surrogate)(key, IMAGES)
  fn = defense.surrogate if surrogate else defense.apply
  # Compiled or not, sums of three products may round differently.
  expected = jax.vmap(fn, (None, 0))(key, IMAGES)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_example_i_has_the_key_folded_with_i(key):
  got = api.transform(NOISY)(key, IMAGES)
  for i, image in enumerate(got):
    noise = jax.random.normal(jax.random.fold_in(key, i), SHAPE)
    np.testing.assert_allclose(image, IMAGES[i] + noise, rtol=1e-5, atol=1e-6)
  assert len(np.unique(got - IMAGES)) == IMAGES.size


def test_predictions_and_accuracy_are_those_of_numpy(key):
  predict = api.predict(logits_fn, defenses.identity())
  np.testing.assert_array_equal(predict(key, IMAGES), LABELS)
  accuracy = api.accuracy(logits_fn, defenses.identity())
  wrong = LABELS.copy()
  wrong[:2] = (wrong[:2] + 1) % 3
  assert accuracy(key, IMAGES, LABELS) == 1.0
  assert accuracy(key, IMAGES, wrong) == pytest.approx(0.6)


@pytest.mark.parametrize(
  'convert',
  [
    np.asarray,
    jnp.asarray,
    lambda a: a.astype('f8'),
    lambda a: jnp.asarray(a, jnp.bfloat16),
    lambda a: a.tolist(),
  ],
  ids=['numpy', 'jax', 'float64', 'bfloat16', 'list'],
)
def test_arrays_of_other_libraries_and_lists_are_welcome(convert, key):
  accuracy = api.accuracy(logits_fn, defenses.identity())
  labels = LABELS.tolist()
  assert accuracy(key, convert(IMAGES), labels) == 1.0

"""Any number of images, so many at once: the same numbers, and a bar."""

import jax
import numpy as np
import pytest

from rdefense import api, defenses
from tests.api.linear import IMAGES, LABELS, NOISY, logits_fn, make_attack

CALLS = {
  'transform': lambda size: api.transform(NOISY, batch_size=size),
  'predict': lambda size: api.predict(logits_fn, NOISY, size),
  'accuracy': lambda size: (
    lambda key, images: api.accuracy(logits_fn, NOISY, size)(
      key, images, LABELS
    )
  ),
  'attack': lambda size: (
    lambda key, images: make_attack(batch_size=size)(key, images, LABELS)
  ),
  'draws': lambda size: (
    lambda key, images: make_attack(NOISY, num_draws=3, batch_size=size)(
      key, images, LABELS
    )
  ),
}


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('size', [1, 2, 5])
def test_numbers_do_not_depend_on_how_many_are_seen_at_once(name, size, key):
  found = CALLS[name](size)(key, IMAGES)
  whole = CALLS[name](1000)(jax.random.clone(key), IMAGES)
  assert np.shape(found) == np.shape(whole)
  np.testing.assert_allclose(found, whole, rtol=1e-6)


@pytest.mark.parametrize('size, shown', [(2, True), (5, False)])
def test_a_bar_tells_how_many_have_withstood(size, shown, key, capsys):
  z = make_attack(num_steps=8, batch_size=size)(key, IMAGES, LABELS)
  right = api.predict(logits_fn, defenses.identity())(key, z) == LABELS
  told = capsys.readouterr().err
  assert (f'withstood {right.sum()}/5' in told) == shown
  assert shown or not told


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('size, words', [(0, 'at least 1'), (2.5, 'whole')])
def test_a_batch_is_a_number_of_images(name, size, words, key):
  with pytest.raises(ValueError, match=f'batch_size={size} must be .*{words}'):
    CALLS[name](size)(key, IMAGES)

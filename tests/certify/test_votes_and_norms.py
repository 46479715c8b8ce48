"""What certificates are given: votes, norms, numbers of images, noise."""

import jax
import numpy as np
import optax
import pytest

from rdefense import (
  certification,
  deployed,
  evaluation,
  losses,
  training,
  vote_certification,
)
from rdefense.attacks import sign
from rdefense.attacks.assembly import Recipe
from rdefense.certify import votes
from rdefense.certify.margins import Certified
from rdefense.certify.reachable import box, reachable
from rdefense.data import Arrays, batches
from rdefense.data.sources import to_unit
from rdefense.defenses import gaussian, nearest_code
from rdefense.models import Classifier


def test_a_certifier_gets_what_the_noise_meets_and_the_numbers_of_images(
  tmp_path,
):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (7, 4, 4, 1), np.uint8)
  arrays = Arrays(images, np.zeros(7, np.int32), 2, 'toy')
  voted = {
    'index': np.arange(7),
    'label': np.zeros(7, int),
    'votes': np.stack([np.arange(93, 100), np.arange(7, 0, -1)], 1),
  }
  seen = []

  def certifier(images, eps, shares, index):
    seen.append((images, np.full(len(images), eps), shares, index))
    return Certified(np.zeros(len(images)), {'kl': np.ones(len(images))})

  vote_certification.certify(
    voted, arrays, lambda x: x[:, ::2, ::2], certifier, 0.1, 0.01, tmp_path, 3
  )
  met, eps, shares, index = map(np.concatenate, zip(*seen, strict=True))
  np.testing.assert_array_equal(met, to_unit(images)[:, ::2, ::2])
  assert index.tolist() == list(range(7)) and (eps == 0.1).all()
  expected = votes.shares(voted['votes'], voted['label'], 0.009)
  np.testing.assert_allclose(shares, expected, rtol=1e-12)


def test_what_is_no_bound_is_tallied_as_it_is_printed():
  rows = {
    'certificate/seen': np.array([0.5, 0.3, 0.2996, 0.2994, 0.6, -0.5]),
    'certificate/divergence': np.array(
      [0.13, 0.08, 0.0899, 0.0899, 0.179, 0.01]
    ),
    'certificate/best': np.array([1.0, 1, 0, -1, 1, 1]),
  }
  found = vote_certification.tallies(rows)
  # sqrt(U): 0.36, 0.283, 0.29983 twice, 0.423, 0.1; sqrt(2 U): 0.51, 0.4, ...
  assert found['as_coded'].correct == 4  # 0.2996 is rounded up to 0.300
  assert found['as_printed'].correct == 1
  assert found['best'].correct == 4


def test_norms_reach_the_certificate_of_a_dataset(tmp_path):
  rng = np.random.default_rng(0)
  W = rng.normal(size=(3, 12)).astype(np.float32)
  apply = lambda params, x: params @ x.reshape(-1)
  codes = rng.random((5, 3), np.float32)
  arrays = Arrays(
    rng.integers(0, 256, (20, 2, 2, 3), np.uint8),
    np.zeros(20, np.int32),
    3,
    'toy',
  )
  for norm in ('linf', 'l2', 'l1'):
    target = deployed.Target(
      apply, lambda c, a, norm=norm: nearest_code(c, a, norm), W, codes
    )
    rows = certification.certify(target, arrays, 0.05, tmp_path / norm, norm)
    sets = [reachable(x, codes, 0.05, norm) for x in to_unit(arrays.images)]
    ambiguous = [int((s.sum(-1) > 1).sum()) for s in sets]
    assert rows['certificate/ambiguous'].tolist() == ambiguous


def test_norms_reach_the_boxes_of_training():
  rng = np.random.default_rng(0)
  codes = rng.random((5, 3), np.float32)
  x = rng.random((256, 2, 2, 3), np.float32)
  net = Classifier(
    lambda key, x: {'w': jax.random.normal(key, (2, x.size))},
    lambda params, x: params['w'] @ x.ravel(),
    2,
  )
  y = np.zeros(256, np.int32)
  tx = optax.sgd(0.0)
  found = {}
  for norm in ('linf', 'l1'):
    state = training.initial(net, tx, jax.random.key(0), x[0])
    w = np.array(state.params['w'])
    _, metrics = training.certified_updater(net, tx, codes, norm)(
      state, x, y, 0.03, 0.5
    )
    proved = []
    for image in x:
      low, high = (
        np.asarray(e).ravel()
        for e in box(reachable(image, codes, 0.03, norm), codes)
      )
      up, down = np.maximum(w, 0), np.minimum(w, 0)
      least, most = up @ low + down @ high, up @ high + down @ low
      proved.append(least[0] >= most[1])
    assert metrics['certified'] == pytest.approx(np.mean(proved))
    found[norm] = np.mean(proved)
  assert found['linf'] != found['l1']


NUM, SHAPE = 24, (4, 4, 1)
_R = np.random.default_rng(2)
PARAMS = _R.normal(size=(3, 16)).astype(np.float32)
IMAGES = _R.integers(0, 256, (NUM, *SHAPE), np.uint8)
apply = lambda params, x: params @ x.ravel()
LABELS = (
  (to_unit(IMAGES).reshape(NUM, -1) @ PARAMS.T).argmax(1).astype(np.int32)
)


def test_what_is_beaten_is_not_attacked_again():
  target = deployed.Target(
    apply,
    lambda c, a: nearest_code(c, a),
    PARAMS,
    np.linspace(0, 1, 9, dtype='f')[:, None],
  )
  deployed_labels = deployed.judge(
    target, jax.random.key(0), np.arange(NUM), to_unit(IMAGES), LABELS
  )[0][:, 0]
  (batch,) = batches(Arrays(IMAGES, deployed_labels, 3, 'toy'), NUM)
  one = Recipe('one', losses.margin, sign, 0.05, 4, 'lower', 'identity')
  two = one._replace(name='two', start='upper')
  key = jax.random.key(1)
  run = lambda *r: evaluation.attack(target, r, 'linf', 0.12, key, batch)
  alone, both = run(one), run(one, two)
  beaten = alone.broken_by == 0
  assert 0 < beaten.sum() < NUM
  np.testing.assert_array_equal(both.gradients[beaten], alone.gradients[beaten])
  assert (both.gradients > alone.gradients)[~beaten].all()


def test_gradients_are_counted_draw_by_draw():
  target = deployed.Target(
    apply, lambda c, a: gaussian(0.2), PARAMS, None, num_draws=3
  )
  (batch,) = batches(Arrays(IMAGES, LABELS, 3, 'toy'), NUM)
  for chunk in (1, 2, 6):
    recipe = Recipe(
      'eot',
      losses.cross_entropy,
      sign,
      0.02,
      3,
      num_draws=6,
      num_restarts=2,
      every_example=True,
      chunk=chunk,
    )
    found = evaluation.attack(
      target, (recipe,), 'linf', 0.1, jax.random.key(0), batch
    )
    np.testing.assert_array_equal(found.gradients, (3 + 1) * 6 * 2)


def test_the_name_of_a_recipe_seeds_its_starts():
  target = deployed.Target(
    apply, lambda c, a: nearest_code(c, a), PARAMS, np.float32([[0.0], [1.0]])
  )
  (batch,) = batches(Arrays(IMAGES, LABELS, 3, 'toy'), NUM)
  one = Recipe(
    'one', losses.margin, sign, 0.05, 0, 'random', every_example=True
  )
  found = [
    evaluation.attack(target, (r,), 'linf', 0.1, jax.random.key(1), batch).z
    for r in (one, one, one._replace(name='two'))
  ]
  np.testing.assert_array_equal(found[0], found[1])
  assert (found[0] != found[2]).all((1, 2, 3)).mean() > 0.5

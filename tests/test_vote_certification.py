"""Votes and bounds over a small dataset: rows, resume, what they add up to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import build, deployed, vote_certification
from rdefense.certify import randomized, votes
from rdefense.certify.margins import Certified
from rdefense.data.sources import Arrays, to_unit

NUM_VOTES, DELTA, EPS = 400, 0.01, 0.02
DEFENSE = {
  'name': 'rand_disc_fixed',
  'codes': ((0.0,), (1.0,)),
  'sigma': 0.2,
}


@pytest.fixture(scope='module')
def problem():
  """Is the upper half of a 4x4 image brighter than the lower one?"""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (13, 4, 4, 1), dtype=np.uint8)
  labels = rng.integers(0, 2, 13)
  images[labels == 0, :2] |= 192
  images[labels == 1, 2:] |= 192
  apply = lambda params, x: params * jnp.stack([x[:2].sum(), x[2:].sum()])
  target = deployed.Target(
    apply, build.defend(DEFENSE), np.float32(1), num_draws=3
  )
  return target, Arrays(images, labels.astype(np.int32), 2, 'toy')


@pytest.fixture(scope='module')
def found(problem, tmp_path_factory):
  target, arrays = problem
  where = tmp_path_factory.mktemp('certificates')
  return where, *_run(target, arrays, where)


def _run(target, arrays, where, seed=0):
  key = jax.random.key(seed)
  voted = vote_certification.count_votes(
    target, arrays, key, where / 'votes', NUM_VOTES, DELTA, shard_size=5
  )
  see, certifier = build.certifier(DEFENSE, key, DELTA / 10)
  rows = vote_certification.certify(
    voted, arrays, see, certifier, EPS, DELTA, where / 'eps', shard_size=5
  )
  return voted, rows


def test_votes_are_those_of_the_pipeline(problem, found):
  target, arrays = problem
  _, voted, _ = found
  assert (voted['votes'].sum(-1) == NUM_VOTES).all()
  draws, _ = deployed.judge(
    target._replace(num_draws=NUM_VOTES),
    jax.random.key(0),
    np.arange(13),
    arrays.images / np.float32(255),
    arrays.labels,
  )
  assert (voted['votes'][:, 1] == (draws == 1).sum(-1)).all()


def test_bounds_are_those_of_the_certifier(problem, found):
  _, arrays = problem
  _, voted, rows = found
  shares = votes.shares(voted['votes'], arrays.labels, DELTA * 0.9)
  certify = randomized.fixed_codes(np.array([[0.0], [1.0]]), 0.2)
  direct = certify(to_unit(arrays.images), EPS, shares)
  for name, margin in direct.margin.items():
    # Shards have fewer pixel values, so sums are taken in another order.
    np.testing.assert_allclose(rows[f'certificate/{name}'], margin, rtol=1e-9)
  best = np.max([rows[f'certificate/{n}'] for n in direct.margin], 0)
  assert (rows['certificate/best'] == best).all()


def test_a_resumed_run_computes_only_what_is_missing(problem, found):
  """Another key would give other votes: those on disk are kept."""
  target, arrays = problem
  where, voted, rows = found
  (where / 'votes/shard-00002.npz').unlink()
  again, after = _run(target, arrays, where, seed=1)
  assert (again['votes'][:10] == voted['votes'][:10]).all()
  assert (again['votes'][10:] != voted['votes'][10:]).any()
  assert (after['certificate/best'] == rows['certificate/best']).all()


def test_tallies_are_in_their_order(found):
  tallies = vote_certification.tallies(found[2])
  assert list(tallies) == list(vote_certification.RULES)
  assert tallies['best'].correct >= tallies['pinsker'].correct
  assert tallies['as_coded'].correct >= tallies['as_printed'].correct
  assert 0 < tallies['best'].correct <= 13


def test_rules_that_are_not_asked_for_are_left_out(found):
  rules = [r for r in vote_certification.RULES if r != 'as_coded']
  assert list(vote_certification.tallies(found[2], rules)) == rules


def test_wrong_votes_are_found_and_bounded():
  certified = {
    'index': np.arange(4),
    'certificate/best': np.array([0.5, 0.5, 0.1, -1.0]),
  }
  attacked = {
    'index': np.array([1, 2, 3]),
    'label': np.array([0, 0, 0]),
    'verdict/draws': np.array([[0, 0, 1], [1, 1, 0], [1, 1, 1]]),
  }
  wrong, expected = vote_certification.wrong_votes(certified, attacked, 2, 0.1)
  assert wrong.tolist() == [2]
  # Certificates of three images may fail, and the majorities of two.
  np.testing.assert_allclose(
    expected, 3 * 0.1 + np.exp(-3 * 0.25 / 2) + np.exp(-3 * 0.01 / 2)
  )


def test_certificates_that_fail_with_their_delta_are_expected():
  """Images that are right half of the time: every certificate is a failure."""
  delta, draws = 0.2, 60
  rng = np.random.default_rng(0)
  truth, images = np.array([0.5, 0.5]), 1000
  voted = rng.multinomial(draws, truth, images)
  labels = np.zeros(images, int)
  margin = votes.shares(voted, labels, delta).sum(-1) - 1
  certified = {'index': np.arange(images), 'certificate/best': margin}
  attacked = {
    'index': np.arange(images),
    'label': labels,
    'verdict/draws': rng.integers(0, 2, (images, 101)),
  }
  wrong, expected = vote_certification.wrong_votes(
    certified, attacked, 2, delta
  )
  assert 10 < len(wrong) <= expected


def test_too_few_votes_are_refused_before_any_work(problem, tmp_path):
  target, arrays = problem
  with pytest.raises(ValueError, match='num_votes=7 must be at least 8'):
    vote_certification.count_votes(
      target, arrays, jax.random.key(0), tmp_path, 7, DELTA
    )
  assert not list(tmp_path.iterdir())


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


def test_a_network_of_more_classes_than_the_data_is_refused(problem, tmp_path):
  """Votes for the others would be lost, and shares of what is left too high."""
  target, arrays = problem
  wider = target._replace(
    apply=lambda params, x: jnp.append(target.apply(params, x), x.sum())
  )
  with pytest.raises(ValueError, match='a draw is of class 2, and toy has 2'):
    _run(wider, arrays, tmp_path)

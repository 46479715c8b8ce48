"""Rows of decided datasets: resumed, counted, and never against an attack."""

import jax
import numpy as np
import pytest

from rdefense import build, certification, deployed, evaluation, records
from rdefense.attacks import recipes
from rdefense.certify.decide import CERTIFIED, REFUTED, STATUS
from rdefense.certify.reachable import reachable
from rdefense.data import Arrays, to_unit
from rdefense.defenses import identity, nearest_code
from tests.certify.test_decide import a_problem, dense

EPS = 0.15


@pytest.fixture(scope='module')
def problem():
  params, codes, images, labels = a_problem(5, count=30)
  images = np.rint(255 * images).astype(np.uint8)
  target = deployed.Target(
    dense, lambda codes, alpha: nearest_code(codes, alpha), params, codes
  )
  labels = labels.astype(np.int32)
  labels[:5] = (labels[:5] + 1) % 3  # wrong from the start
  return target, Arrays(images, labels, 3, 'toy')


@pytest.fixture(scope='module')
def decided(problem, tmp_path_factory):
  target, arrays = problem
  where = tmp_path_factory.mktemp('certificates')
  return where, certification.certify(
    target, arrays, EPS, where, shard_size=8, batch_size=8
  )


def test_rows_are_as_promised(decided):
  _, rows = decided
  assert rows['index'].tolist() == list(range(30))
  status = rows['certificate/status']
  assert {CERTIFIED, REFUTED} <= set(status.tolist())
  assert (status[:5] != CERTIFIED).all()
  proved = rows['certificate/lower'] > 0
  assert (status[proved] == CERTIFIED).all()
  assert rows['certificate/ambiguous'].max() <= 9
  counts = certification.tallies(rows)
  assert list(counts) == list(STATUS)
  assert sum(tally.correct for tally in counts.values()) == 30
  assert counts['certified'].correct == (status == CERTIFIED).sum()


def test_a_resumed_run_computes_only_what_is_missing(problem, decided):
  target, arrays = problem
  where, rows = decided
  records.shard_path(where, 1).unlink()
  left = {p: p.stat().st_mtime_ns for p in where.glob('*.npz')}
  again = certification.certify(
    target, arrays, EPS, where, shard_size=8, batch_size=8
  )
  assert {p: p.stat().st_mtime_ns for p in left} == left
  for name, values in rows.items():
    if name != 'certificate/seconds':
      np.testing.assert_array_equal(again[name], values)


def test_no_attack_breaks_a_certificate(problem, decided, tmp_path):
  target, arrays = problem
  _, rows = decided
  attacked = evaluation.evaluate(
    target,
    arrays,
    recipes.adaptive(EPS, 10, (10.0,)),
    'linf',
    EPS,
    jax.random.key(0),
    tmp_path,
    batch_size=30,
  )
  assert not certification.contradictions(rows, attacked).size
  proved = np.flatnonzero(rows['certificate/status'] == CERTIFIED)
  predicted = attacked['verdict/predicted'].copy()
  predicted[proved[0]] = (arrays.labels[proved[0]] + 1) % 3
  broken = attacked | {'verdict/predicted': predicted}
  assert certification.contradictions(rows, broken).tolist() == [proved[0]]


def test_a_defense_without_codes_has_no_certificate(problem, tmp_path):
  target, arrays = problem
  bare = target._replace(codes=None, defend=lambda codes, alpha: identity())
  with pytest.raises(ValueError, match='target has no codes: .* none for'):
    certification.certify(bare, arrays, EPS, tmp_path)


def test_a_defense_with_pooling_has_no_certificate(problem, tmp_path):
  target, arrays = problem
  side = arrays.images.shape[1]
  pooled = build.defend(
    {
      'name': 'nearest_code',
      'pooling': {'window': 2, 'stride': 1, 'size': side},
    }
  )
  with pytest.raises(ValueError, match='has it pooling, or another norm'):
    certification.certify(target._replace(defend=pooled), arrays, 0.1, tmp_path)
  assert not list(tmp_path.iterdir())


def test_what_is_decided_up_to_a_number_of_pixels():
  def rows(status, ambiguous):
    return {
      'certificate/status': np.array(status),
      'certificate/ambiguous': np.array(ambiguous),
    }

  up_to = certification.decided_up_to
  assert up_to(rows([CERTIFIED, 0, REFUTED, 0], [3, 9, 12, 7])) == 6
  assert up_to(rows([CERTIFIED, REFUTED], [3, 5])) == 5
  assert up_to(rows([0], [0])) == -1


def test_tables_decide_as_linear_bounds_do(problem, decided, tmp_path):
  target, arrays = problem
  _, rows = decided
  again = certification.certify(
    target,
    arrays,
    EPS,
    tmp_path,
    num_examples=8,
    batch_size=8,
    bounds='tables',
    leaf_size=1,
    max_patterns=4,
  )
  both = [r['certificate/status'][:8] for r in (rows, again)]
  np.testing.assert_array_equal(*both)
  with pytest.raises(ValueError, match="bounds='other'"):
    certification.certify(target, arrays, EPS, tmp_path, bounds='other')


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

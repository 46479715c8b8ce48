"""Brackets of radii: around what is known, and never against a proof."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import api, defenses, losses, threats
from rdefense.analysis import robust_radius
from rdefense.analysis.robust_radius import Bracket

RADII = st.lists(st.floats(-0.5, 2), min_size=1, max_size=8)


@settings(max_examples=60)
@given(RADII, st.integers(0, 12))
def test_a_perfect_attack_is_bracketed(truth, num_steps):
  truth = np.array(truth)
  calls = []

  def fooled(eps):
    calls.append(eps)
    return eps >= truth

  found = robust_radius.bisect(fooled, len(truth), 1.0, num_steps)
  assert len(calls) == 2 + num_steps
  np.testing.assert_array_equal(found.withstood == -np.inf, truth <= 0)
  np.testing.assert_array_equal(found.fooled == np.inf, truth > 1)
  inside = (truth > 0) & (truth <= 1)
  assert (found.withstood < truth)[inside].all()
  assert (truth <= found.fooled)[inside].all()
  width = (found.fooled - found.withstood)[inside]
  np.testing.assert_array_equal(width, 0.5**num_steps)  # exact in binary


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_any_attack_leaves_a_bracket_of_what_it_said(seed):
  rng, said = np.random.default_rng(seed), {0: {}, 1: {}, 2: {}}

  def moody(eps):
    answer = rng.random(3) < 0.5
    for i in range(3):
      answer[i] = said[i].setdefault(eps[i], bool(answer[i]))
    return answer

  found = robust_radius.bisect(moody, 3, 1.0, 6)
  for i in range(3):
    if said[i][0.0]:
      assert (found.withstood[i], found.fooled[i]) == (-np.inf, 0)
      continue
    assert found.withstood[i] < found.fooled[i]
    assert not said[i][found.withstood[i]]
    assert found.fooled[i] == np.inf or said[i][found.fooled[i]]
    # What happens at radii above a success does not matter.
    assert found.fooled[i] == min(
      [eps for eps, hit in said[i].items() if hit], default=np.inf
    )


def test_radii_of_a_real_attack_are_the_margins_of_a_threshold(key):
  # A linear classifier's radius is known; the ball is cut to [0, 1].
  logits_fn = lambda x: jnp.stack([x.sum(), 4 * 0.25 - x.sum()])
  level = np.float32([0.2, 0.3, 0.45, 0.9])  # means; 0.125 decides
  images = np.ones((4, 2, 2, 1), np.float32) * level[:, None, None, None]

  def run(eps, rows):
    attack = api.attack(
      logits_fn, defenses.identity(), threats.linf(eps), losses.margin,
      optax.chain(optax.scale_by_sign(), optax.scale(-eps)), num_steps=1,
      start='clean',
    )  # fmt: skip
    z = attack(jax.random.clone(key), images[rows], np.zeros(len(rows), int))
    wrong = api.predict(logits_fn, defenses.identity())
    return np.asarray(wrong(jax.random.clone(key), z)) != 0

  fooled = robust_radius.each_radius(run)
  found = robust_radius.bisect(fooled, 4, 0.5, num_steps=4)
  radius = level - 0.125
  assert (found.withstood <= radius + 1e-6).all()  # float32 sums of four
  assert (radius <= found.fooled + 1e-6)[:3].all() and found.fooled[3] == np.inf
  joined = robust_radius.join(np.array([0.07, -1, np.nan, 0.6]), found)
  assert joined.lower.tolist() == [0.07, -np.inf, -np.inf, 0.6]
  assert joined.withstood[3] == 0.6 and joined.withstood[1] > 0


def test_each_example_is_asked_at_its_own_radius_only():
  seen = []

  def run(eps, rows):
    seen.extend((int(row), eps) for row in rows)
    return np.zeros(len(rows), bool)

  fooled = robust_radius.each_radius(run)
  fooled(np.array([0.5, 0.25, 0.5]))
  assert sorted(seen) == [(0, 0.5), (1, 0.25), (2, 0.5)]
  fooled(np.array([0.5, 0.125, 0.25]))  # of which one is known
  assert seen[3:] == [(1, 0.125), (2, 0.25)]


def test_a_proof_at_the_radius_of_an_attack_is_a_contradiction():
  bracket = Bracket(np.array([0.1, -np.inf]), np.array([0.2, 0.0]))
  robust_radius.join(np.array([0.1999, -1]), bracket)
  with pytest.raises(ValueError, match='certified 0.2, fooled at 0.2'):
    robust_radius.join(np.array([0.2, np.nan]), bracket)
  with pytest.raises(ValueError, match='number 1: certified 0, fooled at 0'):
    robust_radius.join(np.array([0.0, 0.0]), bracket)
  with pytest.raises(ValueError, match='2 examples are fooled inside'):
    robust_radius.join(np.array([0.5, 0.5]), bracket)
  with pytest.raises(ValueError, match='of the same examples'):
    robust_radius.join(np.zeros(3), bracket)


@pytest.mark.parametrize(
  'options, words',
  [
    ({'largest': 0}, 'largest=0 must be positive'),
    ({'num_steps': -1}, 'num_steps=-1 must be at least 0'),
    ({'fooled': lambda eps: eps}, 'one answer an example'),
    ({'fooled': lambda eps: True}, 'one answer an example'),
  ],
  ids=['largest', 'num_steps', 'dtype', 'shape'],
)
def test_questions_without_an_answer_are_refused(options, words):
  default = {'fooled': lambda eps: eps > 0, 'largest': 1.0, 'num_steps': 1}
  with pytest.raises(ValueError, match=words):
    robust_radius.bisect(num_examples=2, **(default | options))

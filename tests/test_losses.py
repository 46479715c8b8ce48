"""Losses against NumPy in float64, with their gradients in closed form."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from rdefense import losses

NUM_CLASSES = 5
LOGITS = hnp.arrays(
  np.float32,
  NUM_CLASSES,
  elements=st.floats(-30, 30, width=32, allow_subnormal=False),
)
LABELS = st.integers(0, NUM_CLASSES - 1)
ONE_HOT = np.eye(NUM_CLASSES)


def literal_margin(logits, label):
  logits = logits.astype(np.float64)
  others = [i for i in range(NUM_CLASSES) if i != label]
  rival = max(others, key=lambda i: logits[i])
  return logits[label] - logits[rival], ONE_HOT[label] - ONE_HOT[rival]


def literal_cross_entropy(logits, label):
  logits = logits.astype(np.float64)
  value = logits[label] - special.logsumexp(logits)
  return value, ONE_HOT[label] - special.softmax(logits)


def literal_cw(logits, label):
  value, grad = literal_margin(logits, label)
  return (value, grad) if value > -3 else (-3, 0 * grad)


def literal_log_probability(logits, label):
  p = special.softmax(logits.astype(np.float64))
  grad = p[label] * (ONE_HOT[label] - p) / (0.01 + p[label])
  return np.log(0.01 + p[label]), grad


def literal_dlr(logits, label):
  margin, grad = literal_margin(logits, label)
  first, _, third = np.argsort(-logits)[:3]
  spread = logits[first].astype(np.float64) - logits[third]
  ends = ONE_HOT[first] - ONE_HOT[third]
  return margin / spread, (grad - margin / spread * ends) / spread


def literal_dlr_towards_the_next(logits, label):
  target = (label + 1) % NUM_CLASSES
  gap = logits[label].astype(np.float64) - logits[target]
  first, _, third, fourth = np.argsort(-logits)[:4]
  middle = (logits[third].astype(np.float64) + logits[fourth]) / 2
  spread = logits[first] - middle
  ends = ONE_HOT[first] - (ONE_HOT[third] + ONE_HOT[fourth]) / 2
  grad = ONE_HOT[label] - ONE_HOT[target]
  return gap / spread, (grad - gap / spread * ends) / spread


LOSSES = {
  'margin': (losses.margin, literal_margin),
  'cross_entropy': (losses.cross_entropy, literal_cross_entropy),
  'cw': (losses.cw(3.0), literal_cw),
  'log_probability': (losses.log_probability(), literal_log_probability),
  'dlr': (losses.dlr, literal_dlr),
  'dlr_towards': (losses.dlr_towards(1), literal_dlr_towards_the_next),
}
RATIOS = ('dlr', 'dlr_towards')
COMPILED = {
  name: jax.jit(jax.value_and_grad(loss)) for name, (loss, _) in LOSSES.items()
}


@jax.jit
def numbered(number, logits, label):
  every = [loss for loss, _ in LOSSES.values()]
  return jax.value_and_grad(losses.numbered(every, number))(logits, label)


@pytest.mark.parametrize('name', LOSSES)
@settings(max_examples=30)
@given(logits=LOGITS, label=LABELS)
def test_value_and_gradient_are_the_formula_of_the_docstring(
  name, logits, label
):
  # Where the largest other logit is not unique, or at the kink of cw, the
  # gradient is one of several.
  rivals = np.sort(np.delete(logits, label))
  assume(rivals[-1] > rivals[-2])
  value, grad = LOSSES[name][1](logits, label)
  assume(name != 'cw' or abs(value + 3) > 1e-5 or value == -3)
  assume(name != 'cw' or literal_margin(logits, label)[0] != -3)
  # A ratio to a spread of nothing is as large as it likes.
  apart = np.diff(np.sort(logits)).min()
  assume(name not in RATIOS or apart > 0.01)
  got = COMPILED[name](logits, label)
  # Logits below 32 in float32: an ulp is 2e-6, and a few are added up.
  np.testing.assert_allclose(got[0], value, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(got[1], grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=50)
@given(logits=LOGITS, label=LABELS)
def test_margin_is_negative_exactly_where_the_prediction_is_another(
  logits, label
):
  assume(len(set(logits)) == NUM_CLASSES)  # argmax breaks ties by index
  margin = COMPILED['margin'](logits, label)[0]
  assert (margin < 0) == (logits.argmax() != label)


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('label', [0, 1], ids=['won', 'lost'])
def test_huge_logits_leave_value_and_gradient_finite(name, label):
  logits = np.array([3e4, -3e4, 0, 0, 1], np.float32)
  value, grad = COMPILED[name](logits, label)
  assert np.isfinite(value) and np.isfinite(grad).all()


@pytest.mark.parametrize('lead', [10, 16, 17, 20, 40, 80])
@pytest.mark.parametrize('name', ['cross_entropy', 'log_probability'])
def test_a_sure_prediction_is_descended_on_by_its_own_logit_too(name, lead):
  logits = np.array([lead, 0.5, 0, -1, -1], np.float32)
  grad = COMPILED[name](logits, 0)[1]
  odds = np.exp(logits[1:].astype(np.float64) - lead)
  expected = np.append(odds.sum(), -odds) / (1 + odds.sum())
  if name == 'log_probability':
    p = 1 / (1 + odds.sum())
    expected *= p / (0.01 + p)
  np.testing.assert_allclose(grad, expected, rtol=1e-4)


@pytest.mark.parametrize('number, name', [*enumerate(LOSSES)])
@pytest.mark.parametrize('scale', [1, 1e4], ids=['usual', 'huge'])
def test_a_numbered_loss_is_that_loss(number, name, scale):
  logits = scale * np.array([3, -3, 0, 2.5, 1], np.float32)
  got = numbered(np.int32(number), logits, 3)
  for mine, its in zip(got, COMPILED[name](logits, 3), strict=True):
    np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', [n for n in LOSSES if n not in RATIOS])
def test_a_gradient_step_lowers_the_logit_of_the_label(name):
  logits = np.array([1.0, 0.5, 0.2, 0.0, -1.0], np.float32)
  grad = COMPILED[name](logits, 0)[1]
  assert grad[0] > 0 and (grad[1:] <= 0).all() and grad[1:].min() < 0


@pytest.mark.parametrize('name', RATIOS)
@settings(max_examples=30)
@given(
  order=st.permutations([-2.0, -1.0, 0.5, 1.0, 4.0]),
  label=LABELS,
  scale=st.floats(1e-3, 1e3),
  shift=st.floats(-10, 10),
)
def test_a_ratio_does_not_see_scale_and_shift(name, order, label, scale, shift):
  logits = np.array(order, np.float32)
  value = COMPILED[name](logits, label)[0]
  moved = COMPILED[name](np.float32(scale * logits + shift * scale), label)[0]
  np.testing.assert_allclose(moved, value, rtol=1e-4)


def test_a_ratio_needs_its_classes():
  with pytest.raises(ValueError, match='2 classes, .* at least 3'):
    losses.dlr(jnp.zeros(2), 0)
  with pytest.raises(ValueError, match='3 classes, .* at least 4'):
    losses.dlr_towards(1)(jnp.zeros(3), 0)
  with pytest.raises(ValueError, match='offset=0'):
    losses.dlr_towards(0)
  with pytest.raises(ValueError, match='offset=5 of 5 classes'):
    losses.dlr_towards(5)(jnp.zeros(5), 0)


def test_a_ratio_of_equal_logits_is_finite():
  value, grad = COMPILED['dlr'](np.zeros(NUM_CLASSES, np.float32), 2)
  assert value == 0 and np.isfinite(grad).all()


@pytest.mark.parametrize('loss', [losses.margin, losses.cross_entropy])
def test_the_loss_towards_a_class_is_lowest_when_it_wins(loss):
  aimed = losses.towards_class(loss, 1)
  won, lost = jnp.array([0.0, 4.0, 1.0]), jnp.array([4.0, 0.0, 1.0])
  for label in (0, 2):
    assert aimed(won, label) == -loss(won, 1)
    assert aimed(won, label) < aimed(lost, label)
  assert aimed(won, 1) == loss(won, 1)  # it is that class: away from it


@pytest.mark.parametrize(
  'aim, message',
  [
    (losses.towards(losses.margin, 3), 'offset=3 of 3 classes.*take 1 to 2'),
    (losses.towards(losses.margin, 6), 'offset=6 of 3 classes'),
    (losses.towards_class(losses.margin, 3), 'target=3 is no class'),
  ],
)
def test_no_attack_aims_at_the_true_class_or_at_none(aim, message):
  with pytest.raises(ValueError, match=message):
    aim(jnp.zeros(3), 1)


@pytest.mark.parametrize('label', range(3))
def test_offsets_together_aim_at_every_other_class_once(label):
  logits = jnp.array([0.5, 3.0, -1.0])
  aimed = [losses.towards(losses.margin, k)(logits, label) for k in (1, 2)]
  others = [-losses.margin(logits, t) for t in range(3) if t != label]
  assert sorted(map(float, aimed)) == sorted(map(float, others))
  wrapped = losses.towards(losses.margin, 2)(logits, label)
  assert wrapped == -losses.margin(logits, (label + 2) % 3)


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: losses.cw(-1.0), 'kappa=-1.0'),
    (lambda: losses.log_probability(0.0), 'offset=0.0 must be positive'),
    (lambda: losses.towards_class(losses.margin, -1), 'target=-1'),
    (lambda: losses.towards_class(losses.margin, 1.5), 'target=1.5.*whole'),
    (lambda: losses.towards(losses.margin, 0), 'offset=0.*true label'),
    (lambda: losses.numbered((), 0), 'losses is empty'),
  ],
  ids=['kappa', 'log_probability', 'target', 'half', 'offset', 'losses'],
)
def test_bad_constants_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()

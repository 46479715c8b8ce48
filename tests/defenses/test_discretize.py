"""Discretization against exact fractions, SciPy and the papers' sums."""

from fractions import Fraction
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from rdefense.defenses import (
  binning,
  channel_distance,
  nearest_code,
  soft_assignment,
  thermometer,
)

KEY = jax.random.key(0)
METRIC = {'linf': 'chebyshev', 'l2': 'euclidean', 'l1': 'cityblock'}
HALF = Fraction(1, 2)


def level(value, num_levels):
  """The index floor((k - 1) v + 1/2), in exact arithmetic."""
  return math.floor((num_levels - 1) * Fraction(float(value)) + HALF)


def levels_of(out, num_levels):
  """Indices of outputs, which must be exactly the floats t / (k - 1)."""
  out = np.asarray(out)
  index = np.rint(out.astype(np.float64) * (num_levels - 1)).astype(int)
  # One ulp: compiled, a division by a constant may become a product.
  np.testing.assert_allclose(
    out, index / (num_levels - 1), rtol=np.finfo(np.float32).eps, atol=0
  )
  return index


def column(values):
  return np.asarray(values, np.float32).reshape(1, -1, 1)


# ---------------------------------------------------------------- binning


@pytest.mark.parametrize('num_levels', range(2, 257))
def test_binning_of_bytes_is_the_formula_in_integers(num_levels):
  byte = np.arange(256)
  got = binning(num_levels).apply(KEY, column(byte) * np.float32(1 / 255))
  # floor((k - 1) b / 255 + 1/2); no byte is halfway: 2 (k - 1) b is even and
  # 255 (2 j + 1) is odd.
  expected = (2 * (num_levels - 1) * byte + 255) // 510
  index = levels_of(got, num_levels).ravel()
  np.testing.assert_array_equal(index, expected)


def halfway_points(num_levels):
  """All v in (0, 1) halfway between two levels that are exact in float32."""
  exact = []
  for j in range(num_levels - 1):
    value = Fraction(2 * j + 1, 2 * (num_levels - 1))
    if Fraction(float(np.float32(float(value)))) == value:
      exact.append((float(value), j))
  return exact


@pytest.mark.parametrize('num_levels', [2, 3, 4, 5, 8, 10, 17, 32, 129, 256])
def test_halfway_goes_up_and_the_float_below_goes_down(num_levels):
  points = halfway_points(num_levels)
  assert points  # all these k have some
  middle = np.float32([value for value, _ in points])
  below = np.asarray([j for _, j in points])
  apply = binning(num_levels).apply
  for fn in (apply, jax.jit(apply)):
    up = levels_of(fn(KEY, column(middle)), num_levels)
    down = levels_of(
      fn(KEY, column(np.nextafter(middle, np.float32(0)))), num_levels
    )
    np.testing.assert_array_equal(up.ravel(), below + 1)
    np.testing.assert_array_equal(down.ravel(), below)


FLOATS = hnp.arrays(np.float32, (2, 3, 3), elements=st.floats(0, 1, width=32))


@settings(max_examples=60)
@given(x=FLOATS, num_levels=st.sampled_from([2, 3, 7, 16, 256]))
def test_binning_is_the_formula_in_exact_arithmetic(x, num_levels):
  got = levels_of(binning(num_levels).apply(KEY, x), num_levels)
  for value, index in zip(x.ravel(), got.ravel()):
    # One float32 product may round onto a halfway point that is no float32.
    near = {
      level(v, num_levels) for v in (value, np.nextafter(value, np.float32(2)))
    }
    assert index in near
    if len(near) == 1:
      assert index == level(value, num_levels)


@settings(max_examples=30)
@given(x=FLOATS, num_levels=st.sampled_from([2, 3, 7, 16, 256]))
def test_binning_twice_is_binning_once(x, num_levels):
  apply = binning(num_levels).apply
  once = apply(KEY, x)
  np.testing.assert_array_equal(apply(KEY, once), once)


@pytest.mark.parametrize('num_levels', [2, 5])
def test_binning_has_a_soft_weight_for_every_scalar(num_levels):
  x = np.random.default_rng(0).uniform(size=(2, 2, 3)).astype(np.float32)
  got = binning(num_levels, 10.0).surrogate(KEY, x)
  codes = np.arange(num_levels) / (num_levels - 1)
  weight = np.exp(-10 * np.abs(x.astype(np.float64)[..., None] - codes))
  expected = (weight * codes).sum(-1) / weight.sum(-1)
  # Mean of numbers up to 1 with float32 weights.
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_what_noise_takes_out_of_the_range_gets_the_outermost_level():
  x = column([-3.0, -0.2, 1.2, 4.0])
  got = binning(8).apply(KEY, x).ravel()
  np.testing.assert_array_equal(got, [0, 0, 1, 1])


@pytest.mark.parametrize(
  'arguments, message',
  [
    ((1,), 'num_levels=1 .*at least 2.*constant'),
    ((0,), 'num_levels=0 '),
    ((257,), 'num_levels=257 .*256'),
    ((2, 0.0), 'alpha=0.0 .*positive'),
    ((2, -1.0), 'alpha=-1.0 '),
    ((2, float('nan')), 'alpha=nan'),
    ((2, float('inf')), 'alpha=inf must be finite'),
  ],
  ids=str,
)
def test_bad_binning_is_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    binning(*arguments)


# ----------------------------------------------------------- nearest code


def codebooks(num_channels, max_codes=12):
  """Distinct codes on a grid of 1/16: distances and ties are exact."""
  code = st.tuples(*num_channels * [st.integers(0, 16)])
  return st.lists(code, min_size=1, max_size=max_codes, unique=True).map(
    lambda rows: np.asarray(rows, np.float32) / 16
  )


def grid_images(num_channels):
  return hnp.arrays(
    np.int8, (2, 3, num_channels), elements=st.integers(0, 16)
  ).map(lambda a: a.astype(np.float32) / 16)


@pytest.mark.parametrize('num_channels', [1, 3])
@pytest.mark.parametrize('norm', METRIC)
@settings(max_examples=20)
@given(data=st.data())
def test_nearest_code_is_scipys_and_ties_go_to_the_lowest_index(
  norm, num_channels, data
):
  # Two sizes, below and above the one where selecting becomes gathering.
  size = data.draw(st.sampled_from([3, 11]))
  codes = data.draw(codebooks(num_channels, size))
  x = data.draw(grid_images(num_channels))
  got = nearest_code(codes, norm=norm).apply(KEY, x)
  distance = cdist(x.reshape(-1, num_channels), codes, METRIC[norm])
  # SciPy's l2 may break an exact tie by an ulp of float64.
  index = np.round(distance, 12).argmin(1)
  np.testing.assert_array_equal(got, codes[index].reshape(x.shape))


@settings(max_examples=20)
@given(
  codes=codebooks(2),
  x=hnp.arrays(np.float32, (2, 3, 2), elements=st.floats(0, 1, width=32)),
  norm=st.sampled_from(sorted(METRIC)),
)
def test_outputs_are_codes_and_codes_stay(codes, x, norm):
  apply = nearest_code(codes, norm=norm).apply
  once = np.asarray(apply(KEY, x))
  assert {tuple(v) for v in once.reshape(-1, 2)} <= {tuple(c) for c in codes}
  np.testing.assert_array_equal(apply(KEY, once), once)


@pytest.mark.parametrize('num_codes', [8, 9], ids=['select', 'gather'])
def test_compiled_mapped_and_traced_codes_give_the_same_image(num_codes):
  rng = np.random.default_rng(num_codes)
  codes = rng.uniform(size=(num_codes, 3)).astype(np.float32)
  x = rng.uniform(size=(2, 4, 4, 3)).astype(np.float32)
  eager = np.stack([nearest_code(codes).apply(KEY, image) for image in x])
  fn = jax.jit(
    jax.vmap(lambda codes, x: nearest_code(codes).apply(KEY, x), (None, 0))
  )
  np.testing.assert_array_equal(fn(codes, x), eager)
  distance = cdist(x.reshape(-1, 3), codes, 'chebyshev')
  np.testing.assert_array_equal(
    eager, codes[distance.argmin(1)].reshape(x.shape)
  )


@pytest.mark.parametrize(
  'codes, message',
  [
    (np.zeros((0, 1)), r'\(0, 1\).*non-empty'),
    ([0.0, 1.0], r'\(2,\).*codes\[:, None\]'),
    ([[0.0], [0.5], [0.0]], '3 rows, 2 distinct'),
    ([[0.0], [255.0]], r'span \[0, 255\].*divide by 255'),
    ([[-0.1], [0.5]], r'span \[-0\.1, 0\.5\]'),
    ([[np.nan]], 'NaN'),
  ],
  ids=['empty', 'flat', 'repeated', 'bytes', 'negative', 'nan'],
)
def test_bad_codes_are_named(codes, message):
  with pytest.raises(ValueError, match=message):
    nearest_code(codes)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'alpha': 0}, 'alpha=0 .*positive'),
    ({'alpha': -3.0}, 'alpha=-3.0'),
    ({'alpha': np.inf}, 'alpha=inf must be finite'),
    ({'norm': 'l3'}, "norm='l3'.*linf, l2, l1"),
  ],
  ids=['alpha-zero', 'alpha-negative', 'alpha-infinite', 'norm'],
)
def test_bad_options_of_nearest_code_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    nearest_code([[0.0], [1.0]], **options)


@pytest.mark.parametrize('side', ['apply', 'surrogate'])
def test_an_image_of_other_channels_is_refused(side):
  defense = nearest_code(np.eye(3, dtype=np.float32))
  with pytest.raises(ValueError, match='1 channels, the codes have 3'):
    getattr(defense, side)(KEY, jnp.zeros((2, 2, 1)))


# -------------------------------------------------------- soft assignment


def literal_soft(x, codes, alpha, norm):
  x, codes = np.asarray(x, np.float64), np.asarray(codes, np.float64)
  flat = x.reshape(-1, x.shape[-1])
  weight = np.exp(-alpha * cdist(flat, codes, METRIC[norm]))
  out = (weight[..., None] * codes).sum(1) / weight.sum(1)[:, None]
  return out.reshape(x.shape)


@pytest.mark.parametrize('norm', METRIC)
@pytest.mark.parametrize('num_channels', [1, 3])
@pytest.mark.parametrize('alpha', [4.0, 25.5])
def test_soft_assignment_is_the_weighted_sum_of_the_paper(
  norm, num_channels, alpha
):
  rng = np.random.default_rng(num_channels)
  codes = rng.uniform(size=(5, num_channels)).astype(np.float32)
  x = rng.uniform(size=(3, 4, num_channels)).astype(np.float32)
  got = nearest_code(codes, alpha, norm).surrogate(KEY, x)
  # alpha * distance up to 45 in float32 has an error of 3e-6.
  np.testing.assert_allclose(
    got, literal_soft(x, codes, alpha, norm), rtol=1e-5, atol=1e-5
  )


def test_alpha_of_the_paper_a_grey_level_is_255_times_as_large():
  rng = np.random.default_rng(3)
  codes, x = rng.integers(0, 256, (4, 3)), rng.integers(0, 256, (3, 3, 3))
  paper = literal_soft(x, codes, 0.1, 'linf') / 255  # on [0, 255]
  got = soft_assignment(
    jnp.float32(x / 255), jnp.float32(codes / 255), 25.5, 'linf'
  )
  # alpha * distance up to 25 in float32, as above.
  np.testing.assert_allclose(got, paper, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('alpha', [1.0, 10.0, 60.0])
def test_two_codes_have_the_closed_form_of_a_sigmoid(alpha):
  c, x = 0.75, np.linspace(0, 0.75, 25)
  got = nearest_code([[0.0], [c]], alpha).surrogate(KEY, column(x))
  expected = c / (1 + np.exp(-alpha * (2 * np.float64(np.float32(x)) - c)))
  np.testing.assert_allclose(got.ravel(), expected, rtol=2e-5, atol=1e-6)


def test_as_alpha_grows_the_surrogate_tends_to_the_nearest_code_off_ties():
  codes = [[0.0], [0.4], [1.0]]
  x = column(np.linspace(0, 1, 41))
  x = x[:, np.abs(x[0, :, 0] - 0.2) > 0.01]
  x = x[:, np.abs(x[0, :, 0] - 0.7) > 0.01]
  error = [
    float(abs(d.surrogate(KEY, x) - d.apply(KEY, x)).max())
    for d in (nearest_code(codes, alpha) for alpha in (10, 100, 1000))
  ]
  assert error[0] > error[1] > error[2]
  assert error[2] < 1e-6  # exp(-1000 * 2 * 0.01) is 2e-9
  tie = nearest_code([[0.0], [0.5]], 1e6).surrogate(KEY, column([0.25]))
  assert tie == 0.25  # on a tie it stays halfway, whatever alpha


@pytest.mark.parametrize('alpha', [1e-3, 10.0, 1e6, 1e30])
@pytest.mark.parametrize('norm', METRIC)
def test_value_and_gradient_are_finite_at_codes_ties_and_far_away(norm, alpha):
  codes = np.float32([[0, 0, 0], [1, 1, 1], [0.5, 0.25, 0.25]])
  mixed = np.float32([[0.5, 0.5, 0.5], [0.25, 0.5, 0.0], [1, 0, 1]])
  x = np.concatenate([codes, mixed])[None]
  surrogate = nearest_code(codes, alpha, norm).surrogate
  value, pull = jax.vjp(lambda x: surrogate(KEY, x), x)
  gradient = pull(jnp.ones_like(value))[0]
  assert np.isfinite(value).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize(
  'difference, expected',
  [
    ((0.5, 0.25, 0.0), (1, 0, 0)),
    ((0.5, -0.5, 0.25), (0.5, -0.5, 0)),
    ((-0.5, 0.5, 0.5), (-1 / 3, 1 / 3, 1 / 3)),
    ((0.0, 0.0, 0.0), (0, 0, 0)),
  ],
  ids=['one', 'two-tied', 'three-tied', 'at-the-code'],
)
def test_the_gradient_of_linf_is_split_evenly_among_tied_channels(
  difference, expected
):
  code = np.float32([[0.5, 0.5, 0.5]])
  x = code[0] + np.float32(difference)
  gradient = jax.grad(lambda x: channel_distance(x, code, 'linf')[0])(x)
  np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize('norm', METRIC)
@pytest.mark.parametrize('num_channels', [1, 3])
def test_distance_is_scipys_and_flat_at_its_zero(norm, num_channels):
  rng = np.random.default_rng(8)
  codes = rng.uniform(size=(4, num_channels)).astype(np.float32)
  x = rng.uniform(size=(5, 2, num_channels)).astype(np.float32)
  got = channel_distance(x, codes, norm)
  expected = cdist(x.reshape(10, -1), codes, METRIC[norm]).reshape(5, 2, 4)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
  at_code = jax.jacrev(lambda x: channel_distance(x, codes, norm)[0])(codes[0])
  np.testing.assert_array_equal(at_code, 0)


@pytest.mark.parametrize('norm', METRIC)
def test_the_gradient_of_the_surrogate_is_its_finite_difference(norm):
  rng = np.random.default_rng(4)
  codes = rng.uniform(size=(4, 3)).astype(np.float32)
  x = rng.uniform(size=(1, 2, 3)).astype(np.float32)
  w = rng.normal(size=x.shape)
  surrogate = nearest_code(codes, 5.0, norm).surrogate
  got = jax.grad(lambda x: (surrogate(KEY, x) * w.astype(np.float32)).sum())(x)
  f = lambda x: (literal_soft(x, codes, 5.0, norm) * w).sum()
  step = 1e-6
  basis = step * np.eye(6).reshape(6, *x.shape)
  numeric = [(f(x + e) - f(x - e)) / (2 * step) for e in basis]
  # The float64 difference quotient is good to 1e-9 off the kinks.
  np.testing.assert_allclose(got.ravel(), numeric, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------ thermometer


@pytest.mark.parametrize('num_levels', [2, 3, 10])
@pytest.mark.parametrize('num_channels', [1, 3])
def test_thermometer_is_level_by_level_comparison(num_levels, num_channels):
  # Multiples of 1/32 times a level are exact in float32.
  grid = np.random.default_rng(0).integers(0, 33, (3, 4, num_channels))
  got = np.asarray(thermometer(num_levels).apply(KEY, jnp.float32(grid / 32)))
  assert got.shape == (3, 4, num_channels * num_levels)
  for (h, w, c), v in np.ndenumerate(grid):
    expected = [
      float(Fraction(int(v), 32) > Fraction(l, num_levels))
      for l in range(num_levels)
    ]
    assert got[h, w, c * num_levels : (c + 1) * num_levels].tolist() == expected


def test_thermometer_ramps_meet_the_steps_at_their_ends():
  x = column([0.0, 0.25, 0.5, 0.75, 1.0])
  defense = thermometer(4)
  np.testing.assert_array_equal(
    defense.surrogate(KEY, x), defense.apply(KEY, x)
  )
  middle = defense.surrogate(KEY, column([0.375]))
  assert middle.ravel().tolist() == [1, 0.5, 0, 0]


@settings(max_examples=20)
@given(x=FLOATS)
def test_thermometer_digits_never_rise_with_the_level(x):
  for fn in thermometer(5):
    code = np.asarray(fn(KEY, x)).reshape(*x.shape, 5)
    assert (np.diff(code) <= 0).all()
    assert 0 <= code.min() and code.max() <= 1


def test_thermometer_of_one_level_is_refused():
  with pytest.raises(ValueError, match='num_levels=1 '):
    thermometer(1)

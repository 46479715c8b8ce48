"""Projections against a general solver; balls, starts and their errors."""

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from rdefense import threats

SHAPE = (2, 2, 2)
ORDER = {'linf': np.inf, 'l2': 2, 'l1': 1}
PROJECT = {
  norm: jax.jit(
    lambda z, x, eps, norm=norm: threats.ball(norm, eps).project(z, x)
  )
  for norm in threats.NORMS
}
PIXELS = st.floats(0, 1, width=32, allow_subnormal=False)
IMAGES = hnp.arrays(np.float32, SHAPE, elements=PIXELS)
ANYWHERE = hnp.arrays(
  np.float32, SHAPE, elements=st.floats(-4, 4, width=32, allow_subnormal=False)
)
RADII = st.one_of(st.just(0.0), st.floats(2**-10, 3.0, width=32))
every_norm = pytest.mark.parametrize('norm', threats.NORMS)


def distance(z, x, norm):
  difference = np.asarray(z, np.float64) - np.asarray(x, np.float64)
  return np.linalg.norm(difference.ravel(), ORDER[norm])


def inside(norm, z, x, eps):
  """Feasible, with room for float32 alone."""
  z = np.asarray(z)
  # linf: x + eps rounds by half an ulp of 1. l1 and l2: the sum of 8 terms by
  # a few ulps of eps; squares below 1e-37 vanish.
  slack = 2**-24 if norm == 'linf' else 1e-5 * eps + 1e-18
  return (
    np.isfinite(z).all()
    and z.min() >= 0
    and z.max() <= 1
    and distance(z, x, norm) <= eps + slack
  )


def nearest_by_slsqp(norm, z, x, eps):
  """min 1/2 |z' - z|^2 over ball and box, with z' = x + up - down."""
  z, x = np.float64(z).ravel(), np.float64(x).ravel()
  n = x.size
  to_image = np.hstack([np.eye(n), -np.eye(n)])
  limit, slope = {
    'linf': (lambda m: eps - m, lambda m: -np.eye(2 * n)),
    'l2': (
      lambda m: np.atleast_1d(eps**2 - ((to_image @ m) ** 2).sum()),
      lambda m: -2 * (to_image.T @ to_image @ m)[None],
    ),
    'l1': (
      lambda m: np.atleast_1d(eps - m.sum()),
      lambda m: -np.ones((1, 2 * n)),
    ),
  }[norm]
  gap = lambda m: x + to_image @ m - z
  with warnings.catch_warnings():
    # Steps that rounding has taken out of the bounds are clipped with a note.
    warnings.simplefilter('ignore', RuntimeWarning)
    solution = optimize.minimize(
      lambda m: 0.5 * (gap(m) ** 2).sum(),
      np.zeros(2 * n),
      jac=lambda m: to_image.T @ gap(m),
      bounds=[(0, 1 - v) for v in x] + [(0, v) for v in x],
      constraints={'type': 'ineq', 'fun': limit, 'jac': slope},
      method='SLSQP',
      options={'ftol': 1e-14, 'maxiter': 500},
    )
  return (x + to_image @ solution.x).reshape(SHAPE)


@every_norm
@pytest.mark.parametrize('seed', range(6))
def test_projection_is_the_nearest_point_of_ball_and_box(norm, seed):
  rng = np.random.default_rng(seed)
  x = rng.choice([0, 0.05, 0.5, 1, rng.uniform()], SHAPE).astype(np.float32)
  z = (x + rng.normal(0, [0.2, 1][seed % 2], SHAPE)).astype(np.float32)
  eps = {'linf': 0.15, 'l2': 0.4, 'l1': 0.7}[norm]
  got = PROJECT[norm](z, x, eps)
  expected = nearest_by_slsqp(norm, z, x, eps)
  assert distance(expected, x, norm) <= eps + 1e-7
  # The solver stops within 1e-14 in the objective, 1e-7 in the point.
  np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@every_norm
@settings(max_examples=50)
@given(x=IMAGES, z=ANYWHERE, eps=RADII)
def test_projection_is_feasible_and_idempotent(norm, x, z, eps):
  once = PROJECT[norm](z, x, eps)
  assert inside(norm, once, x, eps)
  # On the sphere itself the distance may round to one side or the other.
  again = PROJECT[norm](once, x, eps)
  np.testing.assert_allclose(again, once, rtol=0, atol=3e-7)


@every_norm
@settings(max_examples=50)
@given(x=IMAGES, z=ANYWHERE, w=IMAGES, eps=RADII)
def test_no_point_of_the_set_lies_beyond_the_projection(norm, x, z, w, eps):
  # p is the projection of z exactly if <z - p, w - p> <= 0 for all w inside.
  p = np.float64(PROJECT[norm](z, x, eps))
  gap = distance(w, x, norm)
  w = np.float64(x) + (w - np.float64(x)) * min(1, eps / gap if gap else 1)
  # Rounding p by 1e-6 along distances of up to 4 in 8 entries.
  assert ((z - p) * (w - p)).sum() <= 5e-5


@every_norm
@settings(max_examples=50)
@given(x=IMAGES, w=IMAGES, eps=RADII)
def test_points_inside_stay_to_the_bit(norm, x, w, eps):
  # A thousandth within the ball: 1e-6, more than float32 rounds by.
  gap = distance(w, x, norm)
  part = min(1, 0.999 * eps / gap if gap else 1)
  z = (x + (w - np.float64(x)) * part).astype(np.float32)
  z[np.abs(z) < np.finfo(np.float32).tiny] = 0  # as XLA does on CPU
  np.testing.assert_array_equal(PROJECT[norm](z, x, eps), z)


@every_norm
def test_radius_zero_leaves_only_the_image(norm, key):
  x = np.random.default_rng(1).uniform(size=SHAPE).astype(np.float32)
  threat = threats.ball(norm, 0.0)
  np.testing.assert_array_equal(PROJECT[norm](1 - x, x, 0.0), x)
  np.testing.assert_array_equal(threat.init(key, x), x)


@every_norm
def test_a_ball_larger_than_the_box_leaves_only_the_clip(norm):
  rng = np.random.default_rng(2)
  x, z = rng.uniform(size=SHAPE), rng.normal(0.5, 2, SHAPE)
  x, z = np.float32(x), np.float32(z)
  np.testing.assert_array_equal(PROJECT[norm](z, x, 20.0), z.clip(0, 1))


@every_norm
@pytest.mark.parametrize('size', [1e10, -1e10, 1e-30], ids=str)
def test_extreme_points_project_to_finite_feasible_ones(norm, size):
  x = np.full(SHAPE, 0.25, np.float32)
  z = x + np.float32(size) * np.arange(8, dtype=np.float32).reshape(SHAPE)
  assert inside(norm, PROJECT[norm](z, x, 0.5), x, 0.5)


@every_norm
def test_traced_radii_share_one_compilation(norm):
  traces = []

  @jax.jit
  def project(z, x, eps):
    traces.append(eps)
    return threats.ball(norm, eps).project(z, x)

  x = np.full(SHAPE, 0.5, np.float32)
  got = [project(np.ones_like(x), x, eps) for eps in (0.1, 0.2, 0.3)]
  assert len(traces) == 1
  for z, eps in zip(got, (0.1, 0.2, 0.3)):
    assert distance(z, x, norm) == pytest.approx(eps, rel=1e-5)


@every_norm
def test_distance_is_that_of_numpy(norm):
  rng = np.random.default_rng(3)
  z, x = np.float32(rng.uniform(size=(2, *SHAPE)))
  got = threats.ball(norm, 1.0).distance(z, x)
  np.testing.assert_allclose(got, distance(z, x, norm), rtol=1e-6)


@every_norm
def test_the_derivative_of_a_projection_is_that_of_differences(norm):
  """In z, x and eps together, where ball and box both bind; both modes."""
  with jax.enable_x64(True):
    rng = np.random.default_rng(4)
    x = rng.choice([0.02, 0.5, 0.97], SHAPE) + rng.uniform(0, 0.02, SHAPE)
    z, eps = x + rng.normal(0, 0.6, SHAPE), np.float64(0.4)
    x[0, 0, 0], z[0, 0, 0] = 0.97, 3  # for the box
    project, point = PROJECT[norm], (z, x, eps)
    got = np.asarray(project(*point))
    assert distance(got, x, norm) == pytest.approx(eps)  # the ball binds
    assert ((got == 0) | (got == 1)).any()  # and the box
    for i, at in enumerate(point):
      ahead = jax.jit(jax.jacfwd(project, i))(*point).reshape(8, -1)
      back = jax.jit(jax.jacrev(project, i))(*point).reshape(8, -1)
      np.testing.assert_allclose(back, ahead, rtol=0, atol=1e-9)
      for j, column in enumerate(ahead.T):
        unit = 1e-4 * np.eye(at.size)[j].reshape(at.shape)
        ends = [
          np.asarray(project(*point[:i], at + side * unit, *point[i + 1 :]))
          for side in (1, -1)
        ]
        # 40 halvings leave 1e-12 of the bracket, over 2e-4; curvature 1e-8.
        differences = (ends[0] - ends[1]).ravel() / 2e-4
        np.testing.assert_allclose(column, differences, rtol=0, atol=1e-6)


@every_norm
def test_derivatives_are_finite_where_nothing_has_moved(norm):
  x = jnp.full(SHAPE, 0.4)
  assert np.isfinite(jax.grad(threats.ball(norm, 0.1).distance)(x, x)).all()
  slopes = jax.jit(jax.jacrev(PROJECT[norm], (0, 1, 2)))
  for z, eps in ((x, 0.1), (x, 0.0), (x + 0.3, 0.0)):
    assert all(np.isfinite(slope).all() for slope in slopes(z, x, eps))


@pytest.mark.parametrize('make', [threats.linf, threats.l2, threats.l1])
def test_other_bounds_of_a_pixel_are_respected(make):
  x = jnp.full(SHAPE, -0.9)
  z = make(2.0, bounds=(-1.0, 1.0)).project(jnp.full(SHAPE, -3.0), x)
  np.testing.assert_array_equal(z, -1.0)


@pytest.mark.parametrize('make', [threats.linf, threats.l2, threats.l1])
@pytest.mark.parametrize('eps', [-0.1, float('nan')], ids=str)
def test_a_radius_below_zero_is_named(make, eps):
  with pytest.raises(ValueError, match=rf'eps={eps} .*8/255'):
    make(eps)


def test_a_radius_in_grey_levels_is_named():
  with pytest.raises(ValueError, match='eps=8 is larger than 1.*by 255'):
    threats.linf(8)
  with pytest.raises(ValueError, match='eps=3 is larger than 2'):
    threats.linf(3, bounds=(-1.0, 1.0))
  for make in (threats.l2, threats.l1):  # of a whole image it may be larger
    assert make(8).distance(jnp.ones((3, 3, 1)), jnp.zeros((3, 3, 1))) <= 9


def test_an_unknown_norm_is_named():
  with pytest.raises(ValueError, match="norm='l0'.*linf, l2, l1"):
    threats.ball('l0', 0.1)


# ----------------------------------------------------------------- starts

NUM_DRAWS = 2000


def draws(norm, x, eps, key):
  keys = jax.random.split(key, NUM_DRAWS)
  return jax.jit(jax.vmap(threats.ball(norm, eps).init, (0, None)))(keys, x)


@every_norm
def test_random_starts_near_the_bounds_are_feasible(norm, key):
  x = np.float32([[[0, 1], [0.02, 0.98]], [[0.5, 0.1], [0, 0]]])
  drawn = np.asarray(draws(norm, x, 0.25, key))
  assert all(inside(norm, z, x, 0.25) for z in drawn)


@every_norm
def test_random_starts_are_uniform_in_the_ball(norm, key):
  x, eps, n = np.full(SHAPE, 0.5, np.float32), 0.25, 8
  noise = np.asarray(draws(norm, x, eps, key), np.float64) - x
  noise = noise.reshape(NUM_DRAWS, n) / eps
  # One fixed key: these p-values are what they are, not a coin to toss.
  if norm == 'linf':
    for channel in noise.T:
      assert stats.kstest(channel, stats.uniform(-1, 2).cdf).pvalue > 1e-3
  else:
    radius = np.linalg.norm(noise, ORDER[norm], axis=1)
    assert stats.kstest(radius**n, 'uniform').pvalue > 1e-3
    # One coordinate of a uniform point: Beta((n + 1) / 2) for l2, a density
    # of n / 2 (1 - |t|)^(n - 1) for l1.
    size = np.abs(noise[:, 3])
    if norm == 'l2':
      reference = stats.beta(0.5, (n + 1) / 2).cdf(size**2)
    else:
      reference = 1 - (1 - size) ** n
    assert stats.kstest(reference, 'uniform').pvalue > 1e-3
  # Five standard deviations of a mean of NUM_DRAWS.
  error = 5 * noise.std(0) / NUM_DRAWS**0.5
  assert (np.abs(noise.mean(0)) < error).all()
  correlation = np.corrcoef(np.sign(noise.T)) - np.eye(n)
  assert np.abs(correlation).max() < 5 / NUM_DRAWS**0.5


def test_named_starts_of_linf_are_image_and_corners(key):
  x = np.float32([[[0.0], [0.05], [0.5]], [[0.95], [1.0], [0.3]]])
  threat, eps = threats.linf(0.125), np.float32(0.125)
  at = lambda start: threats.start_at(threat, start)(key, x)
  np.testing.assert_array_equal(at('clean'), x)
  np.testing.assert_array_equal(at('lower'), np.maximum(x - eps, 0))
  np.testing.assert_array_equal(at('upper'), np.minimum(x + eps, 1))
  z = threats.start_at(threat, 'random')(key, x)
  again = jax.random.clone(key)
  np.testing.assert_array_equal(z, threat.init(again, x))


@pytest.mark.parametrize('make', [threats.linf, threats.l2, threats.l1])
def test_dark_and_bright_starts_are_those_of_other_bounds(make, key):
  x, threat = np.float32([[[0.1]]]), make(0.3, bounds=(-1.0, 1.0))
  for start, expected in (('lower', -0.2), ('upper', 0.4)):
    z = threats.start_at(threat, start)(key, x)
    # x + 0.3 rounds by half an ulp of 1, the bisection by as much again.
    np.testing.assert_allclose(z, [[[expected]]], rtol=0, atol=1e-7)


@pytest.mark.parametrize('norm', ['l2', 'l1'])
@pytest.mark.parametrize('start, colour', [('lower', 0), ('upper', 1)])
def test_dark_and_bright_starts_are_projected_black_and_white(
  norm, start, colour, key
):
  x = np.float32([[[0.2], [0.7]]])
  z = threats.start_at(threats.ball(norm, 0.3), start)(key, x)
  np.testing.assert_array_equal(
    z, threats.ball(norm, 0.3).project(jnp.full_like(x, colour), x)
  )
  assert distance(z, x, norm) == pytest.approx(0.3, rel=1e-5)


def test_a_traced_index_picks_the_start_of_that_name(key):
  x = np.full(SHAPE, 0.4, np.float32)
  threat = threats.linf(0.1)
  fn = jax.jit(lambda start, key: threats.start_at(threat, start)(key, x))
  for index, name in enumerate(threats.STARTS):
    by_name = threats.start_at(threat, name)(jax.random.clone(key), x)
    by_index = fn(index, jax.random.clone(key))
    # Compiled or not, x + eps * noise may round differently in the last bit.
    np.testing.assert_allclose(by_index, by_name, rtol=0, atol=2**-24)


def test_an_unknown_start_is_named():
  with pytest.raises(ValueError, match="start='corner'.*clean, random"):
    threats.start_at(threats.linf(0.1), 'corner')

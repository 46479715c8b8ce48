"""Every defense builds, with what the attacker may choose of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import build

_CENTERS = {
  'sigma': 0.1,
  'tau': 0.1,
  'num_centers': 2,
  'num_samples': 5,
  'gamma': 40.0,
}
DEFENSES = {
  'plain': [{'name': 'identity'}],
  'transformed': [
    {'name': 'nearest_code', 'norm': 'l2'},
    {'name': 'binning', 'num_levels': 4},
    {'name': 'thermometer', 'num_levels': 4},
    {'name': 'bit_depth', 'num_levels': 4},
    {'name': 'bit_depth_steep', 'num_levels': 4},
    {'name': 'jpeg', 'quality': 20},
    {'name': 'jpeg_as_coded'},
    {'name': 'total_variation'},
  ],
  'randomized': [
    {'name': 'gaussian', 'sigma': 0.1},
    {'name': 'resize_padding', 'low': 7, 'high': 10, 'side': 10},
    {'name': 'rand_disc'} | _CENTERS,
    {'name': 'rand_disc_steep'} | _CENTERS,
    {'name': 'rand_mix', 'alpha': 40.0} | _CENTERS,
    {'name': 'rand_disc_fixed', 'sigma': 0.1, 'codes': ((0.1,), (1.0,))},
    {
      'name': 'rand_mix_fixed',
      'sigma': 0.1,
      'codes': ((0.1,), (1.0,)),
      'alpha': 9.0,
    },
  ],
}


@pytest.mark.parametrize(
  'kind, config',
  [(kind, config) for kind, configs in DEFENSES.items() for config in configs],
  ids=lambda v: v if isinstance(v, str) else v['name'],
)
def test_every_defense_is_built_and_is_of_its_kind(kind, config):
  assert build.kind(config) == kind
  codes, x = jnp.array([[0.0], [1.0]]), jnp.linspace(0, 1, 36).reshape(6, 6, 1)
  needed = codes if config['name'] in build.WITH_CODEBOOK else None
  defense = build.defend(config)(needed, 10.0)
  one, other = (defense.apply(jax.random.key(i), x) for i in (0, 1))
  assert np.array_equal(one, other) == (kind != 'randomized')
  assert np.array_equal(one, x) == (kind == 'plain')
  assert defense.surrogate(jax.random.key(0), x).shape == one.shape


def test_the_attacker_chooses_the_steepness_of_the_surrogate_alone():
  config = DEFENSES['randomized'][3]
  x, key = jnp.linspace(0, 1, 36).reshape(6, 6, 1), jax.random.key(0)
  flat, steep = (build.defend(config)(None, alpha) for alpha in (1.0, 100.0))
  same = [d.apply(jax.random.clone(key), x) for d in (flat, steep)]
  np.testing.assert_array_equal(*same)
  soft = [d.surrogate(jax.random.clone(key), x) for d in (flat, steep)]
  assert not np.allclose(*soft, atol=0.01)


@pytest.mark.parametrize('kernel', ['box', 'gaussian'])
def test_a_codebook_has_the_bandwidth_of_its_config(kernel):
  config = {'name': 'density', 'num_codes': 2, 'radius': 0.1, 'kernel': kernel}
  images = np.uint8([10, 11, 12, 200, 201, 90]).reshape(1, 1, 6, 1)
  with pytest.raises(ValueError, match='bandwidth=None'):
    build.codebook(config, images)
  found = build.codebook(config | {'bandwidth': 0.02}, images)
  assert found.provenance['bandwidth'] == 0.02 and len(found.codes) == 2


@pytest.mark.parametrize('num_channels, size', [(1, 3), (3, 27)])
def test_the_codes_of_a_grid_are_counted_a_channel(num_channels, size):
  images = np.zeros((1, 2, 2, num_channels), np.uint8)
  found = build.codebook({'name': 'grid', 'num_codes': 3}, images)
  assert len(found.codes) == size


def test_a_single_code_is_no_codebook():
  config = {'name': 'density', 'num_codes': 2, 'kernel': 'identity'}
  images = np.uint8([10, 11, 12, 12]).reshape(1, 1, 4, 1)
  assert len(build.codebook(config | {'radius': 1.5 / 255}, images).codes) == 2
  with pytest.raises(ValueError, match='density finds one code'):
    build.codebook(config | {'radius': 0.1}, images)


# Surrogates without a steepness that the attacker chooses.
OWN = (
  'identity',
  'thermometer',
  'bit_depth',
  'bit_depth_steep',
  'jpeg',
  'jpeg_as_coded',
  'total_variation',
  'gaussian',
  'resize_padding',
)


@pytest.mark.parametrize(
  'config', sum(DEFENSES.values(), []), ids=lambda config: config['name']
)
def test_alpha_moves_the_surrogate_of_every_discretization(config):
  codes, x = jnp.array([[0.0], [1.0]]), jnp.linspace(0, 1, 36).reshape(6, 6, 1)
  flat, steep = (build.defend(config)(codes, a) for a in (1.0, 100.0))
  key = jax.random.key(0)
  for side in ('apply', 'surrogate'):
    one, other = (
      getattr(d, side)(jax.random.clone(key), x) for d in (flat, steep)
    )
    moved = side == 'surrogate' and config['name'] not in OWN
    assert (np.abs(one - other).max() > 0.01) == moved

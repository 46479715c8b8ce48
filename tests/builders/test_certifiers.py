"""What is proved of a randomised defense, and of what it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import build, defenses
from rdefense.certify.randomized import best


def test_pooling_comes_before_a_defense_and_a_resize_after_it():
  config = {
    'name': 'rand_disc_fixed',
    'codes': ((0.0,), (1.0,)),
    'sigma': 0.1,
  }
  pooling = {'window': 2, 'stride': 2, 'size': 6}
  defense = build.defend(config | {'pooling': pooling})(None, 10.0)
  x = jnp.linspace(0, 1, 36).reshape(6, 6, 1)
  key = jax.random.key(3)
  pooled = defenses.max_pooling(2, 2).apply(key, x)
  see, _ = build.certifier(config | {'pooling': pooling}, key, 0.1)
  np.testing.assert_array_equal(see(np.asarray(x)[None])[0], pooled)
  out = defense.apply(jax.random.clone(key), x)
  assert out.shape == x.shape
  assert set(np.unique(np.asarray(out)[::2, ::2])) <= {0.0, 1.0}


@pytest.mark.parametrize(
  'config',
  [
    {'name': 'gaussian', 'sigma': 0.1},
    {'name': 'rand_disc_fixed', 'codes': ((0.0,), (1.0,)), 'sigma': 0.1},
    {'name': 'rand_mix_fixed', 'codes': ((0.0,), (1.0,)), 'sigma': 0.1},
    {
      'name': 'rand_disc',
      'sigma': 0.1,
      'tau': 0.1,
      'num_centers': 2,
      'num_samples': 9,
      'gamma': 40.0,
    },
  ],
  ids=lambda config: config['name'],
)
def test_what_is_proved_shrinks_with_the_radius(config):
  images = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
  see, certify = build.certifier(config, jax.random.key(0), 0.01)
  shares = np.array([[0.99, 0.99]])
  margins = [best(certify(see(images), eps, shares))[0] for eps in (0.0, 0.02)]
  assert 0.95 < margins[0] <= 0.98 + 1e-9
  assert margins[1] < margins[0]


def test_a_defense_without_a_certificate_says_which_have_one():
  with pytest.raises(ValueError, match="defense 'resize_padding'.*gaussian"):
    build.certifier({'name': 'resize_padding'}, jax.random.key(0), 0.1)


def test_noise_of_pixels_and_samples_is_not_confused():
  config = {
    'name': 'rand_disc',
    'sigma': 0.3,
    'tau': 0.1,
    'num_centers': 2,
    'num_samples': 9,
    'gamma': 40.0,
  }
  x = np.random.default_rng(0).random((1, 4, 4, 3), np.float32)
  _, certify = build.certifier(config, jax.random.key(0), 0.01)
  found = certify(x, 0.01, np.full((1, 2), 0.9))
  squared = 3 * 0.01**2 * (9 / 0.1**2 + 16 / 0.3**2)
  np.testing.assert_allclose(found.divergence, squared / 2, rtol=1e-3)

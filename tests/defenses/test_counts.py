"""What is counted is counted in whole numbers, whichever defense asks."""

import jax
import numpy as np
import pytest

from rdefense import attacks, defenses
from rdefense.defenses import centers, density, medoids

IMAGES = np.arange(20, dtype=np.uint8).reshape(1, 4, 5, 1)
COUNTED = {
  'binning': (defenses.binning, 'num_levels'),
  'thermometer': (defenses.thermometer, 'num_levels'),
  'bit_depth': (defenses.bit_depth, 'num_levels'),
  'bit_depth_steep': (defenses.bit_depth_steep, 'num_levels'),
  'rand_disc': (
    lambda n: defenses.rand_disc(0.1, 0.1, n, 9, 40.0, 20.0),
    'num_centers',
  ),
  'kmeans_pp': (centers.kmeans_pp, 'num_centers'),
  'density': (lambda n: density.density(IMAGES, n, 0.1), 'num_codes'),
  'medoids': (
    lambda n: medoids.medoids(jax.random.key(0), IMAGES, n),
    'num_codes',
  ),
  'medoids_exact_1d': (
    lambda n: medoids.medoids_exact_1d(IMAGES, n),
    'num_codes',
  ),
  'restarts': (lambda n: attacks.restarts(None, n), 'num_restarts'),
}


@pytest.mark.parametrize('name', COUNTED)
def test_half_of_one_is_none(name):
  make, argument = COUNTED[name]
  with pytest.raises(ValueError, match=f'{argument}=2.5 must be a whole'):
    make(2.5)

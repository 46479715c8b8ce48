"""What can be proved of a randomised defense."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rdefense.builders.defenses import WITH_CODEBOOK
from rdefense.certify import randomized
from rdefense.certify.randomized import Certifier
from rdefense.defenses import centers
from rdefense.pooling import max_pool_valid
from rdefense.types import Key

__all__ = ['certifier']


def certifier(
  config: Mapping[str, Any], key: Key, delta: float
) -> tuple[Callable[[np.ndarray], np.ndarray], Certifier]:
  """What the noise of a defense meets, and what can be proved of it.

  Args:
    config: of a randomised defense, as for `defend`.
    key: of draws of adaptive centres.
    delta: probability that what these say is wrong.

  Returns:
    `(see, certify)`: from images `[N, H, W, C]` to those the noise is added to,
    and the certificate of these.

  Raises:
    ValueError: on a defense that has no such certificate.
  """
  found = _certifier(config, key, delta)
  pooling = config.get('pooling')
  if not pooling:
    return np.asarray, found
  pool = jax.jit(
    jax.vmap(lambda x: max_pool_valid(x, pooling['window'], pooling['stride']))
  )
  return lambda images: np.asarray(pool(images)), found


def _certifier(config: Mapping[str, Any], key: Key, delta: float) -> Certifier:
  match config['name']:
    # A mixture is a function of the noisy image, whose noise alone counts.
    case 'gaussian' | 'rand_mix_fixed':
      return randomized.noise_alone(config['sigma'])
    case 'rand_disc_fixed':
      return randomized.fixed_codes(np.array(config['codes']), config['sigma'])
    case 'rand_disc':
      return randomized.adaptive_codes(
        centers.adaptive(config['num_centers'], config['gamma']),
        config['sigma'],
        config['tau'],
        config['num_samples'],
        key,
        delta=delta,
      )
  listed = 'gaussian, rand_disc_fixed, rand_mix_fixed, rand_disc'
  raise ValueError(
    f'there is no certificate of the defense {config["name"]!r}; of these '
    f'there is one: {listed}, and, behind codes, {", ".join(WITH_CODEBOOK)}.'
  )

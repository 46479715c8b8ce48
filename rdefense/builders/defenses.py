"""Codebooks, and the defenses in front of a network."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rdefense import defenses
from rdefense.builders.choices import unknown
from rdefense.defenses import base, codebooks, density, means, medoids
from rdefense.defenses.codebooks import Codebook

__all__ = ['WITH_CODEBOOK', 'codebook', 'defend', 'kind']

_CODEBOOKS = ('density', 'medoids', 'means', 'grid')
WITH_CODEBOOK = ('nearest_code',)
_RANDOMIZED = (
  'gaussian',
  'rand_disc',
  'rand_mix',
  'rand_disc_steep',
  'rand_disc_fixed',
  'rand_mix_fixed',
  'resize_padding',
)
_DEFENSES = (
  'identity',
  *WITH_CODEBOOK,
  'binning',
  'thermometer',
  'bit_depth',
  'bit_depth_steep',
  'jpeg',
  'jpeg_as_coded',
  'total_variation',
  *_RANDOMIZED,
)


def codebook(config: Mapping[str, Any], images: np.ndarray) -> Codebook:
  """Fits the codebook `config.name` to uint8 images `[N, H, W, C]`.

  `config.num_codes` of `grid` is the levels of each channel: in colour, 8 are
  512 codes.

  Raises:
    ValueError: on an unknown name, arguments as its maker, and where it ends
      with a single code.
  """
  found = _fitted(config, images)
  if len(found.codes) == 1:
    raise ValueError(
      f'{config["name"]} finds one code in these images, which would make all '
      'of them equal: take a smaller radius, or images of more colours.'
    )
  return found


def _fitted(config: Mapping[str, Any], images: np.ndarray) -> Codebook:
  match config['name']:
    case 'density':
      return density.density(
        images,
        config['num_codes'],
        config['radius'],
        config['kernel'],
        config.get('bandwidth'),
      )
    case 'medoids':
      key = jax.random.key(config['seed'])
      return medoids.medoids(key, images, config['num_codes'], config['norm'])
    case 'means':
      key = jax.random.key(config['seed'])
      return means.means(key, images, config['num_codes'])
    case 'grid':
      return codebooks.grid(config['num_codes'], images.shape[-1])
  raise unknown('codebook', config['name'], _CODEBOOKS)


def kind(config: Mapping[str, Any]) -> str:
  """Of a defense: `plain` (none), `transformed` or `randomized`."""
  name = config['name']
  if name in _RANDOMIZED:
    return 'randomized'
  return 'plain' if name == 'identity' else 'transformed'


def defend(config: Mapping[str, Any]) -> Callable:
  """`(codes, alpha) -> Defense` for `config.name`.

  `alpha` is what the attacker chooses, the steepness of the surrogate; what is
  deployed stands in the config, and so do the surrogates of the filters, which
  have steepnesses of their own. `codes` is None, or ignored, where the defense
  is not one `WITH_CODEBOOK`. With an entry `pooling` (`window`, `stride` and
  `size`) an image is max-pooled before the defense, and resized after it.
  """
  name = config['name']
  options = {k: v for k, v in config.items() if k not in ('name', 'pooling')}
  if pooling := config.get('pooling'):
    inner = defend({'name': name} | options)
    before = defenses.max_pooling(pooling['window'], pooling['stride'])
    after = defenses.resize(pooling['size'])
    return lambda codes, alpha: defenses.chain(
      before, inner(codes, alpha), after
    )
  match name:
    case 'identity':
      return _identity
    case 'nearest_code':
      return lambda codes, alpha: defenses.nearest_code(codes, alpha, **options)
    case 'binning' | 'rand_disc' | 'rand_disc_steep' | 'rand_disc_fixed':
      make = getattr(defenses, name)
      return lambda codes, alpha: make(alpha=alpha, **options)
    case 'rand_mix' | 'rand_mix_fixed':
      make = getattr(defenses, name)
      return lambda codes, alpha: make(surrogate_alpha=alpha, **options)
  if name in _DEFENSES:
    make = getattr(defenses, name)
    return lambda codes, alpha: make(**options)
  raise unknown('defense', name, _DEFENSES)


def _identity(codes, alpha) -> base.Defense:
  del codes, alpha
  return base.identity()

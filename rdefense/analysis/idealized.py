"""Paper A's idealised images: a few codes, and noise around them.

Codes c_1, ..., c_k lie on the grid {0, ..., K - 1}^C, any two at least Gamma
apart. A skeleton gives every pixel one of them, each for 1/k of the pixels on
average over positions; the image adds noise to it,

  x_i = u_i + zeta_i,  P[||zeta_i|| = t] = a exp(-t^2 / sigma^2),  t <= Gamma/8.

All norms are l_inf over channels, as T's and Algorithm 1's. The paper leaves
the noise's direction open; here it is uniform among those on the grid. What is
promised of such images is in `guarantee`.

>>> about = make_model([[40], [200]], separation=160, sigma=2.0)
>>> skeleton = blocks(2, side=4, block=2)(jax.random.key(0), 3)
>>> images = sample(jax.random.key(1), about, skeleton)
>>> images.shape, images.dtype
((3, 4, 4, 1), dtype('uint8'))

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, section 5; PROTOCOL A11.
"""

from collections.abc import Callable
import itertools
from typing import NamedTuple

import jax
import numpy as np

from rdefense import checks
from rdefense.types import Key

__all__ = [
  'Model',
  'Skeletons',
  'blocks',
  'distances',
  'make_model',
  'noise_law',
  'offsets',
  'perturbations',
  'sample',
]

_MAX_PERTURBATIONS = 2**20

# (key, num_images) -> index of each pixel's code, [num_images, side, side].
Skeletons = Callable[[Key, int], np.ndarray]


class Model(NamedTuple):
  """What images are made of; distances in levels."""

  codes: np.ndarray  # [k, C] int64, the truth
  separation: float  # Gamma: no two codes are nearer
  sigma: float  # of the noise
  reach: int  # the largest ||zeta||, at most Gamma / 8
  num_levels: int  # K


def make_model(
  codes,
  separation: float,
  sigma: float,
  num_levels: int = 256,
  reach: int | None = None,
) -> Model:
  """Checks a description of idealised images.

  Args:
    codes: `[k, C]` whole levels from 0 to `num_levels` - 1, at least two.
    separation: Gamma, in levels; at most the smallest distance of two codes.
    sigma: of the noise, in levels, above 0.
    num_levels: K, at most the 256 of 8-bit images.
    reach: largest norm of the noise; None for the floor of Gamma / 8.

  Raises:
    ValueError: for codes off the grid or too near to each other, noise that
      reaches beyond Gamma / 8, or an argument out of range.

  >>> make_model([[0], [253]], separation=253, sigma=4.0).reach
  31
  """
  given = np.asarray(codes)
  if given.ndim != 2 or len(given) < 2 or given.dtype.kind not in 'iu':
    raise ValueError(
      f'codes are {given.dtype} of shape {given.shape}, expected integers '
      '[k, C], k at least 2: levels, not pixels in [0, 1].'
    )
  if not 2 <= num_levels <= 256:
    raise ValueError(
      f'num_levels={num_levels}, expected 2 to 256: images have 8 bits.'
    )
  if given.min() < 0 or given.max() >= num_levels:
    raise ValueError(
      f'codes span [{given.min()}, {given.max()}], expected levels from 0 to '
      f'{num_levels - 1}.'
    )
  checks.check_positive('sigma', sigma, ': it is in levels')
  checks.check_positive('separation', separation, ': it is in levels')
  apart = distances(given, given)[~np.eye(len(given), dtype=bool)].min()
  if apart < separation:
    raise ValueError(
      f'two codes are {apart} levels apart, fewer than separation='
      f'{separation:g}: state a smaller Gamma or move the codes.'
    )
  widest = int(separation // 8)
  reach = widest if reach is None else reach
  if not 0 <= reach <= widest:
    raise ValueError(
      f'reach={reach}, expected 0 to {widest}: the noise of this model stays '
      f'within an eighth of separation={separation:g}.'
    )
  return Model(
    given.astype(np.int64), float(separation), float(sigma), reach, num_levels
  )


def distances(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
  """l_inf over channels between `[n, C]` and `[k, C]`: `[n, k]`."""
  values, codes = np.asarray(values), np.asarray(codes)
  if values.dtype.kind in 'iu' and codes.dtype.kind in 'iu':
    values, codes = values.astype(np.int64), codes.astype(np.int64)
  return np.abs(values[:, None] - codes[None]).max(-1)


def noise_law(sigma: float, reach: int) -> np.ndarray:
  """P[||zeta|| = t] = a exp(-t^2 / sigma^2) for t = 0, ..., reach.

  The normaliser a is the law's first entry, as exp(0) is 1.

  Args:
    sigma: in levels, above 0.
    reach: the largest norm, at least 0.

  Returns:
    Probabilities `[reach + 1]`, float64.

  >>> noise_law(1.0, 1).round(3).tolist()
  [0.731, 0.269]
  """
  weights = np.exp(-((np.arange(reach + 1) / sigma) ** 2))
  return weights / weights.sum()


def offsets(model: Model) -> tuple[np.ndarray, np.ndarray]:
  """What the noise adds to each code, and how often.

  Given its norm, the noise is uniform over the offsets of that norm that keep
  the pixel on the grid. There always are some: the code has another one at
  least 8 `reach` away.

  Returns:
    `(offset [M, C] int64, probability [k, M] float64)`, rows adding up to 1.
  """
  axis = range(-model.reach, model.reach + 1)
  offset = np.array([*itertools.product(axis, repeat=model.codes.shape[1])])
  norm = np.abs(offset).max(-1)
  moved = model.codes[:, None] + offset
  valid = ((moved >= 0) & (moved < model.num_levels)).all(-1)
  law, probability = noise_law(model.sigma, model.reach), valid.astype(float)
  for t in range(model.reach + 1):
    ring = norm == t
    probability[:, ring] *= law[t] / valid[:, ring].sum(1, keepdims=True)
  return offset, probability


def blocks(num_codes: int, side: int, block: int) -> Skeletons:
  """Square skeletons of square blocks, each of one code.

  Codes of blocks are independent and uniform, so that every position has
  uniform marginals. Blocks of one pixel make pixels independent; one block an
  image makes them all equal.

  Args:
    num_codes: k.
    side: of the image, in pixels.
    block: side of a block, a divisor of `side`.

  Returns:
    The sampler; it consumes its key.

  Raises:
    ValueError: if `block` does not divide `side`.

  >>> blocks(2, 4, 2)(jax.random.key(0), 7).shape
  (7, 4, 4)
  """
  checks.check_whole('num_codes', num_codes, 1)
  if block < 1 or side < 1 or side % block:
    raise ValueError(
      f'block={block} does not divide side={side}: skeletons consist of whole '
      'blocks.'
    )

  def draw(key: Key, num_images: int) -> np.ndarray:
    shape = (num_images, side // block, side // block)
    index = np.asarray(jax.random.randint(key, shape, 0, num_codes))
    return index.repeat(block, 1).repeat(block, 2)

  return draw


def sample(key: Key, model: Model, skeleton: np.ndarray) -> np.ndarray:
  """Adds noise to skeletons, independently for each pixel.

  Args:
    key: consumed.
    model: of the images.
    skeleton: index of each pixel's code, `[n, H, W]`.

  Returns:
    Images `[n, H, W, C]` uint8, in levels.

  >>> about = make_model([[0], [80]], separation=80, sigma=3.0)
  >>> zeros = np.zeros((1, 1, 4), int)
  >>> int(sample(jax.random.key(0), about, zeros).max()) <= about.reach
  True
  """
  offset, probability = offsets(model)
  cumulative = probability.cumsum(1)
  cumulative /= cumulative[:, -1:]
  bits = np.asarray(jax.random.bits(key, skeleton.shape, np.uint32))
  # All codes' inverse laws as one: code i owns [i, i + 1).
  steps = cumulative + np.arange(len(cumulative))[:, None]
  place = np.searchsorted(steps.ravel(), skeleton + bits / 2.0**32, 'right')
  chosen = offset[place - len(offset) * skeleton]
  return (model.codes[skeleton] + chosen).astype(np.uint8)


def perturbations(model: Model, nu: float) -> np.ndarray:
  """All codebooks on the grid whose i-th code is within nu of the i-th true.

  Args:
    model: of the images.
    nu: in levels, at least 0.

  Returns:
    Codes `[m, k, C]`, int64.

  Raises:
    ValueError: if there are more than 2**20, or nu < 0.

  >>> about = make_model([[0], [80]], separation=80, sigma=3.0)
  >>> perturbations(about, 1.5)[..., 0].tolist()
  [[0, 79], [0, 80], [0, 81], [1, 79], [1, 80], [1, 81]]
  """
  checks.check_at_least('nu', nu, 0, ': it is in levels')
  axis = range(-int(nu), int(nu) + 1)
  k, num_channels = model.codes.shape
  bound = len(axis) ** (num_channels * k)
  if bound > _MAX_PERTURBATIONS:
    raise ValueError(
      f'nu={nu:g} allows up to {bound:,} codebooks of {k} codes, more than '
      f'{_MAX_PERTURBATIONS:,}: enumerate fewer codes or channels.'
    )
  step = np.array([*itertools.product(axis, repeat=num_channels)])
  moved = []
  for code in model.codes:
    near = code + step
    moved.append(near[((near >= 0) & (near < model.num_levels)).all(-1)])
  return np.array([*itertools.product(*moved)])

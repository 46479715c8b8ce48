"""Lemma 1 and Proposition 1 of paper A, tried out on its own idealised images.

Both say "with probability 1 - delta over the training images", so each is
repeated on many training sets, drawn under keys of their own:

  Lemma 1         Algorithm 1 of radius 2 nu finds all codes to within nu;
  Proposition 1   T on those codes gives z, anywhere within eps <= 5 nu of x,
                  what it gives the skeleton of x: P[F(T(z)) = y for all z]
                  >= min over nu-code perturbations G of P[F(G(u)) = y].

Whether T is constant on the ball is not tried by attacks but decided by
`certify.reachable`: every pixel must reach one code only, that of its skeleton.

>>> from rdefense.analysis.idealized import blocks, make_model
>>> about = make_model([[40], [200]], separation=160, sigma=2.0)
>>> lemma_1(jax.random.key(0), about, blocks(2, 8, 1), 10, 2.0, 3).tolist()
[True, True, True]

References:
  Chen et al., 2019, https://arxiv.org/abs/1805.07816, section 5; PROTOCOL A11.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from rdefense import checks
from rdefense.analysis import guarantee
from rdefense.analysis.idealized import Model, Skeletons, sample
from rdefense.certify.reachable import reachable
from rdefense.defenses.colors import pixel_units
from rdefense.defenses.density import density
from rdefense.types import Key

__all__ = ['Draws', 'learned_codes', 'lemma_1', 'proposition_1']

_reachable = jax.jit(reachable)


class Draws(NamedTuple):
  """What came of each draw of training images and its test images."""

  approximated: np.ndarray  # [num_draws] bool: codes are a nu-approximation
  settled: np.ndarray  # [num_draws, num_test] bool: T is G(u) on all the ball
  right: np.ndarray  # [num_draws, num_test] bool: settled, and F(T(x)) = y


def learned_codes(images: np.ndarray, num_codes: int, nu: float) -> np.ndarray:
  """Codes of Algorithm 1 with radius 2 nu.

  Args:
    images: `[n, H, W, C]` uint8, in levels.
    num_codes: most codes to pick, at least 2.
    nu: in levels, above 0.

  Returns:
    Codes `[m, C]`, int64, in levels; m < k where no pixel was left.

  Raises:
    ValueError: as `defenses.density.density`.
  """
  book = density(images, num_codes, 2 * nu / 255)
  return np.rint(255 * book.codes).astype(np.int64)


def lemma_1(
  key: Key,
  model: Model,
  skeletons: Skeletons,
  num_images: int,
  nu: float,
  num_draws: int,
) -> np.ndarray:
  """Whether Algorithm 1 finds all codes to within nu, draw by draw.

  Args:
    key: consumed.
    model: of the images.
    skeletons: their sampler, such as `idealized.blocks`.
    num_images: of each training set.
    nu: in levels, above 0.
    num_draws: how many training sets.

  Returns:
    `[num_draws]`, bool.
  """
  found = []
  for draw in range(num_draws):
    key_draw = jax.random.fold_in(key, draw)
    codes, _ = _trained(key_draw, model, skeletons, num_images, nu)
    found.append(guarantee.is_approximation(codes, model.codes, nu))
  return np.array(found)


def proposition_1(
  key: Key,
  model: Model,
  skeletons: Skeletons,
  num_images: int,
  nu: float,
  num_draws: int,
  num_test: int,
  eps: float,
  classify: Callable[[np.ndarray], np.ndarray],
  label: Callable[[np.ndarray], np.ndarray],
) -> Draws:
  """On how many images no attack of radius eps changes the right answer.

  Args:
    key, model, skeletons, num_images, nu, num_draws: as of `lemma_1`.
    num_test: fresh images after each training set.
    eps: l_inf radius of the attack, in levels; the proposition has <= 5 nu.
    classify: F, images `[n, H, W, C]` in levels -> labels `[n]`.
    label: y, skeletons `[n, H, W]` -> labels `[n]`.

  Returns:
    `Draws`; where the codes are no nu-approximation, no image is settled.

  Raises:
    ValueError: if eps < 0.
  """
  checks.check_at_least('eps', eps, 0, ': a radius in levels')
  approximated = np.zeros(num_draws, bool)
  settled = np.zeros((num_draws, num_test), bool)
  right = settled.copy()
  for draw in range(num_draws):
    key_draw = jax.random.fold_in(key, draw)
    codes, key_test = _trained(key_draw, model, skeletons, num_images, nu)
    row = guarantee.match(codes, model.codes, nu)
    if row is None:
      continue
    approximated[draw] = True
    key_skeleton, key_noise = jax.random.split(key_test)
    skeleton = skeletons(key_skeleton, num_test)
    images = sample(key_noise, model, skeleton)
    # Codes in the order of the truth: a pixel's own is that of its skeleton.
    learned = codes[row]
    allowed = _reached(images, learned, eps)
    own = np.eye(len(learned), dtype=bool)[skeleton]
    settled[draw] = (allowed == own).all((1, 2, 3))
    correct = classify(learned[allowed.argmax(-1)]) == label(skeleton)
    right[draw] = settled[draw] & correct
  return Draws(approximated, settled, right)


def _trained(key, model, skeletons, num_images, nu):
  """Codes learnt from fresh training images, and a key that is left."""
  key_skeleton, key_noise, key_left = jax.random.split(key, 3)
  skeleton = skeletons(key_skeleton, num_images)
  images = sample(key_noise, model, skeleton)
  return learned_codes(images, len(model.codes), nu), key_left


def _reached(images, codes, eps):
  """Codes that each pixel can be given within eps levels: `[n, H, W, k]`."""
  n, height, width, num_channels = images.shape
  tall = pixel_units(images.reshape(n * height, width, num_channels))
  allowed = _reachable(tall, pixel_units(codes), eps / 255)
  return np.asarray(allowed).reshape(n, height, width, len(codes))

"""Adversarial images that somebody else has made, to be judged by a defense.

Those of a contest's teams, or of another library: a file of an array, or a
folder of PNG named as the images they were made from. What is no image of this
dataset, or was made at another radius, is refused.

>>> import tempfile
>>> clean = Arrays(np.zeros((2, 1, 1, 1), np.uint8), np.arange(2), 2, 'toy')
>>> with tempfile.TemporaryDirectory() as folder:
...   np.save(f'{folder}/made.npy', np.full((2, 1, 1, 1), 0.25, np.float32))
...   load_given(
...     f'{folder}/made.npy', clean, 'linf', 0.3
...   ).images.ravel().tolist()
[0.25, 0.25]
"""

from collections.abc import Sequence
import os
import pathlib

import numpy as np

from rdefense import checks
from rdefense.data import pngs, tables
from rdefense.data.sources import Arrays, in_unit
from rdefense.threats import LARGEST, NORMS

__all__ = ['load_given']

# Of a pixel: images of float32 are clipped to balls with ends of float32.
_ROUNDING = 1e-6
_ORDER = {'linf': np.inf, 'l2': 2, 'l1': 1}


def load_given(
  path: str | os.PathLike[str],
  arrays: Arrays,
  norm: str,
  eps: float,
  names: Sequence[str] = (),
) -> Arrays:
  """Reads adversarial images in place of those they were made from.

  Args:
    path: a `.npy` file of `[N, H, W, C]`, uint8 or floats in [0, 1], in the
      order of `arrays`; or a folder that has `<name>.png` for each of `names`.
    arrays: the `N` images that they were made from.
    norm: of the ball they lie in, one of `threats.NORMS`.
    eps: its radius in [0, 1] pixel units.
    names: of the `N` images, where they have any.

  Returns:
    `arrays` with these images, uint8 or float32.

  Raises:
    ValueError: on a norm or a radius that is none; if there is no such file or
      folder, an image is missing or damaged, or is further than `eps` from the
      one it is to stand for.
  """
  checks.check_choice('norm', norm, NORMS)
  checks.check_length('eps', eps, LARGEST[norm])
  path = pathlib.Path(path).expanduser()
  shape = arrays.images.shape
  if path.is_dir():
    images = _pngs(path, shape[1:], names)
  elif path.suffix == '.npy' and path.is_file():
    images = _array(path)
  else:
    raise ValueError(
      f'{path} is neither a folder of images nor a .npy file of an array.'
    )
  if images.shape != shape:
    raise ValueError(
      f'{path} holds images of shape {images.shape}; those they stand for have '
      f'{shape}: were they made from other ones, or from fewer?'
    )
  given = arrays._replace(images=images)
  _check_near(path, given, arrays, norm, eps)
  return given


def _pngs(folder, shape, names: Sequence[str]) -> np.ndarray:
  if not names:
    raise ValueError(
      f'{folder} is a folder, and the images of this dataset have no names to '
      'look for in it: save them as one array, numpy.save(FILE.npy, images).'
    )
  paths = [folder / f'{name}.png' for name in names]
  tables.check_there(
    [(path, 0) for path in paths], '', 'each needs the name of its original'
  )
  return np.stack([pngs.read_png(path, shape) for path in paths])


def _array(path) -> np.ndarray:
  try:
    images = np.load(path)
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(
      f'{path} cannot be read: it is damaged, or not of numpy.save.'
    ) from error
  if images.dtype == np.uint8:
    return images
  try:
    checks.check_images(images)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return images.astype(np.float32)


def _check_near(path, given: Arrays, clean: Arrays, norm: str, eps: float):
  rounding = np.full(clean.images[0].size, _ROUNDING)
  for i, (z, x) in enumerate(zip(given.images, clean.images, strict=True)):
    moved = in_unit(z).astype(np.float64) - in_unit(x)
    distance = np.linalg.norm(moved.ravel(), _ORDER[norm])
    if distance > eps + np.linalg.norm(rounding, _ORDER[norm]):
      raise ValueError(
        f'{path}: image {i} is {distance:.4g} away from its original in '
        f'{norm}, further than eps={eps:.4g}: was it made at this radius, from '
        'these images, in this order?'
      )

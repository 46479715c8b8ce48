"""Images of one size, each in a file.

>>> import tempfile
>>> with tempfile.NamedTemporaryFile(suffix='.png') as file:
...   read_png(pathlib.Path(file.name), (2, 2, 3)) is None
Traceback (most recent call last):
  ...
ValueError: ... cannot be read as an image: it is damaged or not there whole
"""

import pathlib

import numpy as np

__all__ = ['read_png']


def read_png(
  path: pathlib.Path, shape: tuple[int, int, int], hint: str = ''
) -> np.ndarray:
  """Pixels of an image as they are stored, uint8.

  Args:
    path: of a file that Pillow reads without loss.
    shape: `(H, W, C)` that it must have; of one channel where C is 1.
    hint: likely cause of another shape; ends the sentence.

  Raises:
    ValueError: if it cannot be read, or has another shape or depth.
  """
  from PIL import Image  # Imported late, as in `sources`.

  try:
    with Image.open(path) as image:
      pixels = np.asarray(image)
  except (OSError, SyntaxError) as error:  # Pillow's, on a damaged PNG
    raise ValueError(
      f'{path} cannot be read as an image: it is damaged or not there whole'
    ) from error
  if shape[2] == 1 and pixels.ndim == 2:
    pixels = pixels[..., None]
  if pixels.shape != shape or pixels.dtype != np.uint8:
    raise ValueError(
      f'{path} has shape {pixels.shape} of {pixels.dtype}, and not {shape} of '
      f'uint8{hint}'
    )
  return pixels

"""Codebooks: the few pixel values, or codes, that stand for all the others.

A `Codebook` says its codes, how many pixels each has and how it was made. It
lives in one `.npz` file. The fitters, all on the host in NumPy:

  density.density            the densest pixels, each clearing its surroundings
  medoids.medoids            pixels of the least sum of distances to the nearest
  means.means                centres of the least sum of squared distances
  grid                       {t / (levels - 1)}^channels, whatever the data

>>> grid(3, 1).codes.ravel().tolist()
[0.0, 0.5, 1.0]
"""

import importlib.metadata
import io
import json
import os
from typing import Any, NamedTuple
import zipfile
import zlib

from etils.epath import Path
import jax
import numpy as np

from rdefense import checks, files
from rdefense.defenses.colors import Colors, pixel_units

__all__ = [
  'Codebook',
  'check_num_codes',
  'grid',
  'key_words',
  'load',
  'make_provenance',
  'save',
]

_MAX_CODES = 2**24


class Codebook(NamedTuple):
  """Codes in [0, 1], how many pixels each has, and where they came from."""

  codes: np.ndarray  # [k, C] float32
  counts: np.ndarray  # [k] int64
  provenance: dict[str, Any]  # what JSON can hold


def grid(levels: int, channels: int) -> Codebook:
  """Codes on the fixed grid {t / (levels - 1)}^channels.

  Args:
    levels: values a channel, from 2 to 256.
    channels: at least 1.

  Returns:
    The codebook of levels ** channels codes in lexicographic order, which no
    pixel was counted for: `counts` are 0.

  Raises:
    ValueError: for an argument out of range, or more than 2**24 codes.

  >>> grid(2, 3).codes[:3].tolist()
  [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
  """
  if not 2 <= levels <= 256:
    raise ValueError(
      f'levels={levels}, expected 2 to 256: an 8-bit channel has no more'
    )
  if channels < 1 or levels**channels > _MAX_CODES:
    raise ValueError(
      f'channels={channels} gives {levels}**{channels} codes, expected at '
      f'least 1 channel and at most {_MAX_CODES} codes'
    )
  axis = pixel_units(255 * np.arange(levels) / (levels - 1))
  codes = np.stack(np.meshgrid(*[axis] * channels, indexing='ij'), -1)
  codes = codes.reshape(-1, channels)
  return Codebook(
    codes,
    np.zeros(len(codes), np.int64),
    make_provenance('grid', None, levels=int(levels), channels=int(channels)),
  )


def check_num_codes(num_codes: int, available: int | None = None) -> None:
  """Refuses fewer than 2 codes, or more than the distinct colours."""
  checks.check_whole(
    'num_codes', num_codes, 2, ': one code makes all images equal'
  )
  if available is not None and num_codes > available:
    raise ValueError(
      f'num_codes={num_codes} exceeds the {available} distinct colours to '
      'choose from: ask for fewer codes or pass more images'
    )


def key_words(key: jax.Array) -> list[int]:
  """What a key says, fit for JSON and as a seed of NumPy's generators.

  >>> key_words(jax.random.key(7))
  [0, 7]
  """
  checks.check_key(key)
  return np.asarray(jax.random.key_data(key)).ravel().tolist()


def make_provenance(
  method: str, colors: Colors | None, **parameters: Any
) -> dict[str, Any]:
  """Method, parameters, data size and library version, fit for JSON."""
  record: dict[str, Any] = {'method': method, **parameters}
  if colors is not None:
    record['num_pixels'] = int(colors.counts.sum())
    record['num_colors'] = len(colors.counts)
  try:
    record['version'] = importlib.metadata.version('rdefense')
  except importlib.metadata.PackageNotFoundError:
    record['version'] = 'not installed'
  return record


def save(path: str | os.PathLike, codebook: Codebook) -> None:
  """Writes a codebook to one `.npz` file, whole or not at all.

  Args:
    path: the file; one that is there is replaced in a single rename.
    codebook: what to write; its provenance goes in as JSON text.

  Raises:
    ValueError: where `checks.check_codes` refuses the codes.
  """
  checks.check_codes(codebook.codes)
  buffer = io.BytesIO()
  np.savez(
    buffer,
    codes=codebook.codes,
    counts=codebook.counts,
    provenance=np.array(json.dumps(codebook.provenance)),
  )
  files.write_bytes(path, buffer.getvalue())


def load(path: str | os.PathLike) -> Codebook:
  """Reads a codebook that `save` wrote.

  Args:
    path: the `.npz` file.

  Returns:
    The codebook, with the arrays bit for bit.

  Raises:
    ValueError: where the file is missing, truncated or not a codebook.
  """
  path = os.fspath(path)
  try:
    # In memory, because np.load leaves a file it cannot read open.
    data = io.BytesIO(Path(path).read_bytes())
    with np.load(data, allow_pickle=False) as file:
      codes, counts = file['codes'], file['counts']
      provenance = json.loads(str(file['provenance']))
    checks.check_codes(codes)
    if codes.dtype != np.float32 or counts.shape != codes.shape[:1]:
      raise ValueError(
        f'codes are {codes.dtype} of shape {codes.shape} with counts of shape '
        f'{counts.shape}'
      )
  except FileNotFoundError as error:
    raise ValueError(f'path={path!r} is missing: fit and save first') from error
  except (
    EOFError,
    KeyError,
    OSError,
    TypeError,  # an .npy file, which np.load gives as a bare array
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise ValueError(
      f'path={path!r} is not a whole codebook file ({error}): write it with '
      'rdefense.defenses.codebooks.save'
    ) from error
  return Codebook(codes, counts, provenance)

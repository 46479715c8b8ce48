"""Parameters from files of named tensors, each checked by name and shape.

>>> import jax, jax.numpy as jnp
>>> shapes = {'dense': {'bias': jax.ShapeDtypeStruct((2,), jnp.float32)}}
>>> fill(shapes, {'b:0': np.ones(2)}, {('dense', 'bias'): 'b:0'}, 'toy.npz')
{'dense': {'bias': Array([1., 1.], dtype=float32)}}
"""

from collections.abc import Mapping
import os
from pathlib import Path
import zipfile
import zlib

from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from rdefense.types import PyTree

__all__ = ['check_file', 'fill', 'read_npz']


def check_file(path: str | os.PathLike) -> Path:
  """The path, if a file is there.

  Raises:
    ValueError: if there is none.
  """
  path = Path(path)
  if not path.is_file():
    raise ValueError(f'{path} is not a file: the weights are kept elsewhere.')
  return path


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """All tensors of an `.npz` file.

  Args:
    path: a file as `numpy.savez` writes it, without pickled objects.

  Returns:
    Arrays by name.

  Raises:
    ValueError: if there is no such file, or it is not a whole `.npz`.
  """
  path = check_file(path)
  try:
    with open(path, 'rb') as raw, np.load(raw) as file:
      return {name: file[name] for name in file.files}
  except (
    *(AttributeError, EOFError, OSError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
  ) as error:
    raise ValueError(
      f'{path} cannot be read as .npz ({error}): it is damaged or was not '
      'copied whole.'
    ) from error


def fill(
  shapes: PyTree,
  tensors: Mapping[str, np.ndarray],
  names: Mapping[tuple[str, ...], str],
  source: str | os.PathLike,
) -> PyTree:
  """Puts named tensors where a network expects its parameters.

  Args:
    shapes: nested dictionaries of what has a `shape`, as `jax.eval_shape` of
      a network's `init` gives them.
    tensors: the content of a file.
    names: the name in the file of each parameter, by its path in `shapes`.
    source: the file, for messages.

  Returns:
    The tree of `shapes` with float32 arrays.

  Raises:
    ValueError: if a tensor is missing, has another shape, holds NaN or
      infinite values, or belongs to no parameter.
  """
  filled = {}
  for path, leaf in traverse_util.flatten_dict(shapes).items():
    name, parameter = names[path], '/'.join(path)
    if name not in tensors:
      raise ValueError(
        f'{source} lacks the tensor {name} ({parameter}): it is damaged or '
        'holds another network.'
      )
    tensor = np.asarray(tensors[name])
    if tensor.shape != leaf.shape:
      raise ValueError(
        f'{source} has {name} of shape {tensor.shape}, but {parameter} has '
        f'{leaf.shape}: it holds another network.'
      )
    if not np.isfinite(tensor).all():
      raise ValueError(
        f'{source} has NaN or infinite values in {name}: it is damaged.'
      )
    filled[path] = jnp.asarray(tensor, jnp.float32)
  unknown = sorted(set(tensors) - set(names.values()))
  if unknown:
    raise ValueError(
      f'{source} has {unknown[0]} ({len(unknown)} such), which this network '
      'has not: it holds another network.'
    )
  return traverse_util.unflatten_dict(filled)

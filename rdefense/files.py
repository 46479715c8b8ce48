"""Files that are whole or absent, and JSON in them, on disk or in a bucket.

A path is what `etils.epath.Path` takes: of this file system, or `gs://...`
where `gcsfs` is installed.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...   path = write_json(Path(directory) / 'a.json', {'eps': np.float32(0.5)})
...   read_json(path)
{'eps': 0.5}
"""

from collections.abc import Mapping
import glob
import json
import os
import pathlib
from typing import Any
import uuid

from etils.epath import Path
import numpy as np

__all__ = ['json_text', 'matching', 'read_json', 'write_bytes', 'write_json']


def write_bytes(path: str | os.PathLike, data: bytes) -> Path:
  """Writes a file whole or not at all: temporary file, fsync, rename.

  Args:
    path: the file; its directory is made where missing.
    data: its content.

  Returns:
    The path. At every instant it holds the old content or the new one: a bucket
    shows an object only when all of it has arrived.
  """
  target = Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  if '://' in os.fspath(target):
    target.write_bytes(data)
    return target
  # Processes on several hosts may share the folder, and their numbers.
  beside = target.with_name(f'.{target.name}.{uuid.uuid4()}.tmp')
  temporary = pathlib.Path(beside)
  try:
    with open(temporary, 'wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, target)
  finally:
    temporary.unlink(missing_ok=True)
  return target


def write_json(path: str | os.PathLike, obj: Any) -> Path:
  """Writes JSON atomically, keys sorted, so that equal objects are equal files.

  Args:
    path: the file.
    obj: nested mappings, sequences, scalars and arrays (also NumPy's, JAX's).

  Raises:
    ValueError: if a number is not finite, which JSON cannot say.
    TypeError: if something else has no JSON form.
  """
  try:
    text = json_text(obj)
  except ValueError as error:
    raise ValueError(f'{path} cannot be written as JSON: {error}.') from error
  return write_bytes(path, text.encode())


def read_json(path: str | os.PathLike) -> Any:
  """Reads JSON.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not JSON, naming the file and the place.
  """
  try:
    return json.loads(Path(path).read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(
      f'{path} is not valid JSON ({error}): it is truncated or was edited; '
      'restore or delete it.'
    ) from error


def matching(folder: str | os.PathLike, pattern: str) -> list[Path]:
  """Paths below a folder that match a pattern, in order.

  Args:
    folder: taken as it is; `epath` alone would read `[a]` in it as a pattern.
    pattern: such as `*/*.html`.

  Returns:
    What is there; nothing where the folder is missing.
  """
  return sorted(Path(glob.escape(os.fspath(folder))).glob(pattern))


def json_text(obj: Any) -> str:
  """The text `write_json` writes: sorted keys, arrays as lists, newline last.

  Raises:
    ValueError: if a number is not finite, which JSON cannot say.
    TypeError: if something else has no JSON form.

  >>> json_text({'b': np.float32(0.5), 'a': ()})
  '{\\n  "a": [],\\n  "b": 0.5\\n}\\n'
  """
  text = json.dumps(
    obj, indent=2, sort_keys=True, allow_nan=False, default=_plain
  )
  return text + '\n'


def _plain(value):
  if isinstance(value, Mapping):
    return dict(value)
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, '__array__'):
    return np.asarray(value).tolist()
  raise TypeError(f'{type(value).__name__} has no JSON form: {value!r}.')

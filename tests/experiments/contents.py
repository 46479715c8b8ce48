"""What lies in a folder, of this machine or in a bucket, to compare two."""

import io
import re

from etils.epath import Path
import numpy as np

# How long something took, and when it was.
_CLOCK = re.compile(
  r'\d+ min \d+ s|\d+\.\d s|"seconds": [\d.e+-]+'
  r'|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'
)


def contents(folder) -> dict[str, object]:
  """Relative name -> what is in it, of every file below a folder.

  The folder's own name and the clock are left out: what two runs of one command
  may differ in.
  """
  folder = Path(folder)
  return {
    path.relative_to(folder).as_posix(): _content(path, str(folder))
    for path in _files(folder)
  }


def _files(folder):
  for path in sorted(folder.iterdir()):
    if path.is_dir():
      yield from _files(path)
    else:
      yield path


def _content(path, folder):
  data = path.read_bytes()
  match path.suffix:
    case '.npz':
      with np.load(io.BytesIO(data)) as file:
        return {
          name: file[name].tolist()
          for name in file.files
          if not name.endswith('seconds')
        }
    case '.png':
      return data
  return _CLOCK.sub('CLOCK', data.decode().replace(folder, 'FOLDER'))

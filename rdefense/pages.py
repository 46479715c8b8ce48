"""A page of a report: Markdown, pictures beside it, and one HTML file.

What every report ends with, how it was made, is here as well.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...   blocks = [('heading', 1, 'Demo'), *how_it_was_made({'preset': 'small'})]
...   write_document(directory, 'demo', 'Demo', blocks, {}).name
'demo.html'
"""

from collections.abc import Mapping, Sequence
import json
import os
import re
from typing import Any

from etils.epath import Path

from rdefense import document, files

__all__ = ['how_it_was_made', 'wall_time', 'write_document']


def write_document(
  directory: str | os.PathLike,
  stem: str,
  title: str,
  blocks: Sequence[tuple],
  figures: Mapping[str, bytes],
) -> Path:
  """Writes blocks as `<stem>.md` and `<stem>.html`, and a PNG a figure.

  Args:
    directory: where they go; made where missing.
    stem: of the files' names.
    title: of the page.
    blocks: of `rdefense.document`.
    figures: name, of letters, digits, `-` and `_` -> PNG.

  Returns:
    The path of the page.

  Raises:
    ValueError: if a name is unfit for a file.
  """
  for name in figures:
    if not re.fullmatch(r'[\w-]+', name):
      raise ValueError(
        f'figure name {name!r} must be letters, digits, - and _: '
        'it becomes a file name.'
      )
  folder = Path(directory)
  for name, png in figures.items():
    files.write_bytes(folder / f'{name}.png', png)
  text = document.markdown(blocks)
  files.write_bytes(folder / f'{stem}.md', text.encode())
  page = document.page(title, blocks)
  return files.write_bytes(folder / f'{stem}.html', page.encode())


def how_it_was_made(results: Mapping[str, Any]) -> list[tuple]:
  """Blocks of command, environment and config, as far as they are given."""
  blocks: list[tuple] = [('heading', 2, 'How it was made')]
  if results.get('command'):
    blocks.append(('code', results['command'], ''))
  blocks.append(_provenance(results))
  if results.get('config'):
    text = json.dumps(results['config'], indent=2, sort_keys=True, default=str)
    blocks.append(('code', text, 'Resolved config'))
  return blocks


def _provenance(results):
  about = results.get('environment', {})
  dirty = ' with uncommitted changes' if about.get('dirty') else ''
  rows = {
    'commit': f'`{about.get("commit") or "not a checkout"}`{dirty}',
    'device': f'{about.get("devices", 1)} × {about.get("device", "unknown")}',
    'date': about.get('date', 'not stated'),
    'Python': about.get('python', 'not stated'),
  } | {name: v for name, v in about.get('packages', {}).items() if v}
  if 'seconds' in results:
    rows['wall time'] = wall_time(results['seconds'])
  return ('table', ('', ''), list(rows.items()))


def wall_time(seconds: float) -> str:
  """For readers.

  >>> wall_time(75.2)
  '1 min 15 s'
  """
  minutes, rest = divmod(round(seconds), 60)
  return f'{minutes} min {rest} s'

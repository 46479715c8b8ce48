"""Tables that list images and their classes, as comma-separated files have.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...   table = pathlib.Path(folder) / 'images.csv'
...   _ = table.write_text('name;class\\na.png;3\\n')
...   listed(table, ('name', 'class'), range(5), 'it was edited', ';')
[('a.png', 3)]
"""

import csv
import pathlib

__all__ = ['check_there', 'listed']


def listed(
  table: pathlib.Path,
  columns: tuple[str, str],
  classes: range,
  cause: str,
  delimiter: str = ',',
) -> list[tuple[str, int]]:
  """Names and classes of images, in the order of their rows.

  Args:
    table: an existing file with a line of headings.
    columns: headings of the names and of the classes.
    classes: that there may be; of one alone it is said to be the folder's.
    cause: likely, of a heading that is missing; ends the sentence.
    delimiter: between columns.

  Raises:
    ValueError: if a column or every row is missing, or a class is not one of
      `classes`.
  """
  # What is no UTF-8 shows in the names that the errors below give.
  with open(table, newline='', encoding='utf-8', errors='replace') as file:
    reader = csv.DictReader(file, delimiter=delimiter)
    lines = list(reader)
  for column in columns:
    if column not in (reader.fieldnames or ()):
      raise ValueError(f'{table} has no column {column}: {cause}')
  if not lines:
    raise ValueError(f'{table} lists no images: it is truncated')
  wanted = f'an integer from {classes[0]} to {classes[-1]}'
  if len(classes) == 1:
    wanted = f'{classes[0]}, the class of its folder'
  found = []
  for line in lines:
    name, label = (line[column] or '' for column in columns)
    if not label.isdecimal() or int(label) not in classes:
      raise ValueError(
        f'{table} gives {name} the {columns[1]} {label!r}, which is not '
        f'{wanted}: it was edited or truncated'
      )
    found.append((name, int(label)))
  return found


def check_there(
  rows: list[tuple[pathlib.Path, int]], whose: str, remedy: str
) -> None:
  """Raises `ValueError` where an image of the rows is no file.

  Args:
    rows: paths and classes.
    whose: follows the number of images, such as ` that a table lists`.
    remedy: ends the sentence.
  """
  missing = [path for path, _ in rows if not path.is_file()]
  if missing:
    raise ValueError(
      f'{missing[0]} is missing ({len(missing)} of {len(rows)} images{whose}): '
      f'{remedy}'
    )

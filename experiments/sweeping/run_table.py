"""What the runs of a sweep are doing: a table that is redrawn, or plain lines.

>>> progress = {'seed=0': Progress('running', 'train', 12.4, 'nat: 40%')}
>>> print(*table(progress, width=60, height=10), sep='\\n')
1 run: 1 running
seed=0  running  train  12 s  nat: 40%
"""

from collections.abc import Callable, Mapping
import shutil
from typing import TextIO

from experiments.sweeping.jobs import STATES, Progress

__all__ = ['counts', 'duration', 'printer', 'table']


def counts(progress: Mapping[str, Progress]) -> str:
  """In one line, how many runs are in which state."""
  states = [about.state for about in progress.values()]
  found = ', '.join(
    f'{states.count(state)} {state}' for state in STATES if state in states
  )
  return f'{len(states)} {"run" if len(states) == 1 else "runs"}: {found}'


def table(
  progress: Mapping[str, Progress], width: int, height: int
) -> list[str]:
  """Lines of a terminal: counts, then a line a run.

  Args:
    progress: name -> where it is.
    width: columns; longer lines are cut.
    height: lines; where runs are more, those that run and failed come first.
  """
  names = list(progress)
  room = max(1, height - 2)
  if len(names) > room:
    names.sort(key=lambda name: STATES.index(progress[name].state))
    names = names[: room - 1]
  rows = [
    (name, p.state, p.program, duration(p.seconds) if p.program else '', p.line)
    for name, p in ((name, progress[name]) for name in names)
  ]
  wide = [max(map(len, column)) for column in list(zip(*rows))[:-1]]
  wide[0] = min(wide[0], max(20, width // 2))
  lines = [counts(progress)]
  for row in rows:
    cells = [_cut(cell, n).ljust(n) for cell, n in zip(row, wide)]
    lines.append('  '.join([*cells, row[-1]]).rstrip())
  if len(names) < len(progress):
    lines.append(f'... and {len(progress) - len(names)} more')
  return [_cut(line, width) for line in lines]


def printer(stream: TextIO) -> Callable[[Mapping[str, Progress]], None]:
  """`show(progress)`: redraws a table in a terminal, else tells of changes."""
  if stream.isatty():
    return _redrawn(stream)
  return _told(stream)


def duration(seconds: float) -> str:
  """For readers.

  >>> duration(12.4), duration(754), duration(7380)
  ('12 s', '12 min 34 s', '2 h 3 min')
  """
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _redrawn(stream):
  drawn: list[str] = []

  def show(progress):
    size = shutil.get_terminal_size()
    lines = table(progress, size.columns - 1, size.lines)
    if lines == drawn:
      return
    # To the first line of the last table, and nothing below it.
    up = f'\x1b[{len(drawn)}F\x1b[J' if drawn else ''
    stream.write(up + '\n'.join(lines) + '\n')
    stream.flush()
    drawn[:] = lines

  return show


def _told(stream):
  told: dict[str, tuple[str, str]] = {}

  def show(progress):
    for name, about in progress.items():
      now = about.state, about.program
      if told.get(name) == now or about.state == 'waiting':
        continue
      told[name] = now
      ended = sum(
        p.state not in ('waiting', 'running') for p in progress.values()
      )
      what = about.program if about.state == 'running' else about.state
      after = f' after {duration(about.seconds)}' if about.program else ''
      if about.state == 'running':
        after = ''
      line = f': {about.line}' if about.state == 'failed' else ''
      stream.write(f'[{ended}/{len(progress)}] {name}: {what}{after}{line}\n')
    stream.flush()

  return show


def _cut(text: str, width: int) -> str:
  return text if len(text) <= width else f'{text[: max(0, width - 1)]}…'

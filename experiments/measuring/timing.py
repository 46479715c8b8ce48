"""Figures of every program that measures time, and how they are taken.

Competitors take turns (A B C A B C ...), so that whatever else the machine does
hits all of them. A figure is the median of the samples within the turns, its
interval their quartiles; a single sample has none, unless it is a share.
"""

from collections.abc import Callable, Mapping
import time
from typing import Any, NamedTuple

from absl import flags, logging
import jax
import numpy as np

from experiments import publish
from experiments.publish import Entry
from experiments.running.program import command_line
from rdefense import provenance
from rdefense.certify import statistics

__all__ = [
  'Figure',
  'entries',
  'quick',
  'quick_asked',
  'run',
  'table',
  'take_turns',
]

_QUICK = flags.DEFINE_bool('quick', False, 'A smoke run: figures mean nothing.')


class Figure(NamedTuple):
  """One figure of the table."""

  samples: np.ndarray  # [repeats]
  target: str = ''
  unit: str = 'times'
  examples: int | None = None

  @property
  def quartiles(self) -> list[float]:
    return [float(q) for q in np.quantile(self.samples, (0.25, 0.5, 0.75))]

  @property
  def interval(self) -> tuple[float, float] | None:
    """Quartiles of repeats; of one share of examples the exact interval.

    >>> one = Figure(np.array([41.7]), unit='%', examples=1000)
    >>> [round(end, 2) for end in one.interval]
    [38.62, 44.83]
    >>> Figure(np.array([616.0]), unit='MiB', examples=64).interval is None
    True
    """
    if len(self.samples) > 1:
      low, _, high = self.quartiles
      return low, high
    if self.unit != '%' or not self.examples:
      return None
    right = round(float(self.samples[0]) * self.examples / 100)
    low, high = statistics.clopper_pearson(right, self.examples)
    return 100 * low, 100 * high


def take_turns(
  competitors: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, np.ndarray]:
  """Seconds `[repeats]` of each; a first round, not counted, compiles."""
  seconds: dict[str, list[float]] = {name: [] for name in competitors}
  for turn in range(repeats + 1):
    for name, fn in competitors.items():
      begin = time.perf_counter()
      jax.block_until_ready(fn())
      if turn:
        seconds[name].append(time.perf_counter() - begin)
  return {name: np.array(values) for name, values in seconds.items()}


def table(figures: Mapping[str, Figure]) -> str:
  """A line a figure: median, interval, target."""
  width = max([42, *map(len, figures)])
  lines = [f'{"figure":{width}}{"median":>10}{"interval":>24}  target']
  for name, figure in figures.items():
    value = f'{figure.quartiles[1]:,.4g}'
    target = figure.target or figure.unit
    between = ' to '.join(f'{end:,.4g}' for end in figure.interval or ()) or '–'
    lines.append(f'{name:{width}}{value:>10}{between:>24}  {target}')
  return '\n'.join(lines)


def entries(
  figures: Mapping[str, Figure], program: str = 'benchmark'
) -> dict[str, Entry]:
  """Figures with their surroundings, as docs/results.json holds them."""
  about = provenance.environment()
  found = {}
  for name, figure in figures.items():
    low, high = figure.interval or (None, None)
    found[f'benchmark/{name}'] = Entry(
      figure.quartiles[1], low, high, figure.examples, 'full',
      command_line(program), publish.commit_of(about), about['device'],
      about['date'], figure.unit, figure.target,
    )  # fmt: skip
  return found


def quick() -> bool:
  """Whether a smoke run is asked for."""
  return _QUICK.value


def quick_asked() -> bool:
  """Whether a smoke run is asked for, of a program that may publish.

  Raises:
    ValueError: where a smoke run is to be published.
  """
  if quick() and publish.ASKED.value:
    raise ValueError(
      '--quick measures nothing worth a --publish: leave out one of the two.'
    )
  return quick()


def run(measured: Callable[[bool], dict[str, Figure]], program: str):
  """`main` of a program that measures: prints and publishes what it finds."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells much at INFO
  figures = measured(quick_asked())
  print(table(figures))
  if publish.ASKED.value:
    publish.publish(publish.RESULTS, entries(figures, program))

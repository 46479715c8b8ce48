"""Figures of docs/results.json as the page of costs reads them.

>>> results = {'scaling/devices/judge/flops_1': {'value': 2.0}}
>>> value(results, 'devices/judge/flops_1'), names_of(results, 'devices')
(2.0, ['judge'])
"""

from collections.abc import Mapping
from typing import Any

from experiments.measuring import costs
from experiments.measuring.costs import Work
from experiments.scale.workload import Part

__all__ = ['Results', 'names_of', 'needed', 'reached', 'short', 'value']

Results = Mapping[str, Mapping[str, Any]]  # as docs/results.json holds them


def value(results: Results, key: str) -> float:
  """A figure of `experiments.scaling`."""
  return results[f'scaling/{key}']['value']


def names_of(results: Results, of: str) -> list[str]:
  """What `scaling/<of>/` has keys of."""
  keys = [k.split('/') for k in results if k.startswith(f'scaling/{of}/')]
  return list(dict.fromkeys(parts[2] for parts in keys))


def needed(part: Part, results: Results) -> Work:
  """The work of a part, from the measured work of one image.

  A defended network is that behind the defense it was measured with: codes, or
  RandMix where that is the only one.
  """
  front = 'plain'
  if part.defended:
    start = f'scaling/network/{part.network}/'
    keys = [key for key in results if key.startswith(start)]
    found = {key.removeprefix(start).split('/')[0] for key in keys}
    front = min(found - {'plain', 'parameters'}, default='defended')
  key = f'network/{part.network}/{front}/{part.program}'
  work = Work(*(value(results, f'{key}_{unit}') for unit in Work._fields))
  return costs.scaled(work, part.num_images)


def reached(results: Results) -> float:
  """Share of a matrix product that an attack on the MNIST network reached."""
  rate = results['benchmark/cpu_image_steps_per_second']['value']
  matmul = results['benchmark/matmul_gflops']['value'] * 1e9
  return rate * 2 * costs.mnist_cnn_flops() / matmul


def short(number: float) -> str:
  """With three digits and a prefix.

  >>> short(24.13e9), short(75770)
  ('24.1 G', '75.8 k')
  """
  for power, prefix in zip(range(18, 0, -3), 'EPTGMk'):
    if number >= 10**power:
      return f'{number / 10**power:.3g} {prefix}'
  return f'{number:.3g} '

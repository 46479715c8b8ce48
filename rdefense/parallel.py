"""One mesh, one axis: examples are split over devices, parameters copied."""

from typing import NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding

__all__ = ['Layout', 'layout', 'memory_budget', 'padded_size']

_CPU_BUDGET = 64 * 2**20  # larger working sets leave a CPU's caches


class Layout(NamedTuple):
  """Where arrays live.

  Attributes:
    num_devices: devices the examples are split over.
    split: sharding of arrays whose leading axis counts examples.
    copied: sharding of parameters, keys and scalars.
  """

  num_devices: int
  split: NamedSharding
  copied: NamedSharding


def layout(devices=None) -> Layout:
  """A layout over the given devices, by default all of this process.

  Args:
    devices: sequence of `jax.Device`; None means `jax.local_devices()`.

  >>> layout(jax.local_devices()[:1]).num_devices
  1
  """
  devices = jax.local_devices() if devices is None else list(devices)
  mesh = jax.make_mesh(
    (len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices
  )
  return Layout(
    mesh.size,
    NamedSharding(mesh, jax.P('data')),
    NamedSharding(mesh, jax.P()),
  )


def padded_size(where: Layout, count: int) -> int:
  """The least number of rows, `count` or more, that splits evenly.

  >>> padded_size(layout(jax.local_devices()[:1]), 5)
  5
  """
  return -(-count // where.num_devices) * where.num_devices


def memory_budget() -> int:
  """Bytes that draws side by side may take of one device.

  Half of an accelerator's memory; on a CPU little, because more draws at once
  do not make it faster.
  """
  stats = jax.local_devices()[0].memory_stats() or {}  # none on a CPU
  return stats['bytes_limit'] // 2 if 'bytes_limit' in stats else _CPU_BUDGET

"""One mesh, one axis: examples are split over devices, parameters copied."""

from typing import NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding

__all__ = ['Layout', 'layout', 'padded_size']


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

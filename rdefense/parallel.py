"""One mesh, one axis: examples are split over devices, parameters copied.

Attacks, judges and certificates run on the devices of one process (`layout`),
so nothing they compile talks to another host; several hosts share a data set
shard by shard (`rdefense.shards`). Training runs on the devices of all
processes (`everywhere`), each of which reads its own rows of a batch and gives
them to one global array.

>>> where = everywhere()
>>> rows = own_rows(where, 8 * where.num_devices)
>>> bool((rows == np.arange(len(rows))).all())  # one process has them all
True
"""

from typing import NamedTuple

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
import numpy as np

from rdefense.types import PyTree

__all__ = [
  'Layout',
  'at_hand',
  'copied',
  'everywhere',
  'is_first',
  'layout',
  'own_rows',
  'padded_size',
  'spread',
  'wait',
]


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


def everywhere() -> Layout:
  """A layout over all devices of all processes."""
  return layout(jax.devices())


def padded_size(where: Layout, count: int) -> int:
  """The least number of rows, `count` or more, that splits evenly.

  >>> padded_size(layout(jax.local_devices()[:1]), 5)
  5
  """
  return -(-count // where.num_devices) * where.num_devices


def is_first() -> bool:
  """Whether this process writes what is written once, such as a report."""
  return jax.process_index() == 0


def own_rows(where: Layout, size: int) -> np.ndarray:
  """Rows of a batch that the devices of this process hold, ascending.

  Args:
    where: the layout.
    size: rows of the batch of all processes, a multiple of its devices.

  Returns:
    `[size / processes]` int64.
  """
  places = where.split.addressable_devices_indices_map((size,)).values()
  return np.sort(np.concatenate([np.arange(size)[place] for place in places]))


def spread(where: Layout, tree: PyTree) -> PyTree:
  """Global arrays from what each process has read.

  Args:
    where: the layout.
    tree: arrays `[own rows, ...]`, in the order of `own_rows`.

  Returns:
    Arrays `[size, ...]`, split over the devices of `where`.
  """
  return jax.tree.map(
    lambda rows: jax.make_array_from_process_local_data(where.split, rows),
    tree,
  )


def copied(where: Layout, tree: PyTree) -> PyTree:
  """Arrays that all processes have alike, on each device of `where`."""
  return jax.device_put(jax.tree.map(np.asarray, tree), where.copied)


def at_hand(tree: PyTree) -> PyTree:
  """Copies of replicated arrays on this process's devices; nothing moves."""
  if jax.process_count() == 1:
    return tree
  here = layout().copied

  def local(array):
    parts = [shard.data for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, here, parts)

  return jax.tree.map(local, tree)


def wait(name: str) -> None:
  """Returns when all processes are here; at once where there is but one.

  Args:
    name: of the place, the same in all of them.
  """
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)

"""Layouts over the eight CPU devices that conftest.py asks for."""

import jax
import numpy as np
import pytest

from rdefense.parallel import (
  at_hand,
  copied,
  everywhere,
  is_first,
  layout,
  own_rows,
  spread,
  wait,
)


def rows_by_device(array):
  return {s.device: np.asarray(s.data) for s in array.addressable_shards}


def test_the_default_layout_covers_every_local_device():
  where = layout()
  assert where.num_devices == len(jax.local_devices()) == 8
  assert where.split.device_set == set(jax.local_devices())


@pytest.mark.parametrize('count', [1, 2, 8])
def test_examples_are_split_in_order_without_overlap(count):
  devices = jax.local_devices()[:count]
  where = layout(devices)
  x = np.arange(48, dtype=np.float32).reshape(16, 3)
  shards = rows_by_device(jax.device_put(x, where.split))
  assert where.num_devices == count and set(shards) == set(devices)
  joined = np.concatenate([shards[device] for device in devices])
  np.testing.assert_array_equal(joined, x)


def test_copied_arrays_are_whole_on_every_device():
  where = layout(jax.local_devices()[2:5])
  shards = rows_by_device(jax.device_put(np.arange(4), where.copied))
  assert set(shards) == set(jax.local_devices()[2:5])
  for values in shards.values():
    np.testing.assert_array_equal(values, np.arange(4))


def test_a_mapped_function_stays_split_and_moves_no_data():
  where = layout()
  fn = jax.jit(
    jax.vmap(lambda w, x: (w * x).sum(), (None, 0)),
    in_shardings=(where.copied, where.split),
    out_shardings=where.split,
  )
  w, x = np.float32(2), np.arange(32, dtype=np.float32).reshape(16, 2)
  np.testing.assert_array_equal(fn(w, x), 2 * x.sum(1))
  text = fn.lower(w, x).compile().as_text()
  assert not [word for word in ('all-', 'permute', 'scatter(') if word in text]


def test_one_process_is_first_has_all_rows_and_waits_for_nobody():
  where = everywhere()
  assert where == layout() and is_first()
  np.testing.assert_array_equal(own_rows(where, 16), np.arange(16))
  wait('here')
  rows = {'x': np.arange(16.0), 'y': np.arange(32).reshape(16, 2)}
  both = spread(where, rows)
  for name, array in both.items():
    assert array.sharding == where.split
    np.testing.assert_array_equal(array, rows[name])
  params = copied(where, {'w': np.arange(3.0)})
  assert params['w'].sharding == where.copied
  np.testing.assert_array_equal(at_hand(params)['w'], np.arange(3.0))


def test_a_process_reads_the_rows_of_its_devices():
  """As if the first and the last device alone were of this process."""

  class Split:
    def addressable_devices_indices_map(self, shape):
      return {'last': (slice(14, 16),), 'first': (slice(None, 2),)}

  where = layout()._replace(split=Split())
  assert own_rows(where, 16).tolist() == [0, 1, 14, 15]

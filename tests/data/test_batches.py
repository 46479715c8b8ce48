from hypothesis import given
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.data.batches import (
  Batch,
  batches,
  epoch_indices,
  gather,
  training_batch_indices,
)
from rdefense.data.sources import Arrays, to_unit

sizes = st.integers(1, 40)
batch_sizes = st.integers(1, 50)
seeds = st.integers(0, 2**32)


def _arrays(size):
  # Every image says which row it is, so that a mix-up shows.
  images = np.arange(size, dtype=np.uint8).reshape(size, 1, 1, 1)
  images = np.broadcast_to(images, (size, 2, 3, 1)).copy()
  return Arrays(images, np.arange(size, dtype=np.int32), max(size, 1), 'toy')


def _check_batch(batch, arrays, batch_size):
  assert batch.index.shape == (batch_size,) and batch.index.dtype == np.int32
  assert batch.image.shape == (batch_size, *arrays.images.shape[1:])
  assert batch.image.dtype == np.float32
  assert batch.label.shape == (batch_size,) and batch.label.dtype == np.int32
  assert batch.mask.shape == (batch_size,) and batch.mask.dtype == bool
  # Padding is an ordinary example too: finite, in range, rightly labelled.
  np.testing.assert_array_equal(
    batch.image, to_unit(arrays.images)[batch.index]
  )
  np.testing.assert_array_equal(batch.label, arrays.labels[batch.index])


@given(size=sizes, batch_size=batch_sizes)
def test_batches_hold_each_example_once_in_order(size, batch_size):
  arrays = _arrays(size)
  found = list(batches(arrays, batch_size))
  for batch in found:
    _check_batch(batch, arrays, batch_size)
  assert len(found) == -(-size // batch_size)
  masked = np.concatenate([batch.index[batch.mask] for batch in found])
  np.testing.assert_array_equal(masked, np.arange(size))


@given(data=st.data(), size=sizes, batch_size=batch_sizes)
def test_batches_follow_indices(data, size, batch_size):
  indices = data.draw(st.lists(st.integers(0, size - 1), max_size=60))
  arrays = _arrays(size)
  found = list(batches(arrays, batch_size, np.array(indices, np.int64)))
  for batch in found:
    _check_batch(batch, arrays, batch_size)
  assert [i for b in found for i in b.index[b.mask]] == indices


@given(size=sizes, batch_size=batch_sizes)
def test_only_the_end_of_the_last_batch_is_padding(size, batch_size):
  *full, last = batches(_arrays(size), batch_size)
  assert all(batch.mask.all() for batch in full)
  num_real = last.mask.sum()
  assert num_real >= 1
  np.testing.assert_array_equal(last.mask, np.arange(batch_size) < num_real)
  np.testing.assert_array_equal(last.index[num_real:], size - 1)


def test_no_indices_give_no_batches():
  assert list(batches(_arrays(3), 2, indices=[])) == []


def test_batches_are_lazy():
  # 10^9 rows of 784 float32 pixels would not fit.
  arrays = Arrays(
    np.broadcast_to(np.uint8(0), (10**9, 28, 28, 1)),
    np.broadcast_to(np.int32(0), (10**9,)),
    1,
    'large',
  )
  batch = next(batches(arrays, 2, indices=np.array([0, 10**9 - 1, 5])))
  assert batch.index.tolist() == [0, 10**9 - 1]


def test_batch_goes_through_jit_as_it_is():
  batch = next(batches(_arrays(5), 4, indices=[1, 4]))
  total = jax.jit(lambda b: jnp.sum(b.image[:, 0, 0, 0] * b.mask))(batch)
  # Two float32 additions of numbers below 1.
  np.testing.assert_allclose(total, 5 / 255, rtol=1e-6)
  leaves = jax.tree.leaves(jax.device_put(batch))
  assert [leaf.dtype for leaf in leaves] == [a.dtype for a in batch]


@given(data=st.data(), size=sizes)
def test_gather_takes_rows_in_order_without_padding(data, size):
  rows = data.draw(st.lists(st.integers(0, size - 1), max_size=30))
  arrays = _arrays(size)
  batch = gather(arrays, rows)
  assert isinstance(batch, Batch)
  _check_batch(batch, arrays, len(rows))
  assert batch.index.tolist() == rows
  assert batch.mask.all()


@given(seed=seeds, epoch=st.integers(0, 1000), size=sizes)
def test_epoch_indices_are_a_repeatable_permutation(seed, epoch, size):
  order = epoch_indices(seed, epoch, size)
  assert order.dtype == np.int32
  np.testing.assert_array_equal(np.sort(order), np.arange(size))
  order[:] = -1  # The caller's own copy: the next call must not see this.
  again = epoch_indices(seed, epoch, size)
  expected = np.random.default_rng([seed, epoch]).permutation(size)
  np.testing.assert_array_equal(again, expected)


def test_epochs_and_seeds_have_orders_of_their_own():
  orders = {
    tuple(epoch_indices(seed, epoch, 50))
    for seed in range(4)
    for epoch in range(4)
  }
  assert len(orders) == 16


def test_epoch_order_is_frozen():
  # Runs resumed under a newer NumPy must go on as they began.
  expected = [3, 4, 2, 6, 1, 9, 7, 0, 8, 5]
  np.testing.assert_array_equal(epoch_indices(3, 7, 10), expected)


@given(
  seed=seeds, size=sizes, batch_size=batch_sizes, num_steps=st.integers(1, 20)
)
def test_training_steps_read_the_epochs_one_after_another(
  seed, size, batch_size, num_steps
):
  steps = [
    training_batch_indices(seed, step, size, batch_size)
    for step in range(num_steps)
  ]
  assert all(rows.shape == (batch_size,) for rows in steps)
  assert all(rows.dtype == np.int32 for rows in steps)
  stream = np.concatenate(steps)
  for epoch in range(len(stream) // size):
    rows = stream[epoch * size : (epoch + 1) * size]
    np.testing.assert_array_equal(rows, epoch_indices(seed, epoch, size))
  counts = np.bincount(stream, minlength=size)
  assert counts.max() - counts.min() <= 1


@given(
  seed=seeds, size=sizes, batch_size=batch_sizes, step=st.integers(0, 10**9)
)
def test_training_step_needs_no_history(seed, size, batch_size, step):
  rows = training_batch_indices(seed, step, size, batch_size)
  position = step * batch_size
  expected = [
    epoch_indices(seed, p // size, size)[p % size]
    for p in range(position, position + batch_size)
  ]
  np.testing.assert_array_equal(rows, expected)


def test_training_rows_are_the_callers_own():
  first = training_batch_indices(0, 0, 10, 5)
  kept = first.copy()
  first[:] = 0
  np.testing.assert_array_equal(training_batch_indices(0, 0, 10, 5), kept)


def test_numpy_and_jax_step_counters_are_accepted():
  expected = training_batch_indices(0, 9, 10, 4)
  for step in (np.int32(9), jnp.int32(9)):
    rows = training_batch_indices(0, step, 10, 4)
    np.testing.assert_array_equal(rows, expected)


def test_step_counters_of_int32_do_not_overflow():
  rows = training_batch_indices(0, np.int32(2**31 - 1), 7, 2**10)
  assert sorted(rows[:7]) != [] and rows.min() == 0 and rows.max() == 6


@pytest.mark.parametrize('batch_size', [0, -3])
def test_batches_refuses_batch_sizes_below_1(batch_size):
  with pytest.raises(ValueError, match=f'batch_size.*got {batch_size}'):
    batches(_arrays(3), batch_size)  # At the call, not at the first batch.


@pytest.mark.parametrize(
  'take', [lambda a: batches(a, 2), lambda a: gather(a, [0])]
)
def test_empty_dataset_is_refused(take):
  with pytest.raises(ValueError, match='at least one example; toy is empty'):
    take(_arrays(0))


@pytest.mark.parametrize(
  'rows, message',
  [
    ([0, 3], r'0\.\.2; got 0\.\.3'),
    ([-1], r'0\.\.2; got -1\.\.-1'),
    ([True, False, True], 'integers; got bool.*flatnonzero'),
    ([0.0], 'integers; got float64'),
    ([[0, 1]], r'one axis; got shape \(1, 2\)'),
  ],
  ids=['too-large', 'negative', 'mask', 'float', 'two-axes'],
)
def test_what_is_no_row_is_refused(rows, message):
  with pytest.raises(ValueError, match=message):
    batches(_arrays(3), 2, rows)
  with pytest.raises(ValueError, match=message):
    gather(_arrays(3), rows)


@pytest.mark.parametrize(
  'change',
  [{'labels': np.zeros(2, np.int32)}, {'images': np.zeros((3, 4), np.uint8)}],
  ids=['labels', 'images'],
)
def test_inconsistent_arrays_are_refused(change):
  with pytest.raises(ValueError, match=r'images \[N, H, W, C\] and labels'):
    batches(_arrays(3)._replace(**change), 2)


@pytest.mark.parametrize(
  'dtype, value, message',
  [
    (np.float64, 0, 'must be uint8'),
    (np.int32, 0, 'must be uint8'),
    (np.float32, 255, r'span \[255, 255\].*divide by 255'),
    (np.float32, np.nan, 'NaN or infinite'),
  ],
)
def test_images_that_are_neither_uint8_nor_in_unit_are_refused(
  dtype, value, message
):
  arrays = _arrays(3)._replace(images=np.full((3, 2, 2, 1), value, dtype))
  with pytest.raises(ValueError, match=message):
    gather(arrays, [0])


@pytest.mark.parametrize(
  'change, message',
  [
    ({'seed': -1}, 'seed must be 0 or more; got -1'),
    ({'step': -2}, 'step must be 0 or more; got -2'),
    ({'size': 0}, 'size must be at least 1; got 0'),
    ({'batch_size': 0}, 'batch_size must be at least 1; got 0'),
  ],
)
def test_training_batch_indices_refuses(change, message):
  arguments = {'seed': 0, 'step': 0, 'size': 5, 'batch_size': 2}
  with pytest.raises(ValueError, match=message):
    training_batch_indices(**(arguments | change))


@pytest.mark.parametrize(
  'change, message',
  [
    ({'seed': -1}, 'seed must be 0 or more; got -1'),
    ({'epoch': -2}, 'epoch must be 0 or more; got -2'),
    ({'size': 0}, 'size must be at least 1; got 0'),
  ],
)
def test_epoch_indices_refuses(change, message):
  arguments = {'seed': 0, 'epoch': 0, 'size': 5}
  with pytest.raises(ValueError, match=message):
    epoch_indices(**(arguments | change))

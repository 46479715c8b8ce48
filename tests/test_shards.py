"""Shards are computed once, counted always, and give one table."""

import threading

import jax
import numpy as np
import pytest

from rdefense import records, shards
from rdefense.data import Arrays

ARRAYS = Arrays(
  np.zeros((7, 2, 2, 1), np.uint8), np.arange(7, dtype=np.int32) % 3, 3, 'toy'
)


def work(directory, computed, num_examples=None):
  told = []

  def compute(batch):
    index = batch.index[batch.mask]
    computed.extend(index.tolist())
    return {'index': index, 'label': batch.label[batch.mask]}

  def tell(counts):
    told.append(counts.tolist())
    return ''

  rows = shards.worked_off(
    ARRAYS,
    directory,
    3,
    num_examples,
    compute,
    lambda columns: np.array([len(columns['index'])]),
    tell,
  )
  return rows, told


def test_what_lies_on_disk_is_read_and_counted(tmp_path):
  first, again = [], []
  rows, told = work(tmp_path, first)
  assert first == rows['index'].tolist() == list(range(7))
  assert told == [[3], [6], [7]]
  records.shard_path(tmp_path, 1).unlink()
  rows, told = work(tmp_path, again)
  assert again == [3, 4, 5] and told == [[3], [6], [7]]
  assert rows['label'].tolist() == ARRAYS.labels.tolist()


def test_only_the_first_examples_are_worked_off(tmp_path):
  computed = []
  rows, told = work(tmp_path, computed, num_examples=4)
  assert computed == rows['index'].tolist() == [0, 1, 2, 3]
  assert told[-1] == [4]


@pytest.mark.parametrize(
  'numbers, again',
  [((4, 7), [3, 4, 5, 6]), ((7, 4), []), ((3, 6), [3, 4, 5]), ((7, 1, 7), [])],
  ids=str,
)
def test_another_number_gives_that_many(numbers, again, tmp_path):
  """A shard that was the last of fewer examples is computed anew, whole."""
  work(tmp_path, [], num_examples=numbers[0])
  computed = []
  for number in numbers[1:]:
    rows, told = work(tmp_path, computed, num_examples=number)
    assert rows['index'].tolist() == list(range(number))
    assert told[-1] == [number]
  assert computed == again


@pytest.mark.parametrize('number', [0, -1, 2.5])
def test_no_examples_are_refused(number, tmp_path):
  with pytest.raises(ValueError, match=f'num_examples={number} must be'):
    work(tmp_path, [], number)


def test_labels_out_of_range_are_an_error_before_any_work(tmp_path):
  computed = []
  bad = ARRAYS._replace(num_classes=2)
  with pytest.raises(ValueError, match='label'):
    shards.worked_off(bad, tmp_path, 3, None, computed.append, len, str)
  assert not computed


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_share_the_shards_and_read_them_all(
  processes, tmp_path, monkeypatch
):
  """Threads stand for processes: each has its number, all see the folder."""
  own = threading.local()
  monkeypatch.setattr(jax, 'process_index', lambda: own.number)
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  computed = {number: [] for number in range(processes)}
  tables = {}

  def run(number):
    own.number = number
    tables[number], _ = work(tmp_path, computed[number])

  threads = [threading.Thread(target=run, args=[n]) for n in computed]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(timeout=60)
  shares = [[0, 1, 2], [3, 4, 5], [6], []]
  if processes == 2:
    shares = [[0, 1, 2, 6], [3, 4, 5]]
  assert list(computed.values()) == shares
  for rows in tables.values():
    assert rows['index'].tolist() == list(range(7))
  assert records.completed(tmp_path) == {0, 1, 2}


def test_a_process_waits_for_a_shard_that_another_is_computing_anew(
  tmp_path, monkeypatch
):
  """The last shard of fewer examples is there, and not yet whole."""
  work(tmp_path, [], num_examples=4)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 0)
  looks = []

  def other(pause):
    looks.append(pause)
    if len(looks) == 2:
      rest = np.arange(3, 6)
      records.write_shard(
        tmp_path, 1, {'index': rest, 'label': ARRAYS.labels[rest]}
      )

  monkeypatch.setattr(shards.time, 'sleep', other)
  rows, _ = work(tmp_path, [])
  assert rows['index'].tolist() == list(range(7)) and len(looks) == 2

"""Saving, finding and loading training states."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rdefense import checkpoints
from rdefense.training import TrainState


def state(step=3, width=4, scale=1.0, tx=None):
  tx = tx or optax.chain(optax.clip(1.0), optax.adam(0.1))
  params = {
    'params': {
      'Dense_0': {
        'kernel': scale * jnp.arange(2.0 * width).reshape(2, width),
        'bias': jnp.full(width, scale),
      }
    }
  }
  return TrainState(jnp.int32(step), params, tx.init(params))


def test_what_is_loaded_is_what_was_saved(tmp_path):
  saved = state(scale=1 / 3)
  checkpoints.save(tmp_path, 3, saved)
  template = jax.eval_shape(lambda: state())
  loaded = checkpoints.load(tmp_path, template)
  chex.assert_trees_all_equal(loaded, saved)
  chex.assert_trees_all_equal_dtypes(loaded, saved)
  assert isinstance(loaded, TrainState)
  assert jax.tree.structure(loaded) == jax.tree.structure(saved)
  for leaf in jax.tree.leaves(loaded):
    assert len(leaf.sharding.device_set) == len(jax.devices())


def test_the_latest_is_loaded_and_two_are_kept(tmp_path):
  for step in (2, 10, 30):
    checkpoints.save(tmp_path, step, state(step))
  assert checkpoints.latest_step(tmp_path) == 30
  assert int(checkpoints.load(tmp_path, state()).step) == 30
  kept = {int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()}
  assert kept == {10, 30}


def test_there_is_no_latest_where_nothing_was_saved(tmp_path):
  assert checkpoints.latest_step(tmp_path / 'never made') is None
  assert not (tmp_path / 'never made').exists()
  assert checkpoints.latest_step(tmp_path) is None


def test_a_folder_left_by_a_killed_save_is_not_a_checkpoint(tmp_path):
  checkpoints.save(tmp_path, 3, state(3))
  (tmp_path / '9.orbax-checkpoint-tmp').mkdir()
  assert checkpoints.latest_step(tmp_path) == 3
  checkpoints.save(tmp_path, 9, state(9))
  assert int(checkpoints.load(tmp_path, state()).step) == 9


@pytest.mark.parametrize('name', ['', 'never made'], ids=['empty', 'missing'])
def test_no_checkpoint_is_one_sentence_that_says_what_to_do(tmp_path, name):
  with pytest.raises(ValueError) as caught:
    checkpoints.load(tmp_path / name, state())
  message = str(caught.value)
  assert f'no checkpoint in {tmp_path / name}' in message
  assert 'experiments.train' in message and '\n' not in message


@pytest.mark.parametrize(
  'other, leaf, there, here',
  [
    (
      state(width=5),
      'opt_state/1/0/mu/params/Dense_0/bias',
      '(4,)',
      '(5,)',
    ),
    (state(tx=optax.sgd(0.1)), 'opt_state/', '', 'absent'),
    (state()._replace(params={}), 'params/params/Dense_0/bias', '', 'absent'),
    (
      state()._replace(params=state().params | {'more': jnp.zeros(7)}),
      'params/more',
      'absent',
      '(7,)',
    ),
  ],
  ids=['shape', 'optimizer', 'leaf_gone', 'leaf_new'],
)
def test_another_network_is_refused_naming_the_leaf(
  tmp_path, other, leaf, there, here
):
  checkpoints.save(tmp_path, 3, state())
  with pytest.raises(ValueError) as caught:
    checkpoints.load(tmp_path, other)
  message = str(caught.value)
  assert f'{tmp_path} holds another network: {leaf}' in message
  assert f'is {there}' in message and f'{here} in this config' in message
  assert '\n' not in message
  np.testing.assert_array_equal(checkpoints.load(tmp_path, state()).step, 3)


def test_a_bucket_does_not_become_a_folder_of_this_machine(
  bucket, tmp_path, monkeypatch
):
  opened = []

  def refuse(directory, **_):
    opened.append(str(directory))
    raise OSError('in memory Orbax cannot write')

  monkeypatch.setattr(checkpoints.ocp.training, 'Checkpointer', refuse)
  monkeypatch.chdir(tmp_path)
  for directory in (f'{bucket}/models/nat', 'models/nat'):
    with pytest.raises(OSError, match='Orbax'):
      checkpoints.save(directory, 3, state())
  assert opened == [f'{bucket}/models/nat', str(tmp_path / 'models/nat')]

"""Where a model is taken from, and which models are not taken."""

import jax.numpy as jnp
import ml_collections
import pytest

from experiments import workdir
from rdefense import checkpoints, files

LAST = 8


def made(home, name, step, told=True):
  """A workdir with one checkpoint, and the config that it belongs to."""
  checkpoints.save(home / 'models' / name, step, {'w': jnp.zeros(2)})
  if told:
    config = {'runs': {name: {'num_steps': LAST}}}
    files.write_json(home / 'config.json', config)
  return home


def taken(home, name='nat', pretrained=''):
  config = ml_collections.ConfigDict({'pretrained': str(pretrained)})
  return workdir.trained_model(config, home, name)


def test_pretrained_models_come_before_our_own(tmp_path):
  own = made(tmp_path / 'own', 'nat', LAST)
  earlier = made(tmp_path / 'earlier', 'nat', LAST)
  assert taken(own) == own / 'models/nat'
  assert taken(own, pretrained=earlier) == earlier / 'models/nat'
  other = made(tmp_path / 'other', 'adv', LAST)
  assert taken(own, pretrained=other) == own / 'models/nat'


@pytest.mark.parametrize('where', ['own', 'pretrained'])
def test_a_model_that_is_not_trained_to_its_end_is_refused(tmp_path, where):
  home = made(tmp_path / where, 'nat', LAST - 1)
  given = (home,) if where == 'own' else (tmp_path / 'new', 'nat', home)
  with pytest.raises(ValueError, match=r'models/nat has done 7 of its 8 steps'):
    taken(*given)


def test_a_copied_model_without_a_config_is_taken(tmp_path):
  home = made(tmp_path, 'nat', 1, told=False)
  assert taken(home) == home / 'models/nat'


def test_every_folder_that_was_searched_is_named(tmp_path):
  searched = r'wrong/models/nat and .*run/models/nat: train this model first'
  with pytest.raises(ValueError, match=searched):
    taken(tmp_path / 'run', pretrained=tmp_path / 'wrong')

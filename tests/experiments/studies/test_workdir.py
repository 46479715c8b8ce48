"""Where a model is taken from, and which models are not taken."""

import jax.numpy as jnp
import ml_collections
import pytest

from experiments.studies import workdir
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


def test_our_own_models_come_before_pretrained_ones(tmp_path):
  """Both studies have re-trained a model of that name, behind other codes."""
  own = made(tmp_path / 'own', 'nat_re', LAST)
  earlier = made(made(tmp_path / 'earlier', 'nat_re', LAST), 'nat', LAST)
  assert taken(own, 'nat_re') == own / 'models/nat_re'
  assert taken(own, 'nat_re', earlier) == own / 'models/nat_re'
  assert taken(own, 'nat', earlier) == earlier / 'models/nat'


@pytest.mark.parametrize(
  'name, step, defense, given',
  [
    ('nat', LAST, 'none', True),
    ('nat', LAST - 1, 'none', False),  # still to be trained there
    ('adv', LAST, 'none', False),  # not there at all
    ('nat', LAST, 'discretized', False),  # behind other codes
  ],
)
def test_undefended_models_of_another_study_need_no_training(
  tmp_path, name, step, defense, given
):
  earlier = made(tmp_path / 'earlier', 'nat', step)
  config = ml_collections.ConfigDict(
    {'pretrained': str(earlier), 'runs': {name: {'defense': defense}}}
  )
  assert workdir.is_given(config, tmp_path / 'own', name) is given
  copied = made(tmp_path / 'copied', 'nat', 1, told=False)
  config.pretrained = str(copied)
  assert workdir.is_given(config, tmp_path / 'own', name) is (
    name == 'nat' and defense == 'none'
  )
  own = made(tmp_path / 'own', name, LAST - 2)  # begun here: goes on here
  assert not workdir.is_given(config, own, name)


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
  searched = r'run/models/nat and .*wrong/models/nat: train this model first'
  with pytest.raises(ValueError, match=searched):
    taken(tmp_path / 'run', pretrained=tmp_path / 'wrong')

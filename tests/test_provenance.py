"""What a figure depends on, and whom a workdir belongs to."""

import errno
import os
import re
import subprocess

import numpy as np
import pytest

from rdefense import files, provenance


def test_environment_is_complete_and_plain(tmp_path):
  about = provenance.environment()
  files.write_json(tmp_path / 'environment.json', about)
  assert set(about['packages']) >= {
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'numpy',
    'scipy',
    'rdefense',
  }
  assert about['packages']['numpy'] == np.__version__
  assert about['devices'] >= 1
  assert re.match(r'\d{4}-\d\d-\d\dT.*\+00:00$', about['date'])
  assert (about['commit'] is None) == (about['dirty'] is None)


def test_copy_inside_anothers_checkout_has_no_commit(tmp_path, monkeypatch):
  def git(*arguments):
    subprocess.run(
      [
        'git',
        '-C',
        tmp_path,
        '-c',
        'user.name=a',
        '-c',
        'user.email=a@b.c',
        *arguments,
      ],
      check=True,
      capture_output=True,
    )

  package = tmp_path / 'rdefense' / 'provenance.py'
  package.parent.mkdir()
  package.write_text('pass\n')
  results = tmp_path / 'docs' / 'results.json'
  results.parent.mkdir()
  results.write_text('{}')
  git('init')
  git('commit', '--allow-empty', '-m', 'another project')
  monkeypatch.setattr(provenance, '__file__', str(package))
  assert provenance.environment()['commit'] is None
  git('add', '.')
  git('commit', '-m', 'ours')
  about = provenance.environment()
  assert re.fullmatch('[0-9a-f]{40}', about['commit'])
  assert about['dirty'] is False
  (tmp_path / 'run.json').write_text('{}')
  # Untracked files are no edit.
  assert provenance.environment()['dirty'] is False
  results.write_text('{"a": 1}')  # published by a run before
  assert provenance.environment()['dirty'] is False
  package.write_text('changed\n')
  assert provenance.environment()['dirty'] is True


def test_workdir_belongs_to_its_first_config(tmp_path):
  config = {'attack': {'eps': 0.3, 'steps': (40, 100)}, 'seed': np.int32(0)}
  provenance.claim(tmp_path / 'run', config)
  provenance.claim(tmp_path / 'run', config)
  stored = (tmp_path / 'run' / 'config.json').read_bytes()
  other = {'attack': {'eps': 0.1, 'steps': (40, 100)}, 'seed': 1}
  with pytest.raises(ValueError) as error:
    provenance.claim(tmp_path / 'run', other)
  message = str(error.value)
  assert 'attack.eps is 0.3 there and 0.1 here' in message
  assert 'another --workdir' in message
  assert 'a workdir that belongs to another config' in message
  assert (tmp_path / 'run' / 'config.json').read_bytes() == stored


@pytest.mark.parametrize(
  'changed, text',
  [
    ({'a': 1, 'b': {'c': 2}}, 'b.c is absent there and 2 here'),
    ({'a': 1, 'b': {}, 'z': None}, 'z is absent there and None here'),
    ({'b': {}}, 'a is 1 there and absent here'),
  ],
)
def test_added_and_removed_keys_belong_to_another_config(
  tmp_path, changed, text
):
  provenance.claim(tmp_path, {'a': 1, 'b': {}})
  with pytest.raises(ValueError, match=text):
    provenance.claim(tmp_path, changed)


def test_an_option_that_came_later_is_as_it_was_before(tmp_path):
  older = {'attacks': {'pgd': {'num_steps': 2}}, 'runs': {'adv': {}}}
  newer = {
    'attacks': {'pgd': {'num_steps': 2, 'precision': 'highest'}},
    'runs': {'adv': {'attacked': False}},
  }
  for number, (first, then) in enumerate(((older, newer), (newer, older))):
    provenance.claim(tmp_path / str(number), first)
    provenance.claim(tmp_path / str(number), then)
  newer['attacks']['pgd']['precision'] = 'default'
  with pytest.raises(ValueError, match='pgd.precision is highest there'):
    provenance.claim(tmp_path / '0', newer)


def test_a_workdir_that_cannot_be_written_to_is_one_sentence(
  tmp_path, monkeypatch
):
  in_the_way = tmp_path / 'file'
  in_the_way.touch()
  with pytest.raises(ValueError, match='--workdir=.*run cannot be written to'):
    provenance.claim(in_the_way / 'run', {'seed': 0})

  def refuse(*given):  # as root, a test may write wherever it is forbidden
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), 'config')

  monkeypatch.setattr(provenance.files, 'write_json', refuse)
  with pytest.raises(ValueError, match=r'written to \(Permission denied\)'):
    provenance.claim(tmp_path / 'run', {'seed': 0})


def test_a_mistake_before_anything_is_made_binds_no_workdir(tmp_path):
  workdir, config, other = tmp_path / 'run', {'seed': 0}, {'seed': 1}

  def mistaken(config, makes=''):
    with provenance.claimed(workdir, config):
      if makes:
        (workdir / makes).touch()
      raise ValueError('a mistake')

  for _ in range(2):
    with pytest.raises(ValueError, match='a mistake'):
      mistaken(config)
  with pytest.raises(ValueError, match='a mistake'):
    mistaken(other, makes='codebook.npz')
  with pytest.raises(ValueError, match='another config'):
    mistaken(config)

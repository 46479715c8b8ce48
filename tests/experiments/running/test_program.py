"""What a program ends with, and what it says of it."""

import jax
import pytest

from experiments import prepare_data
from experiments.running import program
from rdefense import checks


def caught(fn, *args):
  with pytest.raises(Exception) as info:
    fn(*args)
  return info.value


@pytest.mark.parametrize(
  'mistake',
  [
    lambda: checks.check_at_least('eps', -1, 0),
    lambda: open('/no/such/file'),
    lambda: prepare_data.prepare('nonsense', None),
  ],
)
def test_a_users_mistake_is_a_sentence_and_status_2(mistake, capsys):
  error = caught(mistake)
  assert program.status(error) == 2
  program.tell(error)
  shown = capsys.readouterr().err
  assert shown.startswith('error: ') and shown.count('\n') == 1


def test_a_file_is_no_folder(tmp_path):
  file = tmp_path / 'runs'
  file.touch()
  for value in (file, file / 'mnist'):
    with pytest.raises(ValueError) as info:
      program.folder('root', str(value))
    assert str(info.value) == (
      f'--root={value}: {file} is a file, not a folder.'
    )
  assert program.folder('root', str(tmp_path / 'other')).name == 'other'


def test_a_leading_tilde_is_the_home(tmp_path, monkeypatch, bucket):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert str(program.folder('root', '~/runs')) == str(tmp_path / 'runs')
  assert str(program.folder('root', bucket)) == bucket
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match='file is a file, not a folder'):
    program.folder('root', '~/file/runs')


def test_a_missing_extra_is_a_users_mistake(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(prepare_data, '_NEEDED_TO_PREPARE', ('no_such_module',))
  error = caught(prepare_data.prepare, 'mnist', tmp_path)
  assert program.status(error) == 2
  program.tell(error)
  assert 'pip install rdefense[data]' in capsys.readouterr().err


@pytest.mark.parametrize(
  'bug', [lambda: __import__('no_such_module'), lambda: int('x'), lambda: {}[0]]
)
def test_a_bug_keeps_its_traceback(bug, capsys):
  def library():
    return exec('bug()', {'__name__': 'a_library', 'bug': bug})

  error = caught(library)
  assert program.status(error) == 1
  program.tell(error)
  assert 'Traceback' in capsys.readouterr().err


def test_draws_depend_on_no_batch_whatever_the_machine_has(monkeypatch):
  before = jax.config.jax_default_prng_impl
  seen = []
  monkeypatch.setattr(
    program.app, 'run', lambda *_, **__: seen.append(jax.random.key(0).dtype)
  )
  try:
    jax.config.update('jax_default_prng_impl', 'rbg')
    program.run(None)
  finally:
    jax.config.update('jax_default_prng_impl', before)
  assert seen == [jax.random.key(0, impl=checks.THREEFRY).dtype]

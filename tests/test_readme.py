"""README.md and CONTRIBUTING.md do what they say: code, commands, links."""

import importlib
import inspect
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ('README.md', 'CONTRIBUTING.md')
# Printed by `experiments.publish`, so absent before anything is published.
PRINTED = {'docs/RESULTS.md', 'docs/results.json'}


def text(page):
  return (ROOT / page).read_text(encoding='utf-8')


def blocks(page, language='python'):
  """What stands in each fenced block of a language."""
  fence = rf'^```{language}\n(.*?)^```$'
  return re.findall(fence, text(page), re.MULTILINE | re.DOTALL)


def commands(page):
  for block in blocks(page, 'bash'):
    for line in block.replace('\\\n', ' ').splitlines():
      if words := shlex.split(line, comments=True):
        yield words


def test_readme_runs_in_a_fresh_interpreter():
  done = subprocess.run(
    [sys.executable, '-W', 'error', '-c', ''.join(blocks('README.md'))],
    env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_DEBUG_KEY_REUSE': '1'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  clean, *attacked = map(float, re.findall(r'([\d.]+)%', done.stdout))
  *attacked, certified = attacked
  assert len(attacked) == 3
  assert max(attacked) < clean
  assert 50 < certified <= 100


def test_contributing_blocks_and_their_tests_run(key):
  namespace = {'__name__': 'contributing'}
  for block in blocks('CONTRIBUTING.md'):
    exec(block, namespace)
  tests = [v for name, v in namespace.items() if name.startswith('test_')]
  assert len(tests) >= 3
  for test in tests:
    wants_key = 'key' in inspect.signature(test).parameters
    test(*[jax.random.clone(key)] * wants_key)


@pytest.mark.parametrize('page', PAGES)
def test_python_blocks_fit_80_columns(page):
  for block in blocks(page):
    assert max(map(len, block.splitlines())) <= 80


def test_every_command_names_what_there_is():
  targets = re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.M)
  seen = 0
  for words in commands('README.md'):
    match words:
      case ['make', target, *_]:
        assert target in targets
      case ['python', '-m', module, *arguments]:
        assert (ROOT / f'{module.replace(".", "/")}.py').is_file()
        for argument in arguments:
          if argument.startswith('--config='):
            path, _, words = argument.partition('=')[2].partition(':')
            name = path.removesuffix('.py').replace(os.sep, '.')
            config = importlib.import_module(name).get_config(words or None)
            for other in arguments:
              entry = re.match(r'--config\.(\w+)=', other)
              assert not entry or entry[1] in config
      case ['pip' | 'export', *_]:
        pass
      case _:
        pytest.fail(f'no such command is known: {words}')
    seen += 1
  assert seen > 5


@pytest.mark.parametrize('page', PAGES)
def test_every_file_named_exists(page):
  named = re.findall(r'\]\((?!http)([^)#]+)\)', text(page))
  named += re.findall(
    r'`((?:rdefense|configs|experiments|tests|notebooks|docs)/[\w./]*)`',
    text(page),
  )
  assert named
  missing = [name for name in named if not (ROOT / name).exists()]
  assert set(missing) <= PRINTED

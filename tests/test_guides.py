"""docs/tpu.md and docs/colab.md say what is: commands, files, code."""

import importlib
from pathlib import Path
import re
import shlex
import sys
import types

import pytest

from experiments.sweeping import tpu_commands

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ('docs/tpu.md', 'docs/colab.md')


def text(guide):
  return (ROOT / guide).read_text(encoding='utf-8')


def blocks(guide, *languages):
  """What stands in each fenced block of these languages, indents removed."""
  fence = rf'^( *)```(?:{"|".join(languages)})\n(.*?)^\1```$'
  found = re.findall(fence, text(guide), re.MULTILINE | re.DOTALL)
  return [re.sub(rf'^{indent}', '', body, flags=re.M) for indent, body in found]


@pytest.mark.parametrize('guide', GUIDES)
def test_every_program_and_flag_of_a_command_is_there(guide):
  seen = 0
  for block in blocks(guide, 'bash', 'shell'):
    for line in block.replace('\\\n', ' ').splitlines():
      words = shlex.split(line.removeprefix('!'))
      if words[:2] != ['python', '-m']:
        continue
      assert (ROOT / f'{words[2].replace(".", "/")}.py').is_file()
      module = importlib.import_module(words[2])
      source = Path(module.__file__).read_text()
      source += (ROOT / 'experiments/running/study_flags.py').read_text()
      for word in words[3 : words.index('>') if '>' in words else None]:
        flag, _, value = word.removeprefix('--').partition('=')
        assert word.startswith('--') and f"'{flag}'" in source, word
        if flag == 'config':
          path, _, preset = value.partition(':')
          name = path.removesuffix('.py').replace('/', '.')
          assert importlib.import_module(name).get_config(preset or None)
        if flag == 'accelerator_type':
          assert tpu_commands.accelerator(value)
      seen += 1
  assert seen > 2


@pytest.mark.parametrize('guide', GUIDES)
def test_every_file_named_is_there(guide):
  found = re.findall(
    r'`((?:rdefense|configs|experiments|tests|notebooks|docs)/[\w./]*)`',
    text(guide),
  )
  found += re.findall(r'\b([A-Z]+\.md)\b', text(guide))
  assert all((ROOT / name).exists() for name in found)


def test_the_code_for_colab_runs(monkeypatch):
  mounted = []
  drive = types.SimpleNamespace(mount=mounted.append)
  google = types.SimpleNamespace(drive=drive)
  monkeypatch.setitem(sys.modules, 'google.colab', google)
  monkeypatch.setenv('TFDS_DATA_DIR', '')
  mount, data_dir, own = blocks('docs/colab.md', 'python')
  exec(mount + data_dir, {})
  assert mounted == ['/content/drive']
  found: dict = {}
  monkeypatch.setenv('TFDS_DATA_DIR', '')
  exec(own, found)
  assert found['one'].shape == (8, 8, 1)
  assert found['many'].shape == found['slopes'].shape == (64, 8, 8, 1)
  assert (found['slopes'] != 0).any()


def test_the_accelerators_of_the_table_are_known():
  for name in re.findall(r'`(v\d\w*-\d+)`', text('docs/tpu.md')):
    about = tpu_commands.accelerator(name)
    assert about.runtime in text('docs/tpu.md')


def test_every_section_of_the_protocol_that_is_cited_is_there():
  headings = re.findall(r'^## ([AB]\d+)\.', text('docs/PROTOCOL.md'), re.M)
  cited = set()
  for folder in ('rdefense', 'experiments', 'configs', 'tests'):
    for path in (ROOT / folder).rglob('*.py'):
      for listed in re.findall(
        r'PROTOCOL\s+((?:[AB]\d+(?:,\s+(?:and\s+)?|\s+and\s+)?)+)',
        path.read_text(encoding='utf-8'),
      ):
        cited |= set(re.findall(r'[AB]\d+', listed))
  assert len(cited) > 10
  assert cited <= set(headings), cited - set(headings)

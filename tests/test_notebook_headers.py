"""Every notebook begins alike: a badge, what installs, what the device is."""

import importlib.util
import os
from pathlib import Path
import re
import sys

from IPython.core.interactiveshell import InteractiveShell
import jax
import nbformat
import pytest
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))
BADGE = (
  r'\[!\[Open in Colab\]\(https://colab\.research\.google\.com/assets/'
  r'colab-badge\.svg\)\]\(https://colab\.research\.google\.com/\S*\)'
)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
  return nbformat.read(request.param, as_version=4).cells


@pytest.fixture(scope='module')
def shell(tmp_path_factory):
  """IPython without history, in a folder of its own."""
  return InteractiveShell(
    config=Config({'HistoryManager': {'enabled': False}}),
    ipython_dir=str(tmp_path_factory.mktemp('ipython')),
  )


@pytest.fixture
def session(shell, tmp_path, monkeypatch):
  """In an empty folder, `run(source)` -> (lines given to %pip, error)."""
  monkeypatch.chdir(tmp_path)
  asked = []
  shell.register_magic_function(asked.append, 'line', 'pip')

  def run(source):
    asked.clear()
    found = shell.run_cell(source)
    return list(asked), found.error_in_exec or found.error_before_exec

  return run


def _elsewhere():
  """Where Python looks, but for the checkout that the tests are of."""
  return [p for p in sys.path if not (Path(p) / 'rdefense/api').is_dir()]


def code(cells):
  return [cell.source for cell in cells if cell.cell_type == 'code']


def test_the_first_cell_has_a_title_and_a_badge(cells):
  first = cells[0]
  assert first.cell_type == 'markdown'
  assert first.source.startswith('# ')
  assert re.search(BADGE, first.source)


def test_nothing_is_installed_where_rdefense_is(cells, session):
  assert session(code(cells)[0]) == ([], None)


@pytest.mark.parametrize(
  'program, variable, package',
  [
    ('nvidia-smi', '', 'jax[cuda12]'), ('', 'TPU_NAME', 'jax[tpu]'),
    ('', '', 'jax'),
  ],
)  # fmt: skip
def test_a_copy_is_installed_with_jax_for_the_device(
  cells, session, monkeypatch, tmp_path, program, variable, package
):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  monkeypatch.setattr('shutil.which', lambda name: name == program or None)
  for name in list(os.environ):  # JAX itself sets some in this process
    if name.startswith(('TPU_', 'COLAB_TPU')):
      monkeypatch.delenv(name)
  if variable:
    monkeypatch.setenv(variable, 'local')
  asked, error = session(code(cells)[0])
  assert not asked and 'a copy of the repository' in str(error)
  copy = tmp_path / 'copy' / 'rdefense'
  copy.mkdir(parents=True)
  (copy / 'api').mkdir()
  asked, error = session(code(cells)[0])
  assert error is None
  assert asked == [f"install -q '{copy.parent}' '{package}'"]


def test_a_folder_of_that_name_is_not_taken_for_the_package(
  cells, session, monkeypatch, tmp_path
):
  """A copy of the repository in `rdefense`, next to the notebook."""
  (tmp_path / 'rdefense' / 'rdefense').mkdir(parents=True)
  (tmp_path / 'rdefense' / 'rdefense' / 'api').mkdir()
  for name in [*sys.modules]:
    if name.partition('.')[0] == 'rdefense':
      monkeypatch.delitem(sys.modules, name)
  installed = [
    finder for finder in sys.meta_path if 'editable' not in repr(finder)
  ]
  monkeypatch.setattr(sys, 'meta_path', installed)
  monkeypatch.setattr(sys, 'path', [str(tmp_path), *_elsewhere()])
  assert importlib.util.find_spec('rdefense').origin is None
  asked, error = session(code(cells)[0])
  assert error is None
  assert asked[0].startswith(f"install -q '{tmp_path / 'rdefense'}' 'jax")


def test_a_cell_near_the_top_says_what_it_runs_on(cells, capsys):
  (source,) = [s for s in code(cells)[:3] if 'jax.default_backend()' in s]
  exec(source[source.index('kind, device = ') :], {'jax': jax})
  told = capsys.readouterr().out
  assert f'({jax.default_backend()})' in told
  assert jax.devices()[0].device_kind in told

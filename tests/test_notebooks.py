"""The notebooks run from top to bottom, and are committed without outputs."""

import os
import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))


def test_there_are_notebooks():
  assert NOTEBOOKS


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
  for cell in nbformat.read(path, as_version=4).cells:
    if cell.cell_type == 'code':
      assert not cell.outputs
      assert cell.execution_count is None


# Jupyter's own packages warn of each other's changes to come.
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_without_errors(path):
  notebook = nbformat.read(path, as_version=4)
  client = nbclient.NotebookClient(
    notebook,
    timeout=600,  # for one cell; the whole takes a minute
    startup_timeout=600,  # on a busy machine
    kernel_name='python3',
    resources={'metadata': {'path': str(path.parent)}},
  )
  # The checkout, as in the tests, where rdefense is not installed.
  client.execute(env=os.environ | {'PYTHONPATH': str(ROOT)})
  figures = [
    output
    for cell in notebook.cells
    for output in cell.get('outputs', ())
    if 'image/png' in output.get('data', ())
  ]
  assert figures

"""What is measured finds its place; never a compiled network of the papers."""

import json
import re

from absl import flags
from absl.testing import flagsaver
import pytest

from experiments import publish, scaling
from experiments.scale import page
from tests.experiments.scale.fakes import fake_results


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver():
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['scaling'])
    yield


def test_what_is_measured_is_published_and_printed(
  tmp_path, monkeypatch, capsys
):
  path = tmp_path / 'docs' / 'results.json'
  path.parent.mkdir()
  path.write_text(json.dumps({}))
  figures = {
    key.removeprefix('scaling/'): scaling.Figure(fields['value'], 'things')
    for key, fields in fake_results().items()
    if key.startswith('scaling/')
  }
  benchmarks = {
    key: publish.Entry(
      fields['value'], None, None, None, 'full', 'c', 'f', 'cpu', 'today', ''
    )
    for key, fields in fake_results().items() if key.startswith('benchmark/')
  }  # fmt: skip
  monkeypatch.setattr(publish, 'RESULTS', path)
  monkeypatch.setattr(scaling, 'measure', lambda chosen: figures)
  publish.publish(path, benchmarks)
  with flagsaver.flagsaver(publish=True):
    scaling.main(['scaling'])
  text = path.with_name('scale.md').read_text()
  assert text == page.page(json.loads(path.read_text()))
  shown = capsys.readouterr().out
  assert re.search(r'network/mnist_cnn/parameters +1e\+06 things', shown)
  path.with_name('scale.md').unlink()
  with flagsaver.flagsaver(page=True):
    scaling.main(['scaling'])
  assert path.with_name('scale.md').read_text() == text

"""Pages are Markdown, pictures and one file, and say how they were made."""

import pytest

from rdefense import pages

PNG = b'\x89PNG\r\n\x1a\n' + bytes(range(256))
BLOCKS = [('heading', 1, 'Title'), ('figure', 'curve', PNG, 'A curve')]


def test_markdown_names_the_picture_and_the_page_holds_it(tmp_path):
  figures = {'curve': PNG}
  page = pages.write_document(tmp_path, 'radii', 'Title', BLOCKS, figures)
  assert page.name == 'radii.html'
  assert '(curve.png)' in (tmp_path / 'radii.md').read_text()
  assert (tmp_path / 'curve.png').read_bytes() == PNG
  assert 'curve.png' not in page.read_text()
  assert 'data:image/png;base64,' in page.read_text()


def test_a_name_that_is_no_file_name_is_refused_before_anything(tmp_path):
  with pytest.raises(ValueError, match="figure name '../a' must be letters"):
    pages.write_document(tmp_path, 'radii', 'Title', BLOCKS, {'../a': PNG})
  assert not list(tmp_path.iterdir())


def test_what_is_known_of_a_run_is_shown_and_nothing_else():
  blocks = pages.how_it_was_made({})
  assert [kind for kind, *_ in blocks] == ['heading', 'table']
  about = {'commit': 'c' * 40, 'dirty': True, 'device': 'cpu', 'devices': 2}
  blocks = pages.how_it_was_made(
    {
      'command': 'python -m experiments.evaluate',
      'config': {'attack': {'eps': 0.3}},
      'environment': about,
      'seconds': 3661.0,
    }
  )
  (_, command, _), (_, _, rows), (_, config, _) = blocks[1:]
  assert command == 'python -m experiments.evaluate'
  assert '"eps": 0.3' in config
  shown = dict(rows)
  assert shown['commit'] == f'`{"c" * 40}` with uncommitted changes'
  assert shown['device'] == '2 × cpu' and shown['wall time'] == '61 min 1 s'

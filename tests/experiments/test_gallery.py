"""The page of all reports: links, figures, what is missing, what is damaged."""

from html.parser import HTMLParser
import json
import re
import urllib.parse

from etils.epath import Path
import numpy as np
import pytest

from configs.paper.catalogue import CATALOGUE
from experiments import gallery, publish
from experiments.reproducing import journal
from experiments.running import program
from rdefense import counting, files

EVIL = 'python <script>alert("&")</script>'
PNG = b'\x89PNG\r\n\x1a\n'


def study(**changes):
  tally = counting.tally(np.arange(200) < 150)._asdict()
  conditions = {'clean': tally, 'eps0.3/paper_a': tally}
  return {
    'settings': {'disc_adv_pre': {'conditions': conditions}},
    'config': {'name': 'mnist', 'codebook_name': 'density'},
    'preset': 'small',
    'command': EVIL,
    'seconds': 150.0,
    'environment': {
      'commit': 'c' * 40,
      'dirty': True,
      'device': 'Some CPU',
      'date': 'today',
    },
  } | changes


def page_of(folder, stem):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / f'{stem}.html').write_text('<!doctype html>')
  (folder / f'{stem}.md').write_text('![a](lost.png)\n\n![b](kept.png)\n')
  (folder / 'kept.png').write_bytes(PNG)


@pytest.fixture
def root(tmp_path):
  root = tmp_path / 'a folder'
  page_of(root / 'mnist', 'report')
  (root / 'mnist' / 'results.json').write_text(json.dumps(study()))
  page_of(root / 'fashion_mnist', 'report')
  (root / 'fashion_mnist' / 'results.json').write_text('{"settings"')
  page_of(root / 'table_4', 'certificates')
  (root / 'table_4' / 'certificates.json').write_text('{"settings": {}}')
  page_of(root / 'tables', 'table2_mnist')
  page_of(root / 'odd #1', 'other')
  lines = {
    f'python -m experiments.train --config=x --workdir=old/mnist {flag}': {
      'seconds': seconds
    }
    for flag, seconds in (
      ('--only=nat,adv_fast,adv', 60.0),
      ('--only=nat_re,adv_re', 30.0),
      ('--only=nat', 500.0),  # of another job
    )
  }
  journal.add(root, lines)
  docs = tmp_path / 'docs' / 'results.json'
  publish.publish(docs, {
    'nips17/base/eps1/paper_b': publish.Entry(
      18.0, 8.0, 32.0, 50, 'small', 'python -m experiments.evaluate', 'd' * 40,
      'Other CPU', 'yesterday', '%',
    )
  })  # fmt: skip
  return root


class Reader(HTMLParser):
  """Links, pictures and text of a page; rows of its tables."""

  def __init__(self):
    super().__init__()
    self.links, self.pictures, self.tags, self.rows = [], [], set(), []
    self.row = None

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    attrs = dict(attrs)
    if tag == 'a':
      self.links.append(attrs['href'])
    if tag == 'img':
      self.pictures.append(attrs['src'])
    if tag == 'tr':
      self.row = ''
    if tag == 'td' and self.row is not None:
      self.row += '|'

  def handle_endtag(self, tag):
    if tag == 'tr':
      self.rows.append(self.row)

  def handle_data(self, data):
    if self.row is not None:
      self.row += data + ' '


def read(root, **options):
  page = gallery.write(root, published=root.parent / 'docs/results.json',
                       **options)  # fmt: skip
  assert page == root / 'index.html'
  reader = Reader()
  reader.feed(page.read_text())
  return reader


def test_links_lead_to_reports_from_wherever_the_folder_lies(root):
  moved = root.rename(root.with_name('elsewhere'))
  reader = read(moved)
  for address in reader.links + reader.pictures:
    assert not address.startswith(('/', '.')) and ':' not in address
    assert (moved / urllib.parse.unquote(address)).is_file()
  pages = {page.relative_to(moved) for page in moved.glob('*/*.html')}
  linked = {urllib.parse.unquote(address) for address in reader.links}
  assert linked == {page.as_posix() for page in pages}
  assert set(reader.pictures) <= {
    f'{urllib.parse.quote(page.parent.as_posix())}/kept.png' for page in pages
  }


def test_a_report_stands_with_its_figure_and_how_it_was_made(root):
  reader = read(root)
  (row,) = [
    row for row in reader.rows
    if 'mnist/disc_adv_pre/eps0.3/paper_a' in row and 'Table II' in row
    and '2 figures' in row and row.startswith('|mnist')
    and 'training' in row and '97.24' in row
  ][:1]  # fmt: skip
  tally = counting.tally(np.arange(200) < 150)
  for words in (
    '75.00', f'[{tally.low:.2f}, {tally.high:.2f}]', '−22.24', 'n = 200',
    'Some CPU', 'c' * 12 + '+changes', 'today', '2 min 30 s',
    'training 1 min 30 s', EVIL,
  ):  # fmt: skip
    assert words in row
  assert 'script' not in reader.tags  # escaped


def test_what_is_not_there_is_told_with_its_command(root):
  rows = read(root, preset='smoke').rows
  missing = [row for row in rows if 'not run yet' in row]
  for what, item in CATALOGUE.items():
    for dataset in item.datasets:
      command = rf'--what={what} ' + (f'--dataset={dataset} ' * bool(dataset))
      assert sum(command + '--preset=smoke' in row for row in missing) <= 1
  (row,) = [row for row in missing if '--what=b_table2a ' in row]
  assert 'docs/results.json:' in row and '18.00' in row and '16.00' in row
  assert 'd' * 12 in row and 'Other CPU' in row and 'yesterday' in row
  (row,) = [row for row in missing if '--what=b_table2b ' in row]
  assert '18.00' not in row


def test_every_table_and_figure_has_a_row_for_each_data_set(root):
  text = gallery.write(root).read_text()
  section = re.compile(r'<h2>(.*?)</h2>(.*?)(?=<h2>|</body>)', re.DOTALL)
  sections = dict(section.findall(text))
  for item in CATALOGUE.values():
    first = re.findall(r'<tr><td>(.*?)</td>', sections[item.title])
    assert set(first) == {dataset or '–' for dataset in item.datasets}


def test_damage_is_one_sentence_and_loses_nothing_else(root):
  whole = read(root)
  rows = [row for row in whole.rows if row.startswith('|fashion_mnist')]
  told = [row for row in rows if 'is not valid JSON' in row]
  assert told and all(row.count('not valid JSON') == 1 for row in told)
  for words in (('table_4', 'of another form'), ('75.00',)):
    assert any(all(word in row for word in words) for row in whole.rows)
  (root / 'reproduced.json').write_text('{')
  again = read(root)
  assert again.links == whole.links
  text = (root / 'index.html').read_text()
  assert 'reproduced.json is not valid JSON' in text


def test_an_empty_folder_has_a_page_that_tells_what_to_run(tmp_path):
  text = gallery.write(tmp_path, published=tmp_path / 'none.json').read_text()
  assert text.count('not run yet') == sum(
    len(item.datasets) for item in CATALOGUE.values()
  )
  assert '<a ' not in text


def test_runs_are_looked_for_where_they_are_written(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for preset in ('small', 'smoke'):
    folder = Path(journal.default_root(preset))
    folder.mkdir()
    program.call(gallery.main, ['gallery', f'--preset={preset}'])
    assert (folder / 'index.html').is_file()


def test_a_page_of_links_publishes_nothing(tmp_path):
  words = ['gallery', f'--root={tmp_path}', '--publish']
  with pytest.raises(ValueError, match='--publish is for a program that'):
    program.call(gallery.main, words)


def test_a_bucket_gets_the_same_page(root, bucket):
  plain = root.rename(root.with_name('plain'))  # quoted in no command
  (plain / 'mnist' / 'report.md').write_bytes(b'\xff ![b](kept.png)')
  for path in plain.rglob('*.*'):
    name = path.relative_to(plain).as_posix()
    files.write_bytes(f'{bucket}/{name}', path.read_bytes())
  for folder in (plain, bucket):
    program.call(gallery.main, ['gallery', f'--root={folder}'])
  page, same = (
    Path(folder, 'index.html').read_text().replace(str(folder), 'ROOT')
    for folder in (plain, bucket)
  )
  assert page == same
  assert page.count('kept.png') > 3 and 'not valid JSON' in page

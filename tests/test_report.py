"""The report holds every figure, beside the paper's, and loads nothing."""

import base64
import copy
from html.parser import HTMLParser
import re

import numpy as np
import pytest

from rdefense import counting, report

PNG = b'\x89PNG\r\n\x1a\n' + bytes(range(256))


def condition(correct, total=500, **more):
  return counting.tally(np.arange(total) < correct)._asdict() | more


RESULTS = {
  'title': 'Discretized <MNIST> & more',
  'lead': 'Two codes keep 97.2%.',
  'command': 'python -m experiments.reproduce --config=a.py:small',
  'preset': 'small',
  'seconds': 512.3,
  'config': {'attack': {'eps': 0.3}, 'note': '</pre><script>'},
  'environment': {
    'packages': {'jax': '0.10.2', 'rdefense': None},
    'python': '3.11.7',
    'device': 'Some CPU',
    'devices': 2,
    'commit': 'c' * 40,
    'dirty': True,
    'date': '2026-11-23T10:00:00+00:00',
  },
  'settings': {
    'adv_pre': {
      'description': 'no defense',
      'conditions': {
        'clean': condition(492),
        'eps0.3/pgd100': condition(463, gradients=50500, judged='best iterate'),
      },
    },
    'disc_adv_pre': {
      'description': 'two codes',
      'conditions': {
        'clean': condition(491),
        'eps0.3/paper_a': condition(486, gradients=50000),
        'eps0.3/ensemble': condition(467, judged='worst case'),
      },
    },
  },
  'codebook': {
    'codes': [0.0, 253 / 255],
    'counts': [38045844, 1513207],
    'provenance': 'all 60,000 training images',
  },
}
PUBLISHED = {
  'adv_pre/clean': (98.40, 'Table I'),
  'adv_pre/eps0.3/pgd100': (92.72, 'Table I'),
  'disc_adv_pre/eps0.3/paper_a': report.Published(97.24, 'Table II'),
}


class Page(HTMLParser):
  """Collects tags, attributes and text, and checks that tags are balanced."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.open, self.text = [], [], [], ''
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs
    if tag not in ('meta', 'img'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def write(directory, results=RESULTS, published=PUBLISHED, figures=None):
  path = report.write_report(directory, results, published, figures)
  return path.read_text(), (directory / 'report.md').read_text()


def test_html_is_self_contained(tmp_path):
  text, _ = write(tmp_path, figures={'accuracy': PNG})
  page = Page(text)
  sources = [
    value
    for name, value in page.attributes
    if name in ('src', 'href', 'srcset', 'data', 'action')
  ]
  assert sources == ['data:image/png;base64,' + base64.b64encode(PNG).decode()]
  assert not {'link', 'script', 'iframe', 'object'} & set(page.tags)
  assert not re.search(r'url\(|@import|https?://', text)
  assert 'prefers-color-scheme' in text


def test_foreign_text_is_escaped(tmp_path):
  text, _ = write(tmp_path)
  page = Page(text)
  assert 'script' not in page.tags
  assert 'Discretized <MNIST> & more' in page.text
  assert '</pre><script>' in page.text


def test_markdown_links_the_figure_beside_it(tmp_path):
  _, markdown = write(tmp_path, figures={'accuracy': PNG})
  assert '(accuracy.png)' in markdown
  assert (tmp_path / 'accuracy.png').read_bytes() == PNG


@pytest.mark.parametrize('part', [0, 1], ids=['html', 'markdown'])
def test_each_figure_stands_beside_the_papers(tmp_path, part):
  text = write(tmp_path)[part]
  text = Page(text).text if part == 0 else text
  for setting in RESULTS['settings'].values():
    for entry in setting['conditions'].values():
      assert f'{entry["percent"]:.2f}' in text
      assert f'[{entry["low"]:.2f}, {entry["high"]:.2f}]' in text
  assert 'Table II: 97.24, −0.04' in text
  assert 'Table I: 98.40, +0.00' in text
  for fact in (
    'one query',
    '500',
    'small',
    'c' * 40,
    '2 × Some CPU',
    'experiments.reproduce',
    '8 min 32 s',
    '0.10.2',
    '38,045,844',
    'all 60,000',
  ):
    assert fact in text
  assert 'rdefense |' not in text, 'it has no version here'


def test_main_table_has_a_row_a_setting(tmp_path):
  _, markdown = write(tmp_path)
  table = [line for line in markdown.splitlines() if line.startswith('|')]
  assert table[0] == (
    '| setting | clean | eps0.3/pgd100 | eps0.3/paper_a | eps0.3/ensemble |'
  )
  assert table[2].startswith('| `adv_pre`')
  assert table[2].endswith('| – | – |'), 'adv_pre has no such conditions'
  assert table[3].startswith('| `disc_adv_pre`')
  assert len({line.count('|') for line in table[:4]}) == 1


def test_what_is_judged_is_told_apart(tmp_path):
  _, markdown = write(tmp_path)
  assert '| `eps0.3/paper_a` | last iterate | 100 |' in markdown
  assert '| `eps0.3/pgd100` | best iterate | 101 |' in markdown
  assert '| `eps0.3/ensemble` | worst case | – |' in markdown
  caveat = markdown.partition('### What each figure')[2].partition('###')[0]
  pgd, _, rest = caveat.partition('`eps0.3/paper_a`: ')
  assert '`eps0.3/pgd100`' in pgd and "stronger than the paper's" in pgd
  paper, _, worst = rest.partition('`eps0.3/ensemble`: ')
  assert 'the last iterate only, as in the paper' in paper
  assert worst.strip() == 'worst case.'


def test_precisions_are_told_with_the_verdicts_that_depend_on_them(tmp_path):
  _, silent = write(tmp_path)
  assert 'precision' not in silent.partition('## How')[0]
  results = copy.deepcopy(RESULTS)
  undefended, defended = (
    setting['conditions'] for setting in results['settings'].values()
  )
  undefended['eps0.3/pgd100']['precision'] = 'highest'
  _, same = write(tmp_path, results)
  assert 'Verdicts at highest, attacks at highest precision.' in same
  lower = {'precision': 'default', 'differing': 0}
  defended['eps0.3/paper_a'] |= lower
  defended['eps0.3/ensemble'] |= lower | {'differing': 3}
  _, markdown = write(tmp_path, results)
  assert (
    'Verdicts at highest, attacks at highest precision. Verdicts at highest, '
    'attacks at default precision; 3 of 1,000 verdicts differ at that '
    '(`disc_adv_pre/eps0.3/ensemble` 3).'
  ) in markdown


def test_images_are_called_what_they_are(tmp_path):
  results = RESULTS | {'config': {'data': {'judged_on': 'train'}}}
  _, markdown = write(tmp_path, results)
  assert 'on 500 training images, preset' in markdown
  assert 'test images' not in markdown


def test_an_unstated_rule_is_not_called_worst_case(tmp_path):
  results = copy.deepcopy(RESULTS)
  del results['settings']['disc_adv_pre']['conditions']['eps0.3/ensemble'][
    'judged'
  ]
  _, markdown = write(tmp_path, results)
  assert '| `eps0.3/ensemble` | not stated |' in markdown


def test_least_results_are_enough(tmp_path):
  html, markdown = write(
    tmp_path,
    {
      'title': 't',
      'settings': {'s': {'conditions': {'clean': condition(3, 4)}}},
    },
    {},
  )
  Page(html)
  assert '75.00' in markdown
  assert 'not stated' in markdown


def test_nothing_to_report_is_refused(tmp_path):
  with pytest.raises(ValueError, match='nothing to report'):
    report.write_report(tmp_path, {'title': 't', 'settings': {}}, {})
  assert not list(tmp_path.iterdir())


def test_of_a_study_that_no_paper_has_no_figure_of_one_is_told(tmp_path):
  write(tmp_path, published={})
  alone = (tmp_path / 'report.md').read_text()
  assert "paper's setup" not in alone and 'the paper prints' not in alone
  write(tmp_path)
  beside = (tmp_path / 'report.md').read_text()
  assert "Not the paper's setup" in beside
  assert 'below it the figure the paper prints and ours minus it' in beside

"""Published figures: stable keys, atomic merges, nothing typed by hand."""

import json
from pathlib import Path
import re
import threading

import numpy as np
import pytest

from configs.paper.catalogue import CATALOGUE
from configs.paper.published import PAPER_A, PAPER_B, PRINTED, PUBLISHED
from configs.paper.tables import TABLES
from experiments import publish
from experiments.published import coverage, results
from experiments.running import locks
from rdefense import counting, files, gains

DOCS = Path(__file__).parents[2] / 'docs'


def entry(value=97.0, **changes):
  fields = {
    'value': value,
    'low': value - 1,
    'high': value + 1,
    'examples': 500,
    'preset': 'small',
    'command': 'python -m experiments.reproduce',
    'commit': 'c' * 40,
    'device': 'cpu',
    'date': '2026-11-23',
    'unit': '%',
  }
  return publish.Entry(**(fields | changes))


def rendered(new):
  return publish.render(
    {key: value._asdict() for key, value in new.items()}, PUBLISHED
  )


def line(text, *words):
  (found,) = [
    row
    for row in text.partition('## All figures')[2].splitlines()
    if row.startswith('|') and all(word in row for word in words)
  ]
  return [cell.strip() for cell in found.strip('|').split(' | ')]


@pytest.mark.parametrize(
  'dataset, eps', [('mnist', '0.3'), ('fashion_mnist', '0.1')]
)
def test_the_papers_table_is_complete(dataset, eps):
  keys = {
    f'{dataset}/{setting}/{condition}'
    for setting in ('nat_pre', 'adv_pre')
    for condition in ('clean', f'eps{eps}/pgd100')
  }
  keys |= {
    f'{dataset}/{codebook}/disc_{model}/{condition}'
    for codebook in ('binning', 'density', 'medoids')
    for model in ('nat_pre', 'adv_pre', 'nat_re', 'adv_re')
    for condition in ('clean', f'eps{eps}/paper_a')
  }
  assert {key for key in PAPER_A if key.startswith(f'{dataset}/')} == keys


def test_the_papers_table_is_consistent():
  tables = {'binning': 'Table I', 'density': 'Table II', 'medoids': 'Table III'}
  for key, (value, source) in PAPER_A.items():
    codebook, *_ = key.split('/')[1].split('_k')
    assert source == tables.get(codebook, 'Table I')
    assert 0 <= value <= 100 and round(value, 2) == value
    setting, _, condition = key.partition('/eps')
    if condition:
      assert value < PAPER_A[f'{setting}/clean'][0]


def test_the_papers_tables_have_as_many_entries_as_it_prints():
  # PROTOCOL A10: rows, and those of them that are not ImageNet's, which has no
  # re-training; nor have the rows without discretization.
  pairs = {'Table I': (38, 28), 'Table II': (54, 40), 'Table III': (10, 8)}
  for table, (rows, others) in pairs.items():
    found = [
      (dataset, k, len(values))
      for dataset, bases in TABLES[table].items()
      for base in bases.values()
      for k, values in base.items()
    ]
    assert len(found) == rows
    assert sum(dataset != 'nips17' for dataset, _, _ in found) == others
    for dataset, k, size in found:
      assert size == (4 if k and dataset != 'nips17' else 2)


def test_fashion_codes_coincide_in_tables_one_and_two():
  # PROTOCOL A3: both give codes {0, 1}, so unchanged models agree exactly.
  for model in ('nat_pre', 'adv_pre'):
    for condition in ('clean', 'eps0.1/paper_a'):
      one, two = (
        PAPER_A[f'fashion_mnist/{book}/disc_{model}/{condition}'][0]
        for book in ('binning', 'density')
      )
      assert one == two


def test_paper_bs_figures_fall_with_the_radius():
  assert PUBLISHED.items() >= (PAPER_A | PAPER_B).items()
  for key, (value, source) in PAPER_B.items():
    assert source.startswith('B, ') and 0 <= value <= 100
    setting, _, condition = key.partition('/eps')
    if setting.startswith('nips17/') and condition.startswith(('1/', '2/')):
      further = f'{setting}/eps{2 * int(condition[0])}{condition[1:]}'
      assert value > PAPER_B[further][0]


@pytest.mark.parametrize(
  'ours, theirs',
  [
    ('mnist/disc_adv_pre/clean', 'mnist/density/disc_adv_pre/clean'),
    ('mnist/density/disc_adv_pre/clean', 'mnist/density/disc_adv_pre/clean'),
    ('mnist/medoids/nat_pre/clean', 'mnist/nat_pre/clean'),
    ('mnist/nat_pre/eps0.3/pgd100', 'mnist/nat_pre/eps0.3/pgd100'),
    ('mnist/randdisc/clean', 'mnist/randdisc/clean'),
    ('benchmark/cnn/speed', 'benchmark/cnn/speed'),
  ],
)
def test_our_keys_find_the_papers(ours, theirs):
  assert publish.published_key(ours) == theirs


def test_references_of_a_report_are_those_of_its_codebook():
  found = publish.references(PAPER_A, 'mnist', 'medoids')
  assert len(found) == 4 + 8
  assert found['disc_nat_re/eps0.3/paper_a'] == (80.66, 'Table III')
  assert found['nat_pre/clean'] == (99.17, 'Table I')


def test_merging_keeps_others_and_sorts(tmp_path):
  path = tmp_path / 'docs' / 'results.json'
  publish.publish(path, {'mnist/nat_pre/clean': entry(99.0)})
  publish.publish(path, {'benchmark/speed': entry(), 'mnist/a/b': entry()})
  publish.publish(path, {'mnist/nat_pre/clean': entry(98.0)})
  stored = json.loads(path.read_text())
  assert list(stored) == ['benchmark/speed', 'mnist/a/b', 'mnist/nat_pre/clean']
  assert stored['mnist/nat_pre/clean']['value'] == 98.0
  assert publish.Entry(**stored['benchmark/speed']) == entry()


def test_experiments_that_end_together_both_find_their_place(tmp_path):
  path = tmp_path / 'results.json'
  threads = [
    threading.Thread(
      target=publish.publish, args=(path, {f'benchmark/run{i}': entry()})
    )
    for i in range(12)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(json.loads(path.read_text())) == 12


@pytest.mark.parametrize(
  'key, value, word',
  [
    ('mnist', entry(), 'key'),
    ('mnist//clean', entry(), 'key'),
    ('MNIST/clean', entry(), 'key'),
    ('mnist/clean', entry(low=98.0), 'outside'),
    ('mnist/clean', entry(0.97, low=96.0, high=98.0), 'unit'),
  ],
)
def test_bad_entries_change_nothing(tmp_path, key, value, word):
  path = tmp_path / 'results.json'
  publish.publish(path, {'mnist/nat_pre/clean': entry()})
  before = path.read_bytes()
  with pytest.raises(ValueError, match=word):
    publish.publish(path, {'mnist/good/key': entry(), key: value})
  assert path.read_bytes() == before


def test_damaged_results_are_not_overwritten(tmp_path):
  path = tmp_path / 'results.json'
  path.write_text('{"mnist/nat')
  with pytest.raises(ValueError, match='results.json'):
    publish.publish(path, {'mnist/nat_pre/clean': entry()})
  assert path.read_text() == '{"mnist/nat'


def evaluated(tally, **more):
  """Results of an evaluation with one figure, which has `more` fields."""
  return {
    'settings': {
      'disc_adv_pre': {
        'conditions': {
          'eps0.3/paper_a': tally._asdict() | {'gradients': 3} | more
        }
      }
    },
    'preset': 'small',
    'command': 'c',
    'environment': {
      'commit': 'f' * 40,
      'dirty': True,
      'device': 'cpu',
      'date': 'today',
    },
  }


def test_an_evaluation_becomes_entries():
  tally = counting.tally(np.arange(200) < 150)
  found = publish.entries(evaluated(tally), 'mnist')
  assert found['mnist/disc_adv_pre/eps0.3/paper_a'] == publish.Entry(
    75.0,
    tally.low,
    tally.high,
    200,
    'small',
    'c',
    'f' * 40 + '+changes',
    'cpu',
    'today',
    '%',
  )


def test_a_part_of_a_data_set_is_told():
  about = {
    'images': {'train': 1_118, 'test': 12_630},
    'config': {'data': {'name': 'gtsrb'}},
  }
  results = evaluated(counting.tally(np.arange(20) < 15)) | about
  found = publish.entries(results, 'gtsrb/medoids')
  told = found.pop('gtsrb/images/train')
  assert list(found) == ['gtsrb/medoids/disc_adv_pre/eps0.3/paper_a']
  assert (told.value, told.unit, told.low) == (1_118, 'images', None)
  text = rendered({'gtsrb/images/train': told})
  assert '| `images/train` | 1,118 images | – | 39,209 official ones |' in text


def test_a_gain_is_told_in_points_with_what_it_is_held_against():
  gain = gains.gain(np.arange(200) < 130, np.arange(200) < 150)._asdict()
  gain |= {'instead_of': 'adv_pre', 'condition': 'eps0.3/pgd100'}
  tally = counting.tally(np.arange(200) < 150)
  results = evaluated(tally, gain=gain, in_table=True)
  found = publish.entries(results, 'mnist/medoids')
  name = 'mnist/medoids/disc_adv_pre/eps0.3/paper_a'
  assert found.keys() == {name, f'gain/{name}'}
  assert found[name].value == 75.0
  entry = found[f'gain/{name}']
  assert (entry.value, entry.unit, entry.examples) == (10.0, 'points', 200)
  row = line(rendered(found), f'`{name}`')
  assert row[1] == f'10.00 points [{gain["low"]:.2f}, {gain["high"]:.2f}]'
  assert row[3].startswith('adv_pre eps0.3/pgd100: 20 gained, 0 lost')
  results = evaluated(tally, gain=gain, in_table=False)  # of a curve
  assert publish.entries(results, 'mnist').keys() == {
    'mnist/disc_adv_pre/eps0.3/paper_a'
  }


def test_ours_stands_beside_the_papers():
  text = rendered(
    {
      'mnist/disc_adv_pre/eps0.3/paper_a': entry(97.0),
      'mnist/disc_adv_pre/eps0.3/ensemble': entry(93.0),
      'mnist/medoids/disc_adv_pre/clean': entry(98.5),
      'mnist/nat_pre/clean': entry(99.25),
    }
  )
  row = line(text, 'eps0.3/paper_a', 'density')
  assert row[3:7] == [
    '97.00 % [96.00, 98.00]',
    '500',
    '97.24 (Table II)',
    '−0.24',
  ]
  assert line(text, 'medoids')[5:7] == ['98.17 (Table III)', '+0.33']
  assert line(text, 'ensemble')[5:7] == ['–', '–'], 'the paper has no such row'
  assert line(text, '`nat_pre`')[1:3] == ['–', '`clean`']
  assert text.index('`nat_pre`') < text.index('`disc_adv_pre`')


def test_other_groups_show_their_targets():
  text = rendered(
    {
      'benchmark/small_cnn/speed': entry(
        2851.25,
        low=None,
        high=None,
        examples=None,
        unit='images/s',
        target='at least 2,617 (torchattacks)',
      ),
      'codebooks/mnist/second': entry(253, low=None, high=None, unit=''),
    }
  )
  assert '## benchmark' in text and '## codebooks' in text
  row = line(text, 'small_cnn/speed')
  assert row[1:4] == ['2,851.25 images/s', '–', 'at least 2,617 (torchattacks)']
  assert line(text, 'mnist/second')[1] == '253'


def test_runs_are_numbered_and_name_command_and_commit():
  text = rendered(
    {
      'mnist/nat_pre/clean': entry(),
      'mnist/adv_pre/clean': entry(commit='d' * 40 + '+changes'),
      'mnist/disc_adv_pre/clean': entry(),
    }
  )
  assert [
    line(text, f'`{name}`')[-1]
    for name in ('nat_pre', 'adv_pre', 'disc_adv_pre')
  ] == ['1', '2', '1']
  assert re.search(r'^1\. .*`cccccccccccc`, .*reproduce', text, re.M)
  assert re.search(r'^2\. .*`dddddddddddd` with uncommitted', text, re.M)
  text = rendered({'mnist/nat_pre/clean': entry(commit='not a checkout')})
  assert '`not a checkout`' in text


def test_rendering_does_not_depend_on_the_order_of_keys():
  new = {
    f'mnist/{s}/clean': entry(command=s)
    for s in ('nat_pre', 'adv_pre', 'disc_nat_re')
  }
  assert rendered(new) == rendered(dict(reversed(new.items())))
  assert 'No figure' in rendered({})


def test_main_prints_the_page_from_the_file(tmp_path, monkeypatch):
  monkeypatch.setattr(publish, '_DOCS', tmp_path)
  new = {'mnist/nat_pre/clean': entry()}
  publish.publish(tmp_path / 'results.json', new)
  publish.main(['publish'])
  assert (tmp_path / 'RESULTS.md').read_text() == rendered(new)


def test_main_waits_for_who_publishes(tmp_path, monkeypatch):
  monkeypatch.setattr(publish, '_DOCS', tmp_path)
  page = tmp_path / 'RESULTS.md'
  thread = threading.Thread(target=publish.main, args=(['publish'],))
  with locks.waited(tmp_path):
    thread.start()
    thread.join(0.5)
    assert thread.is_alive() and not page.exists()
    figures = {'mnist/nat_pre/clean': entry()._asdict()}
    files.write_json(tmp_path / 'results.json', figures)
  thread.join()
  assert '97.00 %' in page.read_text()  # read after the other had written


def test_the_page_and_its_pictures_are_made_together(tmp_path):
  keys = ['clean', 'eps0.1/pgd100', 'eps0.2/pgd100']
  new = {f'mnist/nat_pre/{key}': entry() for key in keys}
  publish.publish(tmp_path / 'results.json', new)
  (linked,) = re.findall(
    r'\((figures/.*)\)', (tmp_path / 'RESULTS.md').read_text()
  )
  assert (tmp_path / linked).read_bytes().startswith(b'\x89PNG')


@pytest.mark.skipif(
  not (DOCS / 'results.json').exists(), reason='no figure is published yet'
)
def test_the_committed_page_is_printed_from_the_committed_figures():
  results = files.read_json(DOCS / 'results.json')
  page = (DOCS / 'RESULTS.md').read_text()
  assert page == publish.render(results, PUBLISHED)


def test_certificates_are_no_settings_of_a_data_set():
  key = 'certify/randdisc/plain/eps0.05/best'
  assert results.split(key)[2] == ''
  assert results.split('mnist/randdisc/eps0.1/paper_b')[2] == 'randdisc'


def test_the_page_begins_with_what_has_been_measured():
  text = rendered(
    {
      'mnist/nat_pre/clean': entry(examples=10_000),
      'mnist/disc_adv_pre/eps0.3/paper_a': entry(),
      'mnist/disc_adv_pre/eps0.3/adaptive': entry(),
      'benchmark/speed': entry(),
      'reproduce/small/mnist/evaluate': entry(0.5, unit='core h'),
      'reproduce/small/mnist/train_nat_re_adv_re': entry(0.25, unit='core h'),
    }
  )
  table = text.partition('## What has been')[2].partition('\n## ')[0]
  rows = [
    row.strip('| ').split(' | ')
    for row in table.splitlines() if row.startswith('| `')
  ]  # fmt: skip
  pairs = [
    (f'`{what}`', dataset or '–')
    for what, item in CATALOGUE.items()
    for dataset in item.datasets
  ]
  assert [(row[0], row[2]) for row in rows] == pairs
  found = {pair: row[3:] for pair, row in zip(pairs, rows, strict=True)}
  measured = (
    '2 figures, 2 of 12 printed; missing: `mnist/` adv_pre, nat_pre; '
    '`mnist/density/` disc_adv_pre, disc_adv_re, disc_nat_pre, disc_nat_re'
  )
  time = '0.75 core h, 2 of 3'
  assert found['`table2`', 'mnist'] == [
    measured, '500 to 10,000', '`small`', time
  ]  # fmt: skip
  assert found['`table1`', 'mnist'][0].startswith('1 figure, 1 of 12 printed')
  absent = '**not measured**: 0 of 60 printed'
  assert found['`table2`', 'cifar10'] == [absent, '–', '–', '–, 0 of 15']
  assert 'each program once: 0.75 core h, 2 of ' in text
  contents = '[benchmark](#benchmark) (1), [mnist](#mnist) (3), '
  assert f'{contents}[reproduce](#reproduce) (2).' in text


def test_every_printed_figure_belongs_to_some_table_or_figure():
  every = {
    key
    for what, item in CATALOGUE.items()
    for dataset in item.datasets
    for key in coverage.printed(what, dataset)
  }
  assert every == set(PRINTED) > set(PAPER_A | PAPER_B)


@pytest.mark.parametrize(
  'what, dataset, count',
  [
    ('table4', '', 28),  # four columns of seven radii
    ('figure5', 'mnist', 1),
    ('figure5', 'cifar10', 1),
    ('b_table2b', '', 39),
  ],
)
def test_what_is_printed_in_other_places_counts(what, dataset, count):
  assert len(coverage.printed(what, dataset)) == count


def test_certificates_are_counted_among_the_printed_ones():
  key = 'certify/mnist/disc_adv_pre/eps0.1/{}'
  found = {key.format(v): entry() for v in ('certified', 'refuted')}
  text = rendered(found)
  assert '| 2 figures, 2 of 28 printed; missing: `certify/` mnist |' in text


def test_a_figure_measured_beside_several_codebooks_is_counted_once():
  keys = [f'nips17/{book}/nat_pre/clean' for book in ('binning', 'density_k10')]
  behind = 'nips17/density_k10/disc_nat_pre/clean'
  assert coverage.measured('table2', 'nips17', [*keys, behind]) == [
    behind,
    keys[0],
  ]

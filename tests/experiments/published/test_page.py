"""The page: what stands above each table, and what its rows say."""

import re

import pytest

from configs.paper.published import PUBLISHED
from experiments.publish import Entry
from experiments.published.page import render

ENTRY = Entry(
  97.0, 96.0, 98.0, 500, 'small', 'python -m x', 'c' * 40, 'cpu', 'today', '%'
)


def page(new):
  return render({key: e._asdict() for key, e in new.items()}, PUBLISHED)


def section(text, group):
  return text.partition(f'\n## {group}\n')[2].partition('\n## ')[0]


def rows(text):
  return [
    row.strip('| ').split(' | ')
    for row in text.splitlines() if row.startswith('| `')
  ]  # fmt: skip


def test_above_each_table_stands_what_its_figures_are():
  few = ENTRY._replace(
    value=1_118, low=None, high=None, examples=None, unit='images'
  )
  text = page(
    {
      'gtsrb/nat_pre/clean': ENTRY,
      'gtsrb/images/train': few,
      'benchmark/speed': ENTRY._replace(unit='times'),
    }
  )
  above, _, _ = section(text, 'gtsrb').partition('| setting')
  assert '1,118 of 39,209 train' in above
  assert '`small`: `wide_resnet`' in above and 'Clopper-Pearson' in above
  above, _, _ = section(text, 'benchmark').partition('| figure')
  assert 'quartiles' in above and 'Clopper-Pearson' not in above
  head, _, _ = text.partition('## What has been measured')
  assert 'Clopper-Pearson' not in head  # not of all of them


@pytest.mark.parametrize('steps', [1, 10, 40, 100])
def test_every_attack_of_the_tables_is_explained(steps):
  assert any(key.endswith(f'/pgd{steps}') for key in PUBLISHED)
  head, _, _ = page({}).partition('## What has been measured')
  assert '`pgd` with its number of steps' in head
  assert not re.search(r'`pgd\d+`', head)  # all alike


def test_a_missed_target_is_marked():
  speed = ENTRY._replace(value=11.4, low=9.0, high=14.1, unit='times')
  text = page(
    {
      'benchmark/a': speed._replace(target='at least 20'),
      'benchmark/b': speed._replace(target='at least 10'),
      'benchmark/c': speed,
    }
  )
  cells = [row[3] for row in rows(section(text, 'benchmark'))]
  assert cells == ['at least 20: **missed**', 'at least 10', '–']


def test_a_code_that_is_not_there_is_none():
  code = ENTRY._replace(
    value=-1, low=None, high=None, examples=None, unit='of 255',
    target='none, as -1',
  )  # fmt: skip
  (row,) = rows(section(page({'codebooks/mnist/code3': code}), 'codebooks'))
  assert row[1:4] == ['none', '–', 'none']


def test_a_gain_under_two_attacks_says_so():
  gain = ENTRY._replace(value=3.0, low=1.0, high=5.0, unit='points')
  held = 'nat_pre eps8/{}: 1,031 gained, 0 lost'
  text = page(
    {
      f'gain/gtsrb/disc_nat_pre/eps8/{own}': gain._replace(
        gain={'against': f'nat_pre/eps8/{other}', 'gained': 1031, 'lost': 0}
      )
      for own, other in (('adaptive', 'adaptive'), ('paper_a', 'pgd40'))
    }
  )
  same, other = (row[3] for row in rows(section(text, 'gain')))
  assert same == held.format('adaptive')
  assert other == (
    f'{held.format("pgd40")}; other attack: not the effect of the defense alone'
  )


def test_a_bare_setting_beside_several_codebooks_has_one_row():
  books = ('binning', 'density_k10', 'medoids_k300')
  new = {f'nips17/{book}/nat_pre/clean': ENTRY for book in books}
  new |= {f'nips17/{book}/disc_nat_pre/clean': ENTRY for book in books}
  text = page(new)
  found = rows(section(text, 'nips17'))
  assert [row[0] for row in found] == ['`nat_pre`', *['`disc_nat_pre`'] * 3]
  assert '[nips17](#nips17) (4)' in text
  # Another figure of the same stays.
  new['nips17/density_k10/nat_pre/clean'] = ENTRY._replace(value=96.5)
  found = rows(section(page(new), 'nips17'))
  assert [row[3][:5] for row in found[:2]] == ['97.00', '96.50']

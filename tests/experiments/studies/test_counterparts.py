"""Which setting and condition a defended one is held against, and on what."""

import json

import numpy as np
import pytest

from configs import cifar10, digits, imagenet
from configs.paper import ablations, figure_2, table_2a
from experiments.studies import counterparts
from experiments.studies.counterparts import Verdicts
from rdefense import files, records


@pytest.mark.parametrize(
  'config, expected',
  [
    (
      digits.get_config('smoke'),
      {
        'nat_pre': '', 'adv_pre': '',
        'disc_nat_pre': 'nat_pre', 'disc_nat_re': 'nat_pre',
        'disc_adv_pre': 'adv_pre', 'disc_adv_re': 'adv_pre',
      },
    ),
    (figure_2.get_config('adv'), {'base': '', 'randmix': 'base'}),
    (table_2a.get_config(), {'base': '', 'jpeg': 'base', 'randdisc': 'base'}),
    (imagenet.get_config(), {'disc_nat_pre': 'nat_pre'}),
    (ablations.get_config(), {'randmix': ''}),  # has nothing without a defense
  ],
  ids=['digits', 'figure_2', 'table_2a', 'imagenet', 'ablations'],
)  # fmt: skip
def test_the_bare_setting_has_the_model_it_began_with(config, expected):
  found = {name: counterparts.bare(config, name) for name in expected}
  assert found == expected


def test_a_condition_is_held_against_its_own_or_the_only_other_one():
  own = ['clean', 'eps8/adaptive', 'eps8/paper_a', 'eps4/paper_a']
  theirs = ['clean', 'eps8/adaptive', 'eps8/pgd40', 'eps4/pgd40', 'eps4/b']
  found = {c: counterparts.counterpart(c, own, theirs) for c in own}
  assert found == {
    'clean': 'clean',
    'eps8/adaptive': 'eps8/adaptive',
    'eps8/paper_a': 'eps8/pgd40',
    'eps4/paper_a': '',  # two others: which would it be?
  }
  assert not counterparts.counterpart('eps8/paper_a', [*own, 'eps8/c'], theirs)


def test_only_images_that_both_have_are_counted():
  config = digits.get_config('smoke')
  before = Verdicts(np.array([0, 1, 2, 5]), np.array([True, False, True, True]))
  after = Verdicts(np.array([1, 2, 5, 9]), np.array([True, True, False, True]))
  behind = {'clean': after, 'eps1/a': after}
  told = counterparts.measured(
    config, {'nat_pre': {'clean': before}, 'disc_nat_re': behind}
  )
  assert {name: list(gain) for name, gain in told.items()} == {
    'disc_nat_re': ['clean']
  }
  gain = told['disc_nat_re']['clean']
  assert (gain['gained'], gain['lost'], gain['total']) == (1, 1, 3)
  assert (gain['instead_of'], gain['condition']) == ('nat_pre', 'clean')
  apart = {
    'nat_pre': {'clean': before},
    'disc_nat_pre': {'clean': Verdicts(np.array([7]), np.array([True]))},
  }
  assert not counterparts.measured(config, apart)


def write_study(folder, config, conditions):
  """What an evaluation of `adv_pre` alone leaves: right on all images but 3."""
  rows = {
    'index': np.arange(8),
    'label': np.zeros(8, np.int32),
    'verdict/predicted': (np.arange(8) == 3).astype(np.int32),
  }
  for name in conditions:
    records.write_shard(folder / 'records' / 'adv_pre' / name, 0, rows)
  files.write_json(
    folder / 'results.json',
    {
      'config': config.to_dict(),
      'settings': {'adv_pre': {'conditions': dict.fromkeys(conditions, {})}},
    },
  )


def test_another_codebook_is_held_against_the_study_with_its_models(
  tmp_path, monkeypatch
):
  names = ('clean', 'eps8/adaptive', 'eps8/pgd40')
  write_study(tmp_path, cifar10.get_config('small'), names)
  config = cifar10.get_config('small,k10')
  config.pretrained = str(tmp_path)
  config.only = ('disc_adv_re',)
  wrong = Verdicts(np.arange(5), np.zeros(5, bool))
  own = dict.fromkeys(('clean', 'eps8/adaptive', 'eps8/paper_a'), wrong)
  told = counterparts.measured(config, {'disc_adv_re': own})['disc_adv_re']
  assert {c: g['condition'] for c, g in told.items()} == dict(
    zip(own, names, strict=True)
  )
  assert {(g['gained'], g['lost'], g['total']) for g in told.values()} == {
    (0, 4, 5)
  }
  # A leading ~ is the home, here as of any other folder.
  monkeypatch.setenv('HOME', str(tmp_path.parent))
  config.pretrained = f'~/{tmp_path.name}'
  assert (
    counterparts.measured(config, {'disc_adv_re': own})['disc_adv_re'] == told
  )
  # Of another attack, of other images, or not there: held against nothing.
  config.attacks.adaptive.num_steps += 1
  told = counterparts.measured(config, {'disc_adv_re': own})['disc_adv_re']
  assert told.keys() == {'clean'}
  config.data.test_examples = 7
  assert not counterparts.measured(config, {'disc_adv_re': own})
  (tmp_path / 'results.json').unlink()
  config.data.test_examples = 1000
  assert not counterparts.measured(config, {'disc_adv_re': own})


def test_a_study_without_its_rows_or_of_an_older_form_is_none(tmp_path):
  config = cifar10.get_config('small')
  write_study(tmp_path, config, ('clean', 'eps8/adaptive'))
  own = Verdicts(np.arange(5), np.zeros(5, bool))
  found = {'disc_adv_re': {'clean': own, 'eps8/adaptive': own}}
  config = cifar10.get_config('small,k10')
  config.pretrained = str(tmp_path)
  lost = tmp_path / 'records' / 'adv_pre' / 'clean' / 'shard-00000.npz'
  lost.unlink()
  told = counterparts.measured(config, found)['disc_adv_re']
  assert told.keys() == {'eps8/adaptive'}
  path = tmp_path / 'results.json'
  results = json.loads(path.read_text())
  del results['config']['networks']
  path.write_text(json.dumps(results))
  assert not counterparts.measured(config, found)
  path.write_text('{"config": ')
  with pytest.raises(ValueError, match='results.json'):
    counterparts.measured(config, found)


def test_verdicts_are_those_of_the_rows():
  rows = {
    'index': np.array([4, 9]),
    'label': np.array([1, 2]),
    'verdict/predicted': np.array([1, 0]),
  }
  found = counterparts.verdicts(rows)
  assert json.dumps([v.tolist() for v in found]) == '[[4, 9], [true, false]]'

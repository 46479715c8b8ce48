"""Which conditions a config comes to, and what of them the table shows."""

import numpy as np
import pytest

from configs import cifar10, mnist
from configs.paper import figure_2, table_2a, table_2b
from configs.paper.published import CONTEST
from experiments import publish
from experiments.studies import conditions, counterparts, pictures
from rdefense import build


def names(config, kind, in_table=None):
  found = conditions.conditions(config, kind)
  return [c.name for c in found if in_table in (None, c.in_table)]


def test_a_curves_other_radii_are_not_in_the_table():
  config = mnist.get_config()
  assert names(config, 'plain', True) == [
    'clean',
    'eps0.3/adaptive',
    'eps0.3/apgd',
    'eps0.3/pgd100',
  ]
  assert names(config, 'plain', False) == ['eps0.1/pgd100', 'eps0.2/pgd100']


def test_every_radius_of_a_table_is_in_it():
  config = table_2a.get_config()
  expected = ['clean', *(f'eps{e}/paper_b' for e in (1, 2, 4))]
  assert names(config, 'transformed', True) == expected
  assert not names(config, 'transformed', False)


def test_radii_and_curve_have_their_numbers_of_examples():
  config = figure_2.get_config()
  found = {c.name: c for c in conditions.conditions(config, 'randomized')}
  assert found['eps0.05/paper_b'].num_examples == 1000
  assert found['eps0.07/paper_b'].num_examples == 300
  assert found['eps0.1/frozen'].frozen and not found['clean'].frozen
  assert {r.num_draws for r in found['eps0.1/frozen'].recipes} == {0}


def test_images_made_elsewhere_need_a_place():
  config = table_2b.get_config('contest')
  for path, words in (('', '.path=FOLDER'), ('/none', '.path=/none is not')):
    config.attacks.transfer_1st.path = path
    with pytest.raises(ValueError, match=f'attacks.transfer_1st{words}'):
      conditions.check_given(config)
  for name, attack in config.attacks.items():
    attack.path = f'/data/{name}'
  clean, *found = conditions.conditions(config, 'randomized')
  assert [f'eps8/{name}' for name in CONTEST] == [c.name for c in found]
  assert [c.given for c in found] == [f'/data/{name}' for name in CONTEST]
  assert not clean.given and not any(c.recipes for c in found)
  assert conditions.judged(found[0], 'randomized') == 'images made elsewhere'


def test_figures_are_called_what_is_kept():
  """By the recipes, wherever they are computed."""
  pgd = build.attack_recipes({'name': 'pgd'}, 0.1, 'plain')
  search = build.attack_recipes({'name': 'square'}, 0.1, 'plain')
  last = tuple(recipe._replace(keep='last') for recipe in pgd)
  following = tuple(recipe._replace(keep='next') for recipe in pgd)
  for recipes, words in (
    (pgd, 'best iterate'),
    (search, 'best proposal of a search without gradients'),
    (last, 'last iterate'),
    (following, 'last iterate'),
    (3 * pgd, 'worst case of 3 attacks'),
  ):
    one = conditions.Condition('eps0.1/any', recipes, 0.1, None)
    assert conditions.judged(one, 'plain') == words
    there = one._replace(source='nat_pre')
    assert conditions.judged(there, 'plain') == f'{words} on nat_pre'
    frozen = one._replace(frozen=True)
    assert conditions.judged(frozen, 'randomized') == (
      f'{words}, randomness frozen'
    )
  clean = conditions.Condition('clean', (), 0.0, None)
  assert conditions.judged(clean, 'randomized') == 'one query'
  assert conditions.judged(clean, 'plain') == 'no attack'


def test_a_lower_precision_is_told_with_the_verdicts_that_differ():
  config = mnist.get_config()
  rows = {
    'label': np.array([1, 2, 3]),
    'verdict/predicted': np.array([1, 2, 0]),
    'attack/predicted': np.array([2, 2, 9]),  # a wrong one may be another
  }
  told = {}
  config.attacks.adaptive.precision = 'high'
  for condition in conditions.conditions(config, 'plain'):
    told[condition.name] = conditions.precision(condition, rows)
  assert told['clean'] == {}
  assert told['eps0.3/pgd100'] == {'precision': 'highest'}
  assert told['eps0.3/adaptive'] == {'precision': 'high', 'differing': 1}


def test_the_table_leaves_out_what_is_marked():
  results = {
    'title': 'any',
    'settings': {
      'a': {
        'conditions': {'kept': {'in_table': True}, 'curve': {'in_table': False}}
      }
    },
  }
  shown = pictures.table_only(results)
  assert list(shown['settings']['a']['conditions']) == ['kept']
  assert len(results['settings']['a']['conditions']) == 2


def test_keys_of_every_config_can_be_published(tmp_path):
  for config in (mnist.get_config('medoids'), figure_2.get_config()):
    key = publish.prefix(config.name, config.codebook_name) + '/a/clean'
    entry = publish.Entry(
      1.0, 0.0, 2.0, 5, 'small', 'c', 'f' * 40, 'cpu', 'today', '%'
    )
    publish.publish(tmp_path / 'results.json', {key: entry})


def judged_on(**right):
  """Settings and verdicts, from condition -> radius, who is right."""
  settings, found = {}, {}
  for name, under in right.items():
    settings[name] = {
      'conditions': {
        condition: {
          'eps': eps,
          'percent': 100 * np.mean(each),
          'total': len(each),
        }
        for condition, (eps, each) in under.items()
      }
    }
    found[name] = {
      condition: counterparts.Verdicts(np.arange(len(each)), np.array(each))
      for condition, (_, each) in under.items()
    }
  return settings, found


def test_the_lead_leaves_frozen_randomness_out():
  seen = {
    'clean': (0.0, [True] * 4),
    'eps0.1/paper_b': (0.1, [True, False, True, True]),
    'eps0.5/frozen': (0.5, [False]),
  }
  lead = pictures.lead(*judged_on(randmix=seen))
  assert lead.endswith('randmix 75.0% of 4 (eps0.1/paper_b).')


def test_the_lead_leaves_settings_without_attacks_out():
  clean = {'clean': (0.0, [True] * 4)}
  attacked = clean | {'eps0.1/pgd': (0.1, [False] * 3 + [True])}
  lead = pictures.lead(*judged_on(bare=clean, other=attacked))
  assert lead.endswith('run: other 25.0% of 4 (eps0.1/pgd).')
  assert pictures.lead(*judged_on(bare=clean)) == ''


def test_the_lead_compares_attacks_on_the_images_that_all_have_seen():
  """The ensemble leaves a larger share, but of the first ones fewer."""
  seen = {
    'eps0.1/paper_a': (0.1, [True, True, False] + [False] * 5),
    'eps0.1/adaptive': (0.1, [True, False, False]),
  }
  lead = pictures.lead(*judged_on(behind=seen))
  assert lead.endswith('behind 33.3% of 3 (eps0.1/adaptive).')


def test_radii_are_the_settings_the_attacks_or_the_studys():
  config = cifar10.get_config()
  attack = config.attacks.paper_a
  assert conditions.radii(config, 'disc_nat_re', attack) == (2 / 255,)
  assert conditions.radii(config, 'disc_adv_re', attack) == (8 / 255,)
  attack.radii = (0.1, 0.2)
  assert conditions.radii(config, 'disc_nat_re', attack) == (2 / 255,)
  assert conditions.radii(config, 'disc_adv_re', attack) == (0.1, 0.2)

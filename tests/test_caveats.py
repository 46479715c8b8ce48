"""What readers are told applies to the figures before them, and no more."""

import numpy as np
import pytest

from rdefense import caveats, counting

CLEAN, ATTACK = 'clean', 'eps0.3/pgd100'


def condition(correct, **more):
  return counting.tally(np.arange(500) < correct)._asdict() | more


def results(attacked=463, **changes):
  conditions = {CLEAN: condition(492), ATTACK: condition(attacked)}
  settings = {'adv_pre': {'conditions': conditions}}
  return {'preset': 'paper', 'settings': settings} | changes


@pytest.mark.parametrize(
  'attack, judged, said',
  [
    ('paper_a', None, 'last iterate only'),
    ('pgd100', None, 'not stated.'),
    ('pgd100', 'last iterate', 'last iterate only'),
    ('pgd100', 'best iterate', 'first success'),
    ('pgd7', 'best iterate', 'first success'),
    ('adaptive', 'best iterate', 'all recipes of the attack and all their'),
    ('adaptive', None, 'not stated.'),
    ('adaptive', 'worst case of 3 attacks on a', 'worst case of 3 attacks on'),
    ('pgd7', 'best iterate on a', 'best iterate on a.'),
  ],
)
def test_no_attack_is_called_what_it_is_not(attack, judged, said):
  entry = condition(300) | ({'judged': judged} if judged else {})
  settings = {'s': {'conditions': {f'eps0.3/{attack}': entry}}}
  found = caveats.applying({'settings': settings}, [f'eps0.3/{attack}'])
  text = found['What each figure is judged on']
  assert text.startswith(f'`eps0.3/{attack}`: ') and said in text


def test_ways_of_judging_are_all_named():
  settings = {
    name: {'conditions': {ATTACK: condition(1, judged=how)}}
    for name, how in (('a', 'best iterate'), ('b', 'last iterate'))
  }
  assert caveats.judged(settings, ATTACK) == 'best iterate, last iterate'
  assert caveats.judged(settings, CLEAN) == 'no attack'


@pytest.mark.parametrize(
  'change, heading',
  [
    ({'preset': 'small'}, 'Preset small'),
    ({'environment': {'dirty': True}}, 'Uncommitted changes'),
    ({'caveats': {'Mine': 'text'}}, 'Mine'),
  ],
)
def test_a_caveat_is_there_where_it_applies(change, heading):
  both = CLEAN, ATTACK
  assert heading in caveats.applying(results(**change), both)
  assert heading not in caveats.applying(results(), both)


@pytest.mark.parametrize(
  'split, words',
  [
    ('test', 'test images'),
    ('train', 'training images'),
    ('held_out', '`held_out` images'),
  ],
)
def test_images_are_called_what_they_are(split, words):
  about = results(config={'data': {'judged_on': split}})
  assert caveats.images(about) == words
  text = caveats.applying(about, [CLEAN])['What the interval covers']
  assert text.startswith(f'The choice of {words} only;')


def test_an_attack_that_helps_is_flagged():
  """On the images that it was judged on, however many are judged clean."""
  heading = 'Warning: attacked above clean'
  for unattacked, flagged in ((462, True), (463, False)):
    attacked = condition(463, unattacked=unattacked)
    setting = {'conditions': {CLEAN: condition(300), ATTACK: attacked}}
    about = results(settings={'adv_pre': setting})
    found = caveats.applying(about, [CLEAN, ATTACK])
    assert (heading in found) == flagged
    assert not flagged or '`adv_pre/eps0.3/pgd100`' in found[heading]


def test_images_that_a_search_alone_breaks_are_flagged():
  heading = 'Warning: a search without gradients breaks more'
  for broken in (0, 12):
    hidden = {'standing': 90, 'broken': broken}
    searched = condition(300, hidden=hidden)
    setting = {'conditions': {CLEAN: condition(480), ATTACK: searched}}
    about = results(settings={'disc_nat_re': setting})
    found = caveats.applying(about, [CLEAN, ATTACK])
    assert (heading in found) == bool(broken)
    assert not broken or 'disc_nat_re/eps0.3/pgd100` 12 of 90' in found[heading]


@pytest.mark.parametrize('steps', [1, 40, 100])
def test_two_attacks_are_not_compared_as_one(steps):
  names = [f'eps0.3/pgd{steps}', 'eps0.3/paper_a']
  conditions = dict.fromkeys(names, condition(400))
  settings = {'s': {'conditions': conditions}}
  found = caveats.applying({'settings': settings}, names)
  assert f'`pgd{steps}`' in found['Two attacks, not one']
  assert 'Two attacks, not one' not in caveats.applying(results(), [ATTACK])

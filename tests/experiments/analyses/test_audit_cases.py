"""What an attack is held against."""

import pytest

from configs import cifar10, digits, parts
from experiments.analyses.audit_cases import cases
from rdefense.attacks.assembly import check_ensemble
from rdefense.attacks.pgd import sign


def by_name(attack, kind='transformed', **options):
  found = {case.name: case for case in cases(attack, 0.2, kind, **options)}
  for case in found.values():
    check_ensemble(case.recipes)
  return found


@pytest.mark.parametrize('name', ['apgd', 'adaptive', 'paper_a', 'square'])
def test_there_is_less_of_an_attack_and_more_of_it(name):
  attack = digits.get_config().attacks[name].to_dict()
  found = by_name(attack, transfers=True)
  itself = found['attack'].recipes
  assert {case.eps for case in found.values()} == {0.0, 0.1, 0.2, 1.0}
  for kind in ('longer', 'starts', 'everything', 'half'):
    assert len(found[kind].recipes) == len(itself)
  for recipe, longer, again in zip(
    itself, found['longer'].recipes, found['starts'].recipes, strict=True
  ):
    assert longer.num_steps == 2 * recipe.num_steps
    assert longer.loss is recipe.loss
    assert again.name != recipe.name  # keys of its own
    if recipe.optimizer:
      assert (again.start, again.num_restarts) == ('random', 5)
  (step,), (noise,) = found['step'].recipes, found['noise'].recipes
  assert (step.num_steps, step.step_size, step.start) == (1, 0.2, 'clean')
  assert step.optimizer is sign and noise.num_steps == 0
  assert (step.backward, step.alpha) == (itself[0].backward, itself[0].alpha)
  assert step.keep == noise.keep == 'best'
  assert ('square' in found) == (name != 'square')
  assert ('sizes' in found) == (name in ('adaptive', 'paper_a'))
  if 'sizes' in found:
    tried = [r.step_size for r in found['sizes'].recipes]
    own = [r.step_size for r in itself]
    assert tried == [s / 4 for s in own] + [min(1, 4 * s) for s in own]
  assert [c.name for c in found.values() if c.transferred] == ['transfer']
  if name != 'square':
    assert found['square'].recipes[0].optimizer is None
    # Else an image would stop where it just fools the undefended network.
    ends = {(r.keep, r.every_example) for r in found['transfer'].recipes}
    assert ends == {('last', True)}
  assert 'transfer' not in by_name(attack)


def test_behind_randomness_all_average_draws():
  attack = parts.attack_run('eot', num_steps=6, num_draws=4)
  found = by_name(attack, 'randomized')
  drawn = {r.num_draws for case in found.values() for r in case.recipes}
  assert drawn == {4}
  assert found['square'].recipes[0].num_steps == 12  # each at four draws


def test_all_images_are_a_ball_of_known_radius_in_linf_alone():
  attack = cifar10.get_config().attacks.pgd40.to_dict()
  assert 'everything' in by_name(attack, 'plain')
  assert 'everything' not in by_name(attack, 'plain', norm='l2')


@pytest.mark.parametrize(
  'attack',
  [{'name': 'fgsm'}, parts.attack_run('given', path='a.npy')],
  ids=['fgsm', 'given'],
)
def test_what_takes_no_steps_is_not_audited(attack):
  with pytest.raises(ValueError, match='takes no steps .* audit pgd'):
    cases(attack, 0.1, 'plain')


def test_steps_may_be_longer_than_a_pixel_where_the_norm_has_longer():
  attack = parts.attack_run('pgd', step_size=0.5)
  longest = {
    norm: max(
      r.step_size for r in by_name(attack, 'plain', norm=norm)['sizes'].recipes
    )
    for norm in ('linf', 'l2')
  }
  assert longest == {'linf': 1.0, 'l2': 2.0}

"""What broke images is told of ensembles, of the recipes that did."""

from rdefense import ensembles

RECIPES = [f'r{i}' for i in range(7)]


def rows(entry, kind='transformed'):
  settings = {'disc': {'kind': kind, 'conditions': {'eps0.1/all': entry}}}
  found = list(ensembles.blocks(settings))
  return found[1][2] if found else []


def test_those_that_broke_most_are_named_and_the_others_summed():
  broken = {'-1': 4, '0': 1, '2': 9, '3': 30, '4': 2, '5': 1200, '6': 1}
  (row,) = rows({'recipes': RECIPES, 'broken_by': broken})
  assert row[2] == '`r5`: 1,200, `r3`: 30, `r2`: 9, `r4`: 2'
  assert row[3] == '2'  # of r0 and r6


def test_nothing_is_told_where_nothing_can_be():
  whole = {'recipes': RECIPES, 'broken_by': {'-1': 4, '1': 2}}
  assert len(rows(whole)) == 1
  assert not rows(whole, 'randomized')
  assert not rows(whole | {'recipes': ['alone']})
  assert not rows(whole | {'broken_by': {'-1': 6}})
  assert not rows({})  # of an earlier run, or of no attack

"""What gradients hide: images that fall to a search, and to no descent.

An attack that asks for no gradient does better than those that follow one only
where gradients mislead them. Each image that it alone breaks shows that.

References:
  Athalye, Carlini, Wagner, Obfuscated gradients give a false sense of security,
  2018, https://arxiv.org/abs/1802.00420, section 3.1.
"""

from collections.abc import Mapping

import numpy as np

from experiments.studies.conditions import Condition
from experiments.studies.counterparts import Verdicts

__all__ = ['hidden']


def hidden(
  chosen: Mapping[str, Condition], found: Mapping[str, Verdicts]
) -> dict[str, dict[str, int]]:
  """Of one deterministic setting, for each search among its attacks.

  Args:
    chosen: conditions by name.
    found: their verdicts.

  Returns:
    Name of the search -> `standing`, the images that withstand all attacks by
    gradients that were run on them at that radius, and `broken`, how many of
    them it breaks. Nothing where no image has been attacked by both.

  >>> from rdefense.attacks.autoattack import square
  >>> from rdefense.attacks.recipes import fgsm
  >>> chosen = {
  ...   f'eps0.1/{name}': Condition(f'eps0.1/{name}', recipes, 0.1, None)
  ...   for name, recipes in {'fgsm': fgsm(0.1), 'square': square()}.items()
  ... }
  >>> found = {
  ...   'eps0.1/fgsm': Verdicts(np.arange(3), np.array([True, True, False])),
  ...   'eps0.1/square': Verdicts(np.arange(2), np.array([True, False])),
  ... }
  >>> hidden(chosen, found)
  {'eps0.1/square': {'standing': 2, 'broken': 1}}
  """
  told = {}
  for name, search in chosen.items():
    if not _searches(search):
      continue
    mine = found[name]
    seen = np.zeros(len(mine.examples), bool)
    stands = np.ones(len(mine.examples), bool)
    for other, condition in chosen.items():
      if not _descends(condition) or condition.eps != search.eps:
        continue
      examples, correct = found[other]
      seen |= np.isin(mine.examples, examples)
      stands &= np.isin(mine.examples, examples[~correct], invert=True)
    standing = seen & stands
    if seen.any():
      told[name] = {
        'standing': int(standing.sum()),
        'broken': int((standing & ~mine.correct).sum()),
      }
  return told


def _own(condition: Condition) -> bool:
  """Whether it attacks the setting itself, as it is deployed."""
  elsewhere = condition.source or condition.given or condition.frozen
  return bool(condition.recipes) and not elsewhere


def _searches(condition: Condition) -> bool:
  recipes = condition.recipes
  return _own(condition) and all(r.optimizer is None for r in recipes)


def _descends(condition: Condition) -> bool:
  return _own(condition) and not _searches(condition)

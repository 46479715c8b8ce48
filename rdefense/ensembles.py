"""Which recipe of an ensemble broke what: the way in that was left open.

>>> found = {
...   'recipes': ['bpda', 'surrogate', 'identity'],
...   'broken_by': {'-1': 60, '0': 3, '2': 37},
... }
>>> settings = {'disc': {'conditions': {'eps0.1/adaptive': found}}}
>>> heading, table, paragraph = blocks(settings)
>>> table[2]
[('`disc`', '`eps0.1/adaptive`', '`identity`: 37, `bpda`: 3', '0')]
"""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ['blocks']

_NAMED = 4  # recipes of an ensemble


def blocks(settings: Mapping[str, Any]) -> Iterator[tuple]:
  """Of a report: a table of what recipes broke, nothing where each was alone.

  Args:
    settings: name -> `kind` and `conditions`: name -> perhaps `recipes`, their
      names in order, and `broken_by`: number in it -> images, `-1` for those
      that stand or were wrong unattacked. Behind randomness nothing breaks for
      good, and nothing is told.
  """
  rows = [
    (f'`{name}`', f'`{condition}`', *_most(counts))
    for name, setting in settings.items()
    if setting.get('kind') != 'randomized'
    for condition, entry in setting['conditions'].items()
    if len(entry.get('recipes', ())) > 1 and (counts := _broken(entry))
  ]
  if rows:
    yield ('heading', 3, 'What broke them')
    header = ('setting', 'condition', 'recipe: images', 'all other recipes')
    yield ('table', header, rows)
    yield (
      'paragraph',
      'Recipes run one after another on what is still standing: an image is '
      'counted for the first that broke it, so that what a later one broke all '
      'before it had left.',
    )


def _broken(entry) -> dict[str, int]:
  counts = entry.get('broken_by', {})
  return {
    recipe: counts[str(number)]
    for number, recipe in enumerate(entry['recipes'])
    if str(number) in counts
  }


def _most(counts: Mapping[str, int]) -> tuple[str, str]:
  ranked = sorted(counts.items(), key=lambda pair: -pair[1])
  shown = ', '.join(f'`{recipe}`: {n:,}' for recipe, n in ranked[:_NAMED])
  return shown, f'{sum(n for _, n in ranked[_NAMED:]):,}'

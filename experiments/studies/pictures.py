"""What a report of an evaluation shows besides its table."""

import functools

import jax
import numpy as np

from rdefense import counting, deployed, evaluation, plots
from rdefense.attacks import over_examples

__all__ = ['captions', 'curves', 'lead', 'strip', 'table_only']

_PICTURE = 3  # role folded into the evaluation's key


def lead(settings, found) -> str:
  """One sentence: what the discretization is worth against the best attack.

  That is the one which leaves least of the images that all have seen, at the
  largest radius. Frozen randomness is a check of the attack, at a radius where
  nothing stands. Settings without an attack are left out; '' where there is
  none at all.

  Args:
    settings: of the results.
    found: setting -> condition -> `counterparts.Verdicts`.
  """

  def strongest(name: str, attacked) -> str:
    top = max(e['eps'] for e in attacked.values())
    rivals = {c: found[name][c] for c, e in attacked.items() if e['eps'] == top}
    seen_by_all = functools.reduce(
      np.intersect1d, (verdicts.examples for verdicts in rivals.values())
    )
    left = {
      c: verdicts.correct[np.isin(verdicts.examples, seen_by_all)].mean()
      for c, verdicts in rivals.items()
    }
    return min(rivals, key=lambda c: (left[c], attacked[c]['percent']))

  parts = []
  for name, setting in settings.items():
    attacked = {
      condition: e
      for condition, e in setting['conditions'].items()
      if condition != 'clean' and not condition.endswith('/frozen')
    }
    if attacked:
      condition = strongest(name, attacked)
      tally = attacked[condition]
      parts.append(
        f'{name} {tally["percent"]:.1f}% of {tally["total"]:,} ({condition})'
      )
  if not parts:
    return ''
  return 'Accuracy under the strongest attack run: ' + ', '.join(parts) + '.'


def table_only(results):
  """Results without the other radii of the curves, which have a figure."""

  def kept(tallies):
    return {c: t for c, t in tallies.items() if t['in_table']}

  settings = {
    name: setting | {'conditions': kept(setting['conditions'])}
    for name, setting in results['settings'].items()
  }
  return results | {'settings': settings}


def curves(title: str, settings, unit: int) -> dict[str, bytes]:
  """Accuracy against eps: a figure each attack that ran at several radii.

  Args:
    title: of the study.
    settings: of its results.
    unit: radii are printed in units of 1 / unit.
  """
  names = {
    name.rpartition('/')[2]
    for setting in settings.values()
    for name, tally in setting['conditions'].items()
    if tally['eps'] > 0
  }
  figures = {}
  for attack in sorted(names):
    curves = {}
    for name, setting in settings.items():
      points = [
        (t['eps'], counting.tally_of(t))
        for condition, t in setting['conditions'].items()
        if condition == 'clean' or condition.rpartition('/')[2] == attack
      ]
      if len(points) > 2:
        curves[name] = points
    if curves:
      figure = plots.accuracy_curves(curves, f'{title}: {attack}', unit)
      figures[f'curve_{attack}'] = plots.encode_png(figure)
  return figures


def captions(figures, condition: str) -> dict[str, str]:
  """Of the figures of a report, by name.

  Args:
    figures: names, as `curves` gives them, and `examples`.
    condition: under which the examples are.

  >>> captions(['curve_pgd100'], '')
  {'curve_pgd100': 'Accuracy under `pgd100`; bands are exact 95% intervals.'}
  """
  told = {
    name: f'Accuracy under `{name.removeprefix("curve_")}`; bands are exact '
    '95% intervals.'
    for name in figures
    if name.startswith('curve_')
  }
  if 'examples' in figures:
    told['examples'] = (
      f'Images under `{condition}`, and what the classifier sees of them; its '
      'prediction below, with a tick where it is right.'
    )
  return told


def strip(
  target, recipes, norm: str, eps: float, root, batch, source=None, start=None
) -> bytes:
  """Clean, transformed, attacked, attacked and transformed images.

  `start` is the batch that the recipes get: images made elsewhere, if any.
  """
  start = batch if start is None else start
  verdicts = evaluation.attack(
    target, recipes, norm, eps, root, start, source=source
  )
  defense = target.defend(target.codes, 1.0)
  key = jax.random.fold_in(root, _PICTURE)
  transform = over_examples(defense.apply)
  clean, _ = deployed.judge(target, key, batch.index, batch.image, batch.label)

  def transformed(images):
    # What is not an image any more, noise and encodings, is shown as it clips.
    return np.clip(transform(key, batch.index, images), 0, 1)

  def told(predicted):
    return [
      plots.Caption(str(p), bool(p == y))
      for p, y in zip(predicted, batch.label, strict=True)
    ]

  plain = [None] * len(clean)
  rows = [
    ('clean', batch.image),
    ('defended', transformed(batch.image)),
    ('attacked', verdicts.z),
    ('attacked and\ndefended', transformed(verdicts.z)),
  ]
  texts = [plain, told(clean[:, 0]), plain, told(verdicts.draws[:, 0])]
  return plots.encode_png(plots.image_strip(rows, texts))

"""The report of `experiments.idealized`, and the figures it publishes."""

from typing import Any

from etils.epath import Path

from experiments import publish
from experiments.analyses.idealized_cases import DELTA, EIGHT, REAL, SIDE
from experiments.publish import Entry
from rdefense import counting, pages, plots
from rdefense.analysis import guarantee
from rdefense.counting import Tally

__all__ = ['entries', 'first_promised', 'picture', 'write_report']


def picture(lemma: list[dict[str, Any]]):
  """Lemma 1's curves, with the sizes from which it is said to hold."""
  curves: dict[str, list[tuple[float, Tally]]] = {}
  for row in lemma:
    if not row['note']:
      curves.setdefault(row['skeleton'], []).append(
        (row['images'], counting.tally_of(row))
      )
  return plots.size_curves(
    curves,
    title='Lemma 1: draws in which all 8 codes are found',
    xlabel=f'training images of {SIDE}×{SIDE} pixels',
    promise=(100 * (1 - DELTA), first_promised() / SIDE**2),
  )


def first_promised() -> int:
  """The fewest samples of which Lemma 1 speaks, for the curves' model."""
  low, high = 1, 2**30  # bisection: promised at the latter, not the former
  while high - low > 1:
    middle = (low + high) // 2
    if guarantee.promised(EIGHT, middle, DELTA) is None:
      low = middle
    else:
      high = middle
  return high


def write_report(workdir, results) -> Path:
  """Tables and the picture; see `experiments.idealized`."""
  png = plots.encode_png(picture(results['lemma']))
  title = "Paper A's guarantee on idealised and on real images"
  content: list[tuple] = [
    ('heading', 1, title),
    (
      'paragraph',
      f'Preset `{results["preset"]}`. Intervals are exact '
      '(Clopper-Pearson), 95%. The guarantee is for probability '
      f'{1 - DELTA:g}.',
    ),
    ('heading', 2, 'Lemma 1'),
    (
      'paragraph',
      'Algorithm 1 of radius 2 nu is run on fresh images again and again. The '
      'paper counts pixels as independent samples; its proof holds for images '
      f'as samples. Of this model it speaks from {first_promised():,} samples '
      'on.',
    ),
    ('figure', 'lemma_1', png, 'Found within nu, by size and dependence.'),
    _lemma_table(results['lemma']),
    ('heading', 2, 'Proposition 1'),
    (
      'paragraph',
      f'Trained on {results["config"]["num_train"]} images of {SIDE}×{SIDE} '
      'pixels of two codes. Settled: every pixel of the image reaches, within '
      '5 nu, only the code of its skeleton. Right: settled, and the answer is '
      'the label. The least share is over all perturbations of the codes by '
      'at most nu, exact. Images of one draw share their codes.',
    ),
    _proposition_table(results['proposition']),
    ('heading', 2, 'What real images violate'),
    (
      'paragraph',
      "Algorithm 1's codes on the training pixels, with the paper's k and "
      'radius; distances in levels of 255, l_inf. Sigma is none where far '
      'distances are no rarer than near ones, 16 nu where moreover '
      '2 gamma / a ≥ 1/k.',
    ),
    _real_table(results['real']),
    *pages.how_it_was_made(results),
  ]
  return pages.write_document(
    workdir, 'idealized', title, content, {'lemma_1': png}
  )


def _shown(tally):
  return f'{tally["percent"]:.2f}% [{tally["low"]:.2f}, {tally["high"]:.2f}]'


def _lemma_table(lemma):
  rows = [
    (
      f'{row["skeleton"]} {row["note"].replace("_", " ")}'.strip(),
      f'{row["images"]:,} of {row["side"]}×{row["side"]}',
      f'{row["nu"]:.2f}',
      f'{row["separation_over_16_nu"]:.2f}',
      'yes' if row['promised_by_pixels'] else 'no',
      'yes' if row['promised_by_images'] else 'no',
      _shown(row),
      str(row['total']),
    )
    for row in lemma
  ]
  header = (
    'skeletons', 'images', 'nu', 'Gamma / 16 nu', 'promised, as printed',
    'promised, images as samples', 'all codes found', 'draws',
  )  # fmt: skip
  return ('table', header, rows)


def _proposition_table(proposition):
  rows = [
    (
      name,
      f'{found["nu"]:.2f}',
      f'{found["eps"]:.2f}',
      *(_shown(found[part]) for part in ('approximated', 'settled', 'right')),
      f'{found["least"]:.2f}% of {found["perturbations"]}',
      f'{found["at_truth"]:.2f}%',
    )
    for name, found in proposition.items()
  ]
  header = (
    'skeletons', 'nu', 'radius', 'draws with all codes', 'settled images',
    'right in the ball', 'least over perturbed codes', 'at the true codes',
  )  # fmt: skip
  return ('table', header, rows)


# Field of `violated` -> (words, factor, unit).
_FIELDS = {
  'num_pixels': ('pixels', 1, ''),
  'separation': ('Gamma, smallest distance of two codes', 1, 'levels'),
  'beyond': ('further than Gamma / 8 from their code', 100, '%'),
  'at_code': ('equal to a code', 100, '%'),
  'imbalance': ('code shares from uniform, total variation', 100, '%'),
  'sigma_allowed': ('largest sigma the guarantee allows', 1, 'levels'),
} | {
  f'{kind}_{field}': (f'{words}, {which}', factor, unit)
  for kind, which in (
    ('within', 'fit within Gamma / 8'),
    ('all', 'fit to all pixels'),
  )
  for field, words, factor, unit in (
    ('sigma', 'sigma', 1, 'levels'),
    ('misfit', 'distances from the law, total variation', 100, '%'),
    ('needed', '16 nu, which Gamma has to exceed', 1, 'levels'),
  )
}


def _real_table(real):
  def cell(value, factor, unit):
    if value is None:
      return 'none'
    return f'{factor * value:,.4g} {unit}' if unit else f'{value:,}'

  rows = [
    (words, *(cell(found[field], factor, unit) for found in real.values()))
    for field, (words, factor, unit) in _FIELDS.items()
  ]
  return ('table', ('', *(f'{n}, k={REAL[n][0]}' for n in real)), rows)


def entries(results: dict[str, Any], shown: int) -> dict[str, Entry]:
  """`idealized/...` -> entry; of the curves only those of `shown` images."""
  found = {}
  for row in results['lemma']:
    if row['note'] or row['images'] == shown:
      key = f'lemma_1/{row["skeleton"]}_{row["note"] or "at_size"}'
      said = [
        f'at least {100 * (1 - DELTA):g}, {who}'
        for who, field in (
          ('as printed', 'promised_by_pixels'),
          ('images as samples', 'promised_by_images'),
        )
        if row[field]
      ]
      target = '; '.join(said) or 'nothing promised'
      found[key] = publish.entry(results, row)._replace(target=target)
  for name, about in results['proposition'].items():
    found[f'proposition_1/{name}_right'] = publish.entry(
      results, about['right']
    )._replace(target=f'at least {about["least"]:.2f}')
    found[f'proposition_1/{name}_settled'] = publish.entry(
      results, about['settled']
    )._replace(target='at least 95 in all draws')
  surroundings = publish.entry(results, results['lemma'][0])
  for name, about in results['real'].items():
    for field, (_, factor, unit) in _FIELDS.items():
      if field != 'num_pixels' and about[field] is not None:
        found[f'{name}/{field}'] = surroundings._replace(
          value=factor * about[field], low=None, high=None,
          examples=about['num_pixels'], unit=unit, target=_wanted(field, about),
        )  # fmt: skip
  return {f'idealized/{key}': entry for key, entry in found.items()}


def _wanted(field, about):
  """What the model says a figure should be."""
  match field.rpartition('_')[2]:
    case 'beyond' | 'imbalance' | 'misfit':
      return '0'
    case 'sigma':
      return f'below {about["sigma_allowed"]:.4g}'
    case 'needed':
      return f'below {about["separation"]}'
  return ''

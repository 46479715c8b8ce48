"""The report of `experiments.hardness`, and the figures it publishes."""

import math

from etils.epath import Path

from experiments import publish
from experiments.analyses.hardness_cases import NEAR, Study, in_words
from experiments.analyses.hardness_pictures import pictures, write_page
from experiments.publish import Entry
from rdefense import pages
from rdefense.analysis.separability import PARTS

__all__ = ['entries', 'write_report']

_LARGEST_PUBLISHED = 1_567_080
# What counts as reached, in words.
_RULES = {
  ('given', 'closed'): 'T gives it within ε, ties to the lowest index',
  ('tied', 'closed'): 'among the nearest within ε, ties counted',
  ('given', 'open'): 'T gives it nearer than ε',
  ('tied', 'open'): 'among the nearest nearer than ε',
}
_KEYS = {
  ('given', 'closed'): 'median',
  ('tied', 'closed'): 'median_tied',
  ('given', 'open'): 'median_open',
  ('tied', 'open'): 'median_tied_open',
}


def write_report(workdir, study: Study, results) -> Path:
  """The report; see the module's docstring."""
  turned = write_page(workdir, results)
  figures = pictures(study, results)
  title = f'How hard {results["dataset"]} is to defend by discretization'
  captions = {
    'figure_5': 'Share of test images up to each hardness; codes counted as T '
    'gives them.',
    'figure_6': f'Training pixels, with multiplicity, within {NEAR} levels.',
    'figure_7': 'How many training pixels have each level.',
  }
  figure = lambda name: ('figure', name, figures[name], captions[name])
  peaks = results['neighborhoods']
  content: list[tuple] = [
    ('heading', 1, title),
    (
      'paragraph',
      f'{results["examples"]:,} test images; {results["pixels"]:,} training '
      f'pixels of {results["colors"]:,} colours.',
    ),
    ('heading', 2, 'Equivalence classes (Figure 5)'),
    (
      'paragraph',
      'Two images are equivalent if T makes the same of them. Hardness is the '
      'logarithm of the number of classes in the ball over that of all k^d: 0 '
      'leaves an attacker one image, 1 all of them. Intervals of the median '
      'are distribution-free, 95%. Codes that are nearest together only, at a '
      'tie, are counted or not, and so are ties at the very end of the ball: '
      'the true number is between the two rules of a ball.',
    ),
    figure('figure_5'),
    _hardness_table(study, results['hardness']),
    ('heading', 2, 'Neighbourhoods (Figure 6)'),
    ('paragraph', _peak_words(results['dataset'], peaks, turned)),
    figure('figure_6'),
    ('heading', 2, 'Pixel values (Figure 7)'),
    figure('figure_7'),
    ('heading', 2, 'Separability'),
    (
      'paragraph',
      'Of training pixels and their nearest codes, in l_inf and levels of 255. '
      "Gamma is the smallest distance of two codes; the paper's guarantee "
      'wants every pixel within Gamma / 8.',
    ),
    _scores_table(results['separability']),
    *pages.how_it_was_made(results),
  ]
  return pages.write_document(workdir, 'report', title, content, figures)


def _hardness_table(study: Study, rows):
  def paper(row):
    value = study.published.get((row['book'], row['eps']))
    return '–' if value is None else f'{value:g}'

  body = [
    (
      f'`{row["book"]}`',
      in_words(study, row['eps']),
      _RULES[row['rule'], row['ball']],
      f'{row["value"]:.4f} [{row["low"]:.4f}, {row["high"]:.4f}]',
      paper(row),
      f'{row["mean"]:.4f}',
      str(row['most']),
      f'{100 * row["changed"]:.2f}%',
    )
    for row in rows
  ]
  header = (
    'codes', 'ε', 'a code is reached if', 'median', "paper's median", 'mean',
    'most codes of a pixel', 'training pixels of several',
  )  # fmt: skip
  return ('table', header, body)


def _peak_words(dataset, peaks, turned: bool) -> str:
  own, overall = peaks['of_pixels'], peaks['anywhere']
  words = (
    f'The largest neighbourhood of a training pixel has {own["size"]:,} '
    f'pixels, around {tuple(own["color"])}; of any colour at all '
    f'{overall["size"]:,}, around {tuple(overall["color"])}. All of them were '
    f'counted in {peaks["seconds"]:.1f} s.'
  )
  if dataset == 'cifar10':
    words += f' The paper prints {_LARGEST_PUBLISHED:,}.'
  return words + ' `neighborhoods.html` can be turned round.' * turned


# Field -> (words, factor, unit).
_FIELDS = {
  'codes': ('codes', 1, ''),
  'separation': ('Gamma', 1, 'levels'),
  'median_gap': ('median distance of a code to the next', 1, 'levels'),
  'spread': ('mean distance of a pixel to its code', 1, 'levels'),
  'silhouette': ('silhouette, mean over pixels', 1, ''),
  'worst_silhouette': ('silhouette of the worst code', 1, ''),
} | {
  f'{kind}_{m}': (f'pixels within {whose} / {m}', 100, '%')
  for kind, whose in (('within', 'Gamma'), ('within_own', "their code's gap"))
  for m in PARTS
}


def _scores_table(scores):
  def cell(value, factor, unit):
    number = f'{factor * value:.4g}'
    return f'{number}%' if unit == '%' else f'{number} {unit}'.strip()

  rows = [
    (words, *(cell(found[field], factor, unit) for found in scores.values()))
    for field, (words, factor, unit) in _FIELDS.items()
  ]
  return ('table', ('', *(f'`{name}`' for name in scores)), rows)


def entries(study: Study, results) -> dict[str, Entry]:
  """`hardness/<dataset>/...` -> entry.

  Keys of the first codebook leave it out: `hardness/mnist/eps0.3/median`.
  """
  about = results['environment']
  blank = Entry(
    0.0, None, None, None, results['preset'], results['command'],
    publish.commit_of(about), about['device'], about['date'], '',
  )  # fmt: skip
  first = next(iter(study.books))
  found = {}
  prefix = lambda book: '' if book == first else f'{book}/'
  for row in results['hardness']:
    key = f'{prefix(row["book"])}eps{study.unit * row["eps"]:.4g}'
    target = study.published.get((row['book'], row['eps']))
    finite = math.isfinite(row['low'])
    found[f'{key}/{_KEYS[row["rule"], row["ball"]]}'] = blank._replace(
      value=row['value'],
      low=row['low'] if finite else None,
      high=row['high'] if finite else None,
      examples=row['total'],
      target='' if target is None else f'{target:g}, paper A',
    )
    if (row['rule'], row['ball']) == ('tied', 'closed'):
      found[f'{key}/changed'] = blank._replace(
        value=100 * row['changed'], examples=results['pixels'], unit='%'
      )
  for book, scores in results['separability'].items():
    for field in ('silhouette', 'spread', *(f'within_{m}' for m in PARTS)):
      _, factor, unit = _FIELDS[field]
      found[f'{prefix(book)}separability/{field}'] = blank._replace(
        value=factor * scores[field], examples=results['pixels'], unit=unit
      )
  peaks = results['neighborhoods']
  paper = f'{_LARGEST_PUBLISHED:,}, paper A'
  found['neighborhoods/largest'] = blank._replace(
    value=peaks['of_pixels']['size'], examples=results['pixels'],
    unit='pixels', target=paper if results['dataset'] == 'cifar10' else '',
  )  # fmt: skip
  found['neighborhoods/seconds'] = blank._replace(
    value=peaks['seconds'], unit='s',
    target='at most 5' if results['dataset'] == 'cifar10' else '',
  )  # fmt: skip
  return {
    f'hardness/{results["dataset"]}/{key}': entry
    for key, entry in found.items()
  }

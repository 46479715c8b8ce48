"""The report of `experiments.certify`, and the figures it publishes.

Settings behind a codebook: certified, refuted, undecided, lower bounds of the
share of all images, paper A's Table IV and Figure 4. Randomised settings:
`experiments.studies.votes` finds them, `votes_report` shows them.
"""

from etils.epath import Path

from configs.paper.published import TABLE_IV
from experiments import publish
from experiments.studies import votes, votes_report
from rdefense import caveats, counting, pages, plots
from rdefense.certify import statistics
from rdefense.certify.decide import STATUS

__all__ = ['bounds', 'entries', 'shares', 'write_report']

_DELTA = 0.01  # as in paper A
_ORDER = ('certified', 'undecided', 'refuted')


def bounds(tally: counting.Tally) -> dict[str, float]:
  """Of the share of all images, not of these alone, 99% sure, in percent."""
  forms = {
    'exact': statistics.lower_bound,
    'hoeffding': statistics.hoeffding_below,
    'as_printed': statistics.multiplicative_as_printed,
  }
  return {
    name: 100 * form(tally.correct, tally.total, _DELTA)
    for name, form in forms.items()
  }


def write_report(workdir, results) -> Path:
  """Tables and pictures of what was decided."""
  blocks: list[tuple] = [('heading', 1, results['title'])]
  if results['settings']:
    blocks.append((
      'paragraph',
      'Certified: no image of the l_inf ball changes the right answer, proved '
      'over all codes its pixels can reach, in whatever order float32 adds up. '
      'Refuted: an image of the ball is known that the pipeline gets wrong. '
      'Undecided: the budget was spent, or the margin is within rounding. '
      'Intervals are exact, 95%, and cover the choice of '
      f'{caveats.images(results)}.',
    ))  # fmt: skip
  figures = {}
  unit = results['config']['threat']['unit']
  for name, setting in results['settings'].items():
    parts = [
      (found['eps'], [found[status]['percent'] for status in _ORDER])
      for found in setting['conditions'].values()
    ]
    title = f'{name}: {setting["description"]}'
    png = plots.encode_png(plots.decisions(parts, _ORDER, title))
    figures[f'certificates_{name}'] = png
    blocks += [
      ('heading', 2, title),
      _table(setting['conditions']),
      *shares(setting['conditions'], results['config']['certify']),
      ('figure', f'certificates_{name}', png, title),
    ]
  if results['settings']:
    png = plots.encode_png(
      plots.accuracy_curves(
        _curves(results), 'Proved, and left by attacks', unit
      )
    )
    figures['certificates_curves'] = png
    caption = 'Certified shares, their 99% bounds, accuracy under attack'
    blocks.append(('figure', 'certificates_curves', png, caption))
  randomised, pictures = votes_report.blocks(
    results['voted'], results['config']['certify']['curves'], unit
  )
  blocks += randomised + pages.how_it_was_made(results)
  figures |= pictures
  return pages.write_document(
    workdir, 'certificates', results['title'], blocks, figures
  )


def _curves(results) -> dict[str, list[tuple[float, counting.Tally]]]:
  """Paper A's Figure 4: certified, its lower bound, attacked, undefended."""
  curves: dict[str, list] = {}

  def add(name, eps, tally):
    curves.setdefault(name, []).append((eps, counting.tally_of(tally)))

  single = len(results['settings']) + len(results['plain']) == 1
  for name, setting in results['settings'].items():
    name = '' if single else f'{name}: '
    for found in setting['conditions'].values():
      eps, certified = found['eps'], found['certified']
      add(f'{name}certified', eps, certified)
      bound = found['bounds']['exact']
      least = dict.fromkeys(('percent', 'low', 'high'), bound)
      add(f'{name}99% bound', eps, certified | least)
      for attack, summary in found['attacked'].items():
        add(f'{name}{attack}', eps, summary)
  for name, attacked in results['plain'].items():
    for eps, attack, summary in attacked:
      add(f'{name}: {attack}', eps, summary)
  return curves


def _table(conditions):
  def shown(tally):
    return f'{tally["percent"]:.2f}% [{tally["low"]:.2f}, {tally["high"]:.2f}]'

  rows = [
    (
      f'`{condition}`',
      *(shown(found[status]) for status in _ORDER),
      f'{found["certified"]["total"]:,}',
      f'{found["ambiguous"]:.1f}',
      f'{found["nodes"]:,}',
      f'{found["seconds"]:.0f} s',
      ', '.join(
        f'{attack} {tally["percent"]:.2f}% of {tally["total"]:,}'
        for attack, tally in found['attacked'].items()
      )
      or '–',
    )
    for condition, found in conditions.items()
  ]
  header: tuple[str, ...] = (
    'radius', *_ORDER, 'n', 'ambiguous pixels, mean', 'nodes', 'time',
    'accuracy under attack',
  )  # fmt: skip
  return ('table', header, rows)


def shares(conditions, about):
  """Lower bounds of the share of all images, beside Table IV where asked."""
  rows = []
  for condition, found in conditions.items():
    printed = TABLE_IV.get(found['eps']) if about['table_iv'] else None
    row: list = [
      f'`{condition}`',
      found['decided_up_to'],
      *(f'{share:.2f}%' for share in found['bounds'].values()),
    ]
    if about['table_iv']:
      row += ['–'] * 5 if printed is None else [
        printed.threshold,
        *(f'{getattr(printed, status):.2f}%' for status in _ORDER),
        f'{printed.bound:.2f}%',
      ]  # fmt: skip
    rows.append(tuple(map(str, row)))
  header: tuple[str, ...] = (
    'radius', 'all decided up to', 'certified, exact bound', 'Hoeffding',
    '"as printed"',
  )  # fmt: skip
  text = (
    'All images with so many ambiguous pixels or fewer are decided. Lower '
    'bounds of the share that would be certified of images like these, each '
    'right with probability 99%: Clopper-Pearson, Hoeffding; the last is the '
    "paper's (1 - a) ŝ, which is not a bound where the share is small."
  )
  if about['table_iv']:
    header += (
      'paper: threshold b', *(f'paper: {s}' for s in ('ŝ', 'unable', 'fail')),
      'paper: ŝ*',
    )  # fmt: skip
    text += (
      ' The paper enumerates with a threshold for each radius and counts what '
      'is above it as unable: its ŝ from 0.15 on measures the threshold.'
      f' Here one threshold holds for all: {about["max_ambiguous"]} ambiguous '
      'pixels, above which an image is looked at once only.'
    )
  return ('table', header, rows), ('paragraph', text)


def entries(results, dataset: str) -> dict[str, publish.Entry]:
  """`certify/<dataset>/<setting>/<condition>/<status>` -> entry.

  Of the radii of Table IV also `.../bound`, of the share of all images.
  """
  found: dict[str, publish.Entry] = {}
  beside = TABLE_IV if results['config']['certify']['table_iv'] else {}
  for name, setting in results['settings'].items():
    for condition, decided in setting['conditions'].items():
      key = f'certify/{dataset}/{name}/{condition}'
      mine = {
        status: publish.entry(results, decided[status]) for status in STATUS
      }
      printed = beside.get(decided['eps'])
      if printed is not None:
        mine['bound'] = mine['certified']._replace(
          value=decided['bounds']['exact'], low=None, high=None
        )
        for column, figure in mine.items():
          target = f'paper: {getattr(printed, column):.2f}% (Table IV)'
          mine[column] = figure._replace(target=target)
      found |= {f'{key}/{column}': figure for column, figure in mine.items()}
  about = results['config']['certify']['key']
  return found | votes.entries(results, results['voted'], about or dataset)

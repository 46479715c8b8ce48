"""Certifies every setting there is a proof for and writes certificates.html.

  python -m experiments.certify \
    --config=configs/certified_mnist.py --workdir=runs/certified_mnist

Behind a codebook, each image at each radius of `config.certify` is certified,
refuted by a witness, or undecided when its budget is spent. Behind randomness,
votes on each image are counted, and bounded from below under any attack; its
models are those of `experiments.train`. Rows go to `certificates/<setting>`; a
killed run resumes there. Where `experiments.evaluate` has attacked the same
settings at the same radii, no example certified behind a codebook may be
broken. `--publish` puts the shares into docs/results.json.
"""

from pathlib import Path
import time
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from configs import study
from configs.paper.published import TABLE_IV
from experiments import program, publish, votes
from experiments.conditions import radius
from experiments.pipelines import pipelines
from experiments.workdir import fitted_codebook
from rdefense import (
  build,
  certification,
  files,
  plots,
  provenance,
  records,
  report,
)
from rdefense.certify import statistics
from rdefense.certify.decide import STATUS

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything is written.', required=True
)
_ONLY = flags.DEFINE_list(
  'only', [], 'Settings to decide now, without a report; all if empty.'
)
_PUBLISH = flags.DEFINE_bool('publish', False, 'Put it in docs/results.json.')

_DELTA = 0.01  # as in paper A
_ORDER = ('certified', 'undecided', 'refuted')


def certify(config, workdir, only=()) -> dict[str, Any]:
  """All settings with a certificate; returns what the report shows.

  Args:
    config: a `configs/study.py` config with `certify`.
    workdir: holds models and codebook; gets `certificates/`,
      `certificates.json`, `.md` and `.html`.
    only: settings to decide now, leaving the report to a later run.
  """
  begin = time.time()
  test = build.dataset(config.data.to_dict(), 'test')
  pipeline = pipelines(config, workdir, test, fitted_codebook(config, workdir))
  about = config.certify
  settings, voted = {}, {}
  for name in only or config.only or config.settings:
    defense = config.defenses[config.settings[name].defense]
    if build.kind(defense) == 'randomized':
      voted[name] = votes.certified(
        config, workdir, name, pipeline(name)[1], test
      )
    if defense.name not in build.WITH_CODEBOOK:
      continue
    _, target = pipeline(name)
    found = {}
    for eps in about.radii:
      condition = radius(config, eps)
      rows = certification.certify(
        target, test, eps, workdir / 'certificates' / name / condition,
        defense.norm, about.num_examples or None,
        max_nodes=about.max_nodes, batch_size=about.batch_size,
        leaf_size=about.leaf_size, bounds=about.bounds,
        max_patterns=about.max_patterns,
        max_ambiguous=about.max_ambiguous or None,
        title=f'{name} {condition}',
      )
      tallies = certification.tallies(rows)
      found[condition] = {
        'eps': eps,
        **{status: tally._asdict() for status, tally in tallies.items()},
        'seconds': float(rows['certificate/seconds'].sum()),
        'nodes': int(rows['certificate/nodes'].sum()),
        'ambiguous': float(rows['certificate/ambiguous'].mean()),
        'decided_up_to': certification.decided_up_to(rows),
        'bounds': _bounds(tallies['certified']),
        'attacked': _attacked(workdir, name, condition, rows),
      }
    settings[name] = {
      'description': config.settings[name].description, 'conditions': found
    }
  if only:
    return {}
  if not (settings or voted):
    raise ValueError(
      'no setting of this config has a defense with a codebook or randomness: '
      'there is no certificate of the others.'
    )
  results = {
    'title': f'Certificates: {config.title}',
    'settings': settings,
    'voted': voted,
  } | publish.surroundings(config, 'certify', begin)
  files.write_json(workdir / 'certificates.json', results)
  write_report(workdir, results)
  return results


def _bounds(tally: records.Tally) -> dict[str, float]:
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


def _attacked(workdir, name, condition, rows) -> dict[str, dict[str, Any]]:
  """Accuracy under each attack at this radius; no certificate may be broken."""
  found = {}
  attacks = (workdir / 'records' / name / condition).glob('*')
  for directory in sorted(attacks):
    attacked = records.read(directory)
    broken = certification.contradictions(rows, attacked)
    if broken.size:
      raise RuntimeError(
        f'{name} {condition}: {directory.name} breaks certified examples '
        f'{broken[:5].tolist()}: one of the two is wrong.'
      )
    found[directory.name] = records.summarize(attacked, 'verdict')
  return found


def write_report(workdir, results) -> Path:
  """Tables and pictures of what was decided."""
  blocks: list[tuple] = [('heading', 1, results['title'])]
  if results['settings']:
    blocks.append((
      'paragraph',
      'Certified: no image of the l_inf ball changes the right answer, proved '
      'over all codes its pixels can reach, whatever the rounding. Refuted: an '
      'image of the ball is known that the pipeline gets wrong. Undecided: the '
      'budget was spent, or the margin is within rounding. Intervals are '
      'exact, 95%, and cover the choice of test images.',
    ))  # fmt: skip
  figures = {}
  for name, setting in results['settings'].items():
    shares = [
      (found['eps'], [found[status]['percent'] for status in _ORDER])
      for found in setting['conditions'].values()
    ]
    title = f'{name}: {setting["description"]}'
    png = plots.encode_png(plots.decisions(shares, _ORDER, title))
    figures[f'certificates_{name}'] = png
    blocks += [
      ('heading', 2, title),
      _table(setting['conditions']),
      *_shares(setting['conditions'], results['config']['certify']),
      ('figure', f'certificates_{name}', png, title),
    ]
  randomised, pictures = votes.blocks(
    results['voted'], results['config']['certify']['curves']
  )
  blocks += randomised + report.how_it_was_made(results)
  figures |= pictures
  return report.write_document(
    workdir, 'certificates', results['title'], blocks, figures
  )


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
      ) or '–',
    )
    for condition, found in conditions.items()
  ]
  header: tuple[str, ...] = (
    'radius', *_ORDER, 'n', 'ambiguous pixels, mean', 'nodes', 'time',
    'accuracy under attack',
  )  # fmt: skip
  return ('table', header, rows)


def _shares(conditions, about):
  """Lower bounds of the share of all images, beside Table IV where asked."""
  rows = []
  for condition, found in conditions.items():
    printed = TABLE_IV.get(found['eps']) if about['table_iv'] else None
    row: list = [
      f'`{condition}`', found['decided_up_to'],
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
  """`certify/<dataset>/<setting>/<condition>/<status>` -> entry."""
  found = {}
  for name, setting in results['settings'].items():
    for condition, decided in setting['conditions'].items():
      for status in STATUS:
        tally = decided[status]
        key = f'certify/{dataset}/{name}/{condition}/{status}'
        found[key] = publish.entry(results, tally)
        if results['config']['certify']['table_iv']:
          printed = TABLE_IV.get(decided['eps'])
          if printed is not None:
            target = f'paper: {getattr(printed, status):.2f}% (Table IV)'
            found[key] = found[key]._replace(target=target)
  about = results['config']['certify']['key']
  return found | votes.entries(results, results['voted'], about or dataset)


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  config, workdir = _CONFIG.value, Path(_WORKDIR.value)
  if 'certify' not in config:
    raise ValueError('the config has no entry certify: it says how to decide.')
  provenance.claim(workdir, config.to_dict())
  study.check_settings(config, _ONLY.value)
  results = certify(config, workdir, _ONLY.value)
  if not results:
    return
  if _PUBLISH.value:
    publish.publish(publish.RESULTS, entries(results, config.data.name))
  print(workdir / 'certificates.html')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  program.run(main)

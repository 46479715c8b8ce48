"""Attacks every setting of a config and writes report.md and report.html.

  python -m experiments.evaluate \
    --config=configs/digits.py --workdir=runs/digits

Needs the models of `experiments.train` in the same workdir. Rows go to
`records/<setting>/<condition>`; a killed run resumes there. `--publish` puts
what was measured into docs/results.json.
"""

from collections.abc import Iterator
from pathlib import Path
import shlex
import sys
import time
from typing import Any, NamedTuple

from absl import flags, logging
import jax
from ml_collections import config_flags
import numpy as np

from configs import study
from configs.paper.published import PUBLISHED
from experiments import program, publish
from experiments.workdir import fitted_codebook, load_params
from rdefense import (
  build,
  evaluation,
  files,
  plots,
  provenance,
  records,
  report,
)
from rdefense.data import batches

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything is written.', required=True
)
_ONLY = flags.DEFINE_list(
  'only', [], 'Settings to attack now, without a report; all if empty.'
)
_PUBLISH = flags.DEFINE_bool('publish', False, 'Put it in docs/results.json.')

_RESULTS = Path('docs') / 'results.json'
_EVALUATE = 1  # role folded into the seed's key, unlike any training run's


class Condition(NamedTuple):
  """One attack at one radius on the first so many examples."""

  name: str
  recipes: tuple
  eps: float
  num_examples: int | None


def conditions(config, discretized: bool) -> Iterator[Condition]:
  """What a setting is evaluated under, clean accuracy first."""
  yield Condition('clean', (), 0.0, None)
  kind = 'discretized' if discretized else 'plain'
  for name, attack in config.attacks.items():
    if attack.on not in ('both', kind):
      continue
    main = float(config.threat.eps)
    for eps in sorted({main, *attack.curve}):
      count = attack.num_examples if eps == main else attack.curve_examples
      chosen = build.attack_recipes(attack.to_dict(), eps, discretized)
      yield Condition(f'eps{eps:g}/{name}', chosen, eps, count or None)


def evaluate(config, workdir, only=()) -> dict[str, Any]:
  """All settings under all their conditions; returns what the report shows.

  Args:
    config: a `configs/study.py` config.
    workdir: holds models and codebook; gets `records/`, `results.json`,
      `report.md`, `report.html`.
    only: settings to attack now, leaving the report to a later run: several
      processes may share the settings of one workdir.
  """
  workdir = Path(workdir)
  begin = time.time()
  test = build.dataset(config.data.to_dict(), 'test')
  book = fitted_codebook(config, workdir)
  network = build.classifier(config.model.to_dict(), test.num_classes)
  defends = [build.defend(config.defense.to_dict(), on) for on in (False, True)]
  root = jax.random.fold_in(jax.random.key(config.seed), _EVALUATE)
  settings, strip = {}, None
  for setting in only or config.settings:
    model, discretized, description = study.SETTINGS[setting]
    defend = defends[discretized]
    codes = None if book is None else book.codes
    params = load_params(
      config, workdir, model, network, defend(codes, 1.0),
      next(batches(test, 1)).image[0],
    )
    target = evaluation.Target(
      network.apply, defend, params, codes if discretized else None
    )
    tallies = {}
    for condition in conditions(config, discretized):
      rows = evaluation.evaluate(
        target, test, condition.recipes, config.threat.norm, condition.eps,
        root, workdir / 'records' / setting / condition.name,
        config.batch_size, condition.num_examples,
        title=f'{setting} {condition.name}',
      )
      tallies[condition.name] = records.summarize(rows, 'verdict') | {
        'eps': condition.eps,
        'judged': _judged(condition),
      }
      if condition.name == f'eps{config.threat.eps:g}/{config.strip.attack}':
        strip = strip or (target, condition, setting)
    settings[setting] = {'description': description, 'conditions': tallies}
  if only:
    return {}
  results = {
    'title': f'{config.name}: six settings at eps {config.threat.eps:g}',
    'lead': _lead(settings),
    'command': shlex.join(
      ['python', '-m', 'experiments.evaluate', *sys.argv[1:]]
    ),
    'preset': config.preset,
    'seconds': time.time() - begin,
    'config': config.to_dict(),
    'environment': provenance.environment(),
    'settings': settings,
    'codebook': None if book is None else book._asdict(),
  }
  files.write_json(workdir / 'results.json', results)
  figures = _figures(config, results)
  if strip:
    figures['examples'] = _strip(config, test, root, *strip)
  published = publish.references(PUBLISHED, config.name, config.codebook_name)
  shown = _table_only(results, config.threat.eps)
  report.write_report(workdir, shown, published, figures)
  return results


def _judged(condition: Condition) -> str:
  if len(condition.recipes) > 1:
    return f'worst case of {len(condition.recipes)} attacks'
  keeps = {recipe.keep for recipe in condition.recipes}
  return 'last iterate' if keeps == {'last'} else 'best iterate'


def _lead(settings) -> str:
  """One sentence: what the discretization is worth against the best attack."""
  def worst(name):
    entries = settings[name]['conditions']
    attacked = {c: e for c, e in entries.items() if c != 'clean'}
    top = max(e['eps'] for e in attacked.values())
    return min(
      (e['percent'], c) for c, e in attacked.items() if e['eps'] == top
    )

  parts = [
    f'{name} {percent:.1f}% ({condition})'
    for name in settings
    for percent, condition in [worst(name)]
  ]
  return 'Accuracy under the strongest attack run: ' + ', '.join(parts) + '.'


def _table_only(results, eps):
  """Results without the other radii of the curves, which have a figure."""
  def kept(tallies):
    return {c: t for c, t in tallies.items() if t['eps'] in (0.0, eps)}

  settings = {
    name: setting | {'conditions': kept(setting['conditions'])}
    for name, setting in results['settings'].items()
  }
  return results | {'settings': settings}


def _figures(config, results) -> dict[str, bytes]:
  """Accuracy against eps: one figure an attack family."""
  figures = {}
  for title, attacks in (
    ('published attacks', ('pgd100', 'paper_a')),
    ('adaptive attack', ('adaptive',)),
  ):
    curves = {}
    for name, setting in results['settings'].items():
      points = [
        (t['eps'], records.Tally(*(t[f] for f in records.Tally._fields)))
        for c, t in setting['conditions'].items()
        if c == 'clean' or c.rpartition('/')[2] in attacks
      ]
      if len(points) > 1:
        curves[name] = points
    if curves:
      figure = plots.accuracy_curves(curves, f'{config.name}: {title}')
      figures[title.replace(' ', '_')] = plots.encode_png(figure)
  return figures


def _strip(config, test, root, target, condition, setting) -> bytes:
  """Clean, discretized, attacked, attacked and discretized images."""
  batch = next(batches(test, config.strip.num_images))
  verdicts = evaluation.attack(
    target, condition.recipes, config.threat.norm, condition.eps, root, batch
  )
  transform = jax.vmap(
    target.defend(target.codes, 1.0).apply, in_axes=(None, 0)
  )
  key = jax.random.key(0)  # deterministic defenses do not use it
  draws, _ = evaluation.judge(
    target, key, batch.index, batch.image, batch.label
  )
  clean = draws[:, 0]

  def captions(predicted):
    return [
      plots.Caption(str(p), bool(p == y))
      for p, y in zip(predicted, batch.label, strict=True)
    ]

  plain = [None] * len(clean)
  rows = [
    ('clean', batch.image),
    ('discretized', np.asarray(transform(key, batch.image))),
    ('attacked', verdicts.z),
    ('attacked and\ndiscretized', np.asarray(transform(key, verdicts.z))),
  ]
  texts = [plain, captions(clean), plain, captions(verdicts.predicted)]
  return plots.encode_png(plots.image_strip(rows, texts))


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  config, workdir = _CONFIG.value, _WORKDIR.value
  provenance.claim(workdir, config.to_dict())
  for name in _ONLY.value:
    if name not in config.settings:
      listed = ', '.join(config.settings)
      raise ValueError(f'--only={name} is no setting of this config: {listed}.')
  results = evaluate(config, workdir, _ONLY.value)
  if not results:
    return
  if _PUBLISH.value:
    prefix = config.name
    if config.codebook_name != 'density':
      prefix += f'/{config.codebook_name}'
    publish.publish(_RESULTS, publish.entries(results, prefix))
  print(Path(workdir) / 'report.html')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  program.run(main)

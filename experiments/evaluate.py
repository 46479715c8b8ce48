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

from configs.paper.published import PUBLISHED
from experiments import pictures, program, publish
from experiments.workdir import fitted_codebook, load_params
from rdefense import (
  build,
  evaluation,
  files,
  provenance,
  records,
  report,
)
from rdefense.data import batches
from rdefense.defenses import frozen

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything is written.', required=True
)
_ONLY = flags.DEFINE_list(
  'only', [], 'Settings to attack now, without a report; all if empty.'
)
_PUBLISH = flags.DEFINE_bool('publish', False, 'Put it in docs/results.json.')

_RESULTS = Path('docs') / 'results.json'
# Role folded into the seed's key, unlike any training run's, and into that.
_EVALUATE, _FREEZE = 1, 2


class Condition(NamedTuple):
  """One attack at one radius on the first so many examples."""

  name: str
  recipes: tuple
  eps: float
  num_examples: int | None
  frozen: bool = False  # is the defense's randomness fixed, and known


def conditions(config, kind: str) -> Iterator[Condition]:
  """What a setting of some kind is evaluated under, clean accuracy first."""
  yield Condition('clean', (), 0.0, None)
  for name, attack in config.attacks.items():
    if kind not in attack.on:
      continue
    radii = attack.radii or (float(config.threat.eps),)
    for eps in sorted({*radii, *attack.curve}):
      count = attack.num_examples if eps in radii else attack.curve_examples
      frozen = attack.get('frozen', False)
      chosen = build.attack_recipes(
        attack.to_dict(), eps, 'transformed' if frozen else kind
      )
      yield Condition(
        f'{_radius(config, eps)}/{name}', chosen, eps, count or None, frozen
      )


def _radius(config, eps: float) -> str:
  """Of a condition's name, such as `eps0.1`."""
  return f'eps{eps * config.threat.unit:g}'


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
  root = jax.random.fold_in(jax.random.key(config.seed), _EVALUATE)
  settings, strip = {}, None
  for name in only or config.only or config.settings:
    kind = build.kind(config.defenses[config.settings[name].defense])
    target = _target(config, workdir, name, kind, test, book)
    tallies = {}
    for condition in conditions(config, kind):
      attacked = _freeze(target, root) if condition.frozen else target
      rows = evaluation.evaluate(
        attacked, test, condition.recipes, config.threat.norm, condition.eps,
        root, workdir / 'records' / name / condition.name,
        config.batch_size, condition.num_examples,
        title=f'{name} {condition.name}',
      )
      tallies[condition.name] = records.summarize(rows, 'verdict') | {
        'eps': condition.eps,
        'judged': _judged(condition, kind),
      }
      main = _radius(config, config.threat.eps)
      if condition.name == f'{main}/{config.strip.attack}':
        strip = strip or (target, condition)
    settings[name] = {
      'description': config.settings[name].description,
      'kind': kind,
      'conditions': tallies,
    }
  if only:
    return {}
  results = {
    'title': config.title,
    'lead': pictures.lead(settings),
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
  figures = pictures.curves(config.name, settings)
  if strip:
    target, condition = strip
    figures['examples'] = pictures.strip(
      target, condition.recipes, config.threat.norm, condition.eps, root,
      next(batches(test, config.strip.num_images)),
    )
  published = publish.references(PUBLISHED, config.name, config.codebook_name)
  shown = pictures.table_only(results, config.threat.eps)
  report.write_report(workdir, shown, published, figures)
  return results


def _target(config, workdir, name: str, kind: str, test, book):
  """One setting: a trained model behind a defense."""
  setting = config.settings[name]
  defense = config.defenses[setting.defense].to_dict()
  network = build.classifier(config.model.to_dict(), test.num_classes)
  defend = build.defend(defense)
  codes = book.codes if defense['name'] in build.WITH_CODEBOOK else None
  params = load_params(
    config, workdir, setting.model, network, defend(codes, 1.0),
    next(batches(test, 1)).image[0],
  )
  num_draws = config.num_draws if kind == 'randomized' else 0
  return evaluation.Target(network.apply, defend, params, codes, num_draws)


def _freeze(target: evaluation.Target, root) -> evaluation.Target:
  """The target with its randomness fixed to one value."""
  key = jax.random.fold_in(root, _FREEZE)
  return target._replace(
    defend=lambda codes, alpha: frozen(target.defend(codes, alpha), key),
    num_draws=0,
  )


def _judged(condition: Condition, kind: str) -> str:
  if condition.frozen:
    return 'best iterate, randomness frozen'
  if kind == 'randomized' and not condition.recipes:
    return 'one query'
  if len(condition.recipes) > 1:
    return f'worst case of {len(condition.recipes)} attacks'
  keeps = {recipe.keep for recipe in condition.recipes}
  return 'last iterate' if keeps == {'last'} else 'best iterate'


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

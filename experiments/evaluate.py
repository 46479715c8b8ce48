"""Attacks every setting of a config and writes report.md and report.html.

  python -m experiments.evaluate \
    --config=configs/digits.py --workdir=runs/digits

Needs the models of `experiments.train` in the same workdir. Rows go to
`records/<setting>/<condition>`; a killed run resumes there. `--publish` puts
what was measured into docs/results.json.
"""

from collections.abc import Callable
import functools
import hashlib
import time
from typing import Any

from absl import logging
from etils.epath import Path
import jax

from configs import study
from configs.paper.published import PUBLISHED
from experiments import publish
from experiments.running import (
  multihost,
  preemption,
  study_flags,
)
from experiments.studies import (
  at_hand,
  conditions,
  counterparts,
  masking,
  origins,
  pictures,
)
from experiments.studies.pipelines import pipelines
from experiments.studies.workdir import fitted_codebook
from rdefense import (
  build,
  counting,
  defenses,
  deployed,
  evaluation,
  files,
  parallel,
  provenance,
  report,
)
from rdefense.data import batches

# Role folded into the seed's key, and into that. Training folds the number of
# a run into it, and then more than is folded here.
_EVALUATE, _FREEZE = 1, 2


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
  begin, about = time.time(), provenance.environment()
  test = build.dataset(config.data.to_dict(), config.data.judged_on)
  book = fitted_codebook(config, workdir)
  root = jax.random.fold_in(jax.random.key(config.seed), _EVALUATE)
  settings, strip = {}, None
  found: dict[str, dict[str, counterparts.Verdicts]] = {}
  pipeline = pipelines(config, workdir, test, book)
  read, freeze = _reader(config, test), _freezer(root)
  for name in only or config.only or config.settings:
    kind, target = pipeline(name)
    tallies, found[name], chosen = {}, {}, {}
    for condition in conditions.conditions(config, kind, name):
      chosen[condition.name] = condition
      attacked = freeze(target) if condition.frozen else target
      source, submissions = None, None
      if condition.source:
        source = pipeline(condition.source)[1]
        submissions = (
          workdir / 'submissions' / condition.source / condition.name
        )
      directory = workdir / 'records' / name / condition.name
      count = min(condition.num_examples or len(test.images), len(test.images))
      images = test
      if condition.given:
        # Those that a run resumes with must be the same.
        images, digest = read(condition.given, condition.eps)
        provenance.claim(directory, {'sha256 of the images': digest})
      origins.note(
        workdir, 'evaluate', about, directory, count, config.batch_size
      )
      rows = evaluation.evaluate(
        attacked,
        images,
        condition.recipes,
        config.threat.norm,
        condition.eps,
        root,
        directory,
        config.batch_size,
        condition.num_examples,
        title=f'{name} {condition.name}',
        source=source,
        submissions=submissions,
      )
      verdicts = counterparts.verdicts(rows)
      found[name][condition.name] = verdicts
      clean, _ = counterparts.paired(found[name]['clean'], verdicts)
      tallies[condition.name] = (
        counting.summarize(rows, 'verdict')
        | {
          'eps': condition.eps,
          'unattacked': int(clean.sum()),
          'judged': conditions.judged(condition, kind),
          'in_table': condition.in_table,
          'recipes': [recipe.name for recipe in condition.recipes],
        }
        | conditions.precision(condition, rows)
      )
      main = conditions.radius(config, config.threat.eps)
      if condition.name == f'{main}/{config.strip.attack}':
        strip = strip or (target, condition, source, images)
    if kind != 'randomized':
      for under, masked in masking.hidden(chosen, found[name]).items():
        tallies[under]['hidden'] = masked
    settings[name] = {
      'description': config.settings[name].description,
      'kind': kind,
      'conditions': tallies,
    }
  if only or not parallel.is_first():
    return {}
  for name, told in counterparts.measured(config, found).items():
    for under, gain in told.items():
      settings[name]['conditions'][under]['gain'] = gain
  counted = at_hand.count(config.data.name)
  results = {
    'title': config.title,
    'lead': pictures.lead(settings, found),
    'settings': settings,
    'codebook': None if book is None else book._asdict(),
    'images': counted,
    'caveats': at_hand.caveats(config.data.name, counted),
  } | publish.surroundings(
    config, 'evaluate', begin, origins.environment(workdir, 'evaluate', about)
  )
  every = [
    tally for s in settings.values() for tally in s['conditions'].values()
  ]
  # An earlier start may have taken most of it.
  taken = sum(tally['seconds'] for tally in every)
  results['seconds'] = max(results['seconds'], taken)
  files.write_json(workdir / 'results.json', results)
  figures = pictures.curves(config.name, settings, config.threat.unit)
  if strip:
    target, condition, source, images = strip
    figures['examples'] = pictures.strip(
      target,
      condition.recipes,
      config.threat.norm,
      condition.eps,
      root,
      next(batches(test, config.strip.num_images)),
      source,
      next(batches(images, config.strip.num_images)),
    )
  published = publish.references(PUBLISHED, config.name, config.codebook_name)
  under = strip[1].name if strip else ''
  shown = pictures.table_only(results) | {
    'captions': pictures.captions(figures, under)
  }
  report.write_report(workdir, shown, published, figures)
  return results


def _freezer(root) -> Callable[[deployed.Target], deployed.Target]:
  """`target -> target` with its randomness fixed to one value.

  One function a defense, so that what was compiled for a radius is found again.
  """
  key = jax.random.fold_in(root, _FREEZE)

  @functools.cache
  def fixed(defend):
    return lambda codes, alpha: defenses.frozen(defend(codes, alpha), key)

  return lambda target: target._replace(
    defend=fixed(target.defend), num_draws=0
  )


def _reader(config, test):
  """`(path, eps) -> images made elsewhere, digest`, read once for all settings.

  A folder of a thousand PNG takes a while to decode.
  """

  @functools.cache
  def read(path: str, eps: float):
    images = build.given(
      path, test, config.data.judged_on, config.threat.norm, eps
    )
    return images, hashlib.sha256(images.images.tobytes()).hexdigest()

  return read


def _check_parts(config, names) -> None:
  """Raises `ValueError` on parts of settings that are none, before all work."""
  for name in names:
    about = config.defenses[config.settings[name].defense].to_dict()
    build.defend(about)
    for _ in conditions.conditions(config, build.kind(about), name):
      pass  # its recipes are built


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  preemption.stop_at_once()
  config, workdir = study_flags.config(), study_flags.workdir()
  study.check_settings(config, study_flags.ONLY.value)
  conditions.check_given(config)
  _check_parts(config, study_flags.ONLY.value or config.only or config.settings)
  with provenance.claimed(workdir, config.to_dict()):
    results = evaluate(config, workdir, study_flags.ONLY.value)
  if not results:
    return
  if publish.ASKED.value:
    prefix = publish.prefix(config.name, config.codebook_name)
    publish.publish(publish.RESULTS, publish.entries(results, prefix))
  print(workdir / 'report.html')


if __name__ == '__main__':
  multihost.run(main)

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

import time
from typing import Any

from absl import logging

from configs import study
from experiments import publish
from experiments.running import (
  multihost,
  preemption,
  study_flags,
)
from experiments.studies import (
  certificates,
  origins,
  votes,
)
from experiments.studies.conditions import radius
from experiments.studies.pipelines import pipelines
from experiments.studies.workdir import fitted_codebook
from rdefense import (
  build,
  certification,
  counting,
  files,
  parallel,
  provenance,
  records,
)


def certify(config, workdir, only=()) -> dict[str, Any]:
  """All settings with a certificate; returns what the report shows.

  Args:
    config: a `configs/study.py` config with `certify`.
    workdir: holds models and codebook; gets `certificates/`,
      `certificates.json`, `.md` and `.html`.
    only: settings to decide now, leaving the report to a later run.
  """
  begin, environment = time.time(), provenance.environment()
  test = build.dataset(config.data.to_dict(), config.data.judged_on)
  pipeline = pipelines(config, workdir, test, fitted_codebook(config, workdir))
  about = config.certify
  count = min(about.num_examples or len(test.images), len(test.images))

  def note(directory):
    size = about.shard_size
    origins.note(workdir, 'certify', environment, directory, count, size)

  settings, voted = {}, {}
  for name in only or config.only or config.settings:
    defense = config.defenses[config.settings[name].defense]
    if build.kind(defense) == 'randomized':
      voted[name] = votes.certified(
        config, workdir, name, pipeline(name)[1], test, note
      )
    if defense.name not in build.WITH_CODEBOOK:
      continue
    _, target = pipeline(name)
    found = {}
    for eps in about.radii:
      condition = radius(config, eps)
      directory = workdir / 'certificates' / name / condition
      note(directory)
      rows = certification.certify(
        target,
        test,
        eps,
        directory,
        defense.norm,
        about.num_examples or None,
        max_nodes=about.max_nodes,
        batch_size=about.batch_size,
        leaf_size=about.leaf_size,
        bounds=about.bounds,
        max_patterns=about.max_patterns,
        max_ambiguous=about.max_ambiguous or None,
        shard_size=about.shard_size,
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
        'bounds': certificates.bounds(tallies['certified']),
        'attacked': _attacked(workdir, name, condition, rows),
      }
    settings[name] = {
      'description': config.settings[name].description,
      'conditions': found,
    }
  if only or not parallel.is_first():
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
    'plain': _plain(config, workdir),
  } | publish.surroundings(
    config,
    'certify',
    begin,
    origins.environment(workdir, 'certify', environment),
  )
  files.write_json(workdir / 'certificates.json', results)
  certificates.write_report(workdir, results)
  return results


def _plain(config, workdir) -> dict[str, list]:
  """Attacks on undefended settings, for comparison: (eps, attack, summary)."""
  return {
    name: [
      (
        eps,
        directory.name,
        counting.summarize(records.read(directory), 'verdict'),
      )
      for eps in config.certify.radii
      for directory in files.matching(
        workdir / 'records' / name / radius(config, eps), '*'
      )
      if records.completed(directory)  # else it is begun, and no more
    ]
    for name in config.only or config.settings
    if build.kind(config.defenses[config.settings[name].defense]) == 'plain'
  }


def _attacked(workdir, name, condition, rows) -> dict[str, dict[str, Any]]:
  """Accuracy under each attack at this radius; no certificate may be broken."""
  found = {}
  attacks = files.matching(workdir / 'records' / name / condition, '*')
  for directory in filter(records.completed, attacks):  # not what is just begun
    attacked = records.read(directory)
    broken = certification.contradictions(rows, attacked)
    if broken.size:
      raise RuntimeError(
        f'{name} {condition}: {directory.name} breaks certified examples '
        f'{broken[:5].tolist()}: one of the two is wrong.'
      )
    found[directory.name] = counting.summarize(attacked, 'verdict')
  return found


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  preemption.stop_at_once()
  config, workdir = study_flags.config(), study_flags.workdir()
  if 'certify' not in config:
    raise ValueError('the config has no entry certify: it says how to decide.')
  study.check_settings(config, study_flags.ONLY.value)
  with provenance.claimed(workdir, config.to_dict()):
    results = certify(config, workdir, study_flags.ONLY.value)
  if not results:
    return
  if publish.ASKED.value:
    publish.publish(
      publish.RESULTS, certificates.entries(results, config.data.name)
    )
  print(workdir / 'certificates.html')


if __name__ == '__main__':
  multihost.run(main)

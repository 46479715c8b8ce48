"""Randomised settings in `experiments.certify`: their votes and bounds."""

from typing import Any

from etils.epath import Path
import jax
import numpy as np

from experiments import publish
from experiments.studies.conditions import radius
from rdefense import build, counting, files, records, vote_certification
from rdefense.certify import votes

__all__ = ['FAILURE', 'certified', 'entries']

FAILURE = 0.001  # of a majority, for which the votes needed are shown
_VOTE, _CENTERS = 7, 8  # roles folded into the seed's key


def certified(config, workdir, name, target, test, note) -> dict[str, Any]:
  """One randomised setting at all its radii; rows go to `certificates/`.

  `note` is told of each folder of rows before they are computed.
  """
  about = config.certify
  defense = config.defenses[config.settings[name].defense].to_dict()
  root = jax.random.key(config.seed)
  see, certifier = build.certifier(
    defense,
    jax.random.fold_in(root, _CENTERS),
    about.delta * vote_certification.FOR_CENTERS,
  )
  where = workdir / 'certificates' / name
  note(where / 'votes')
  voted = vote_certification.count_votes(
    target,
    test,
    jax.random.fold_in(root, _VOTE),
    where / 'votes',
    about.num_votes,
    about.delta,
    about.num_examples or None,
    about.shard_size,
    f'{name} votes',
  )
  right = votes.margin_seen(voted['votes'], voted['label']) > 0
  found = {}
  for eps in config.radii_of.get(name, ()) or about.radii:
    condition = radius(config, eps)
    note(where / condition)
    rows = vote_certification.certify(
      voted,
      test,
      see,
      certifier,
      eps,
      about.delta,
      where / condition,
      about.shard_size,
      f'{name} {condition}',
    )
    tallies = vote_certification.tallies(rows, _rules(config.data.name))
    margin = rows['certificate/best']
    margin = margin[margin > 0]
    found[condition] = {
      'eps': eps,
      'bounds': {rule: t._asdict() for rule, t in tallies.items()},
      'votes_needed': int(np.median([
        votes.votes_needed(m, FAILURE, test.num_classes) for m in margin
      ])) if margin.size else None,
      'attacked': _attacked(
        workdir, name, condition, rows, test.num_classes, about.delta
      ),
    }  # fmt: skip
  return {
    'description': config.settings[name].description,
    'clean': counting.tally(right)._asdict(),
    'num_votes': about.num_votes,
    'delta': about.delta,
    'conditions': found,
  }


def _rules(dataset: str) -> tuple[str, ...]:
  """All of `RULES` on MNIST, whose script the authors' rule is from."""
  left_out = () if dataset == 'mnist' else ('as_coded',)
  return tuple(r for r in vote_certification.RULES if r not in left_out)


def _attacked(
  workdir: Path,
  name: str,
  condition: str,
  rows,
  num_classes: int,
  delta: float,
) -> dict[str, Any]:
  """Accuracy under each attack at this radius, and of certified examples."""
  found = {}
  attacks = files.matching(workdir / 'records' / name / condition, '*')
  for directory in filter(records.completed, attacks):  # not what is just begun
    attacked = records.read(directory)
    wrong, expected = vote_certification.wrong_votes(
      rows, attacked, num_classes, delta
    )
    found[directory.name] = {
      'one_query': counting.summarize(attacked, 'verdict'),
      'wrong': len(wrong),
      'wrong_at_most': expected,
    }
  return found


def entries(results, settings, prefix: str) -> dict[str, publish.Entry]:
  """`certify/<prefix>/<setting>/<condition>/<rule>` -> entry."""

  def one(rule, tally) -> publish.Entry:
    unsound = 'no certificate' if rule in ('as_coded', 'as_printed') else ''
    return publish.entry(results, tally)._replace(target=unsound)

  return {
    f'certify/{prefix}/{name}/{condition}/{rule}': one(rule, tally)
    for name, setting in settings.items()
    for condition, about in setting['conditions'].items()
    for rule, tally in about['bounds'].items()
  } | {
    f'certify/{prefix}/{name}/clean': publish.entry(results, setting['clean'])
    for name, setting in settings.items()
  }

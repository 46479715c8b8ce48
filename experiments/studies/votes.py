"""Randomised settings in `experiments.certify`: their votes, bounds, report."""

from collections.abc import Mapping
from typing import Any

from etils.epath import Path
import jax
import numpy as np

from experiments import publish
from experiments.studies.conditions import radius
from rdefense import build, counting, files, plots, records, vote_certification
from rdefense.certify import votes
from rdefense.counting import Tally

__all__ = ['blocks', 'certified', 'entries']

_VOTE, _CENTERS = 7, 8  # roles folded into the seed's key
_NAMES = {
  'as_coded': 'as in the authors’ script (unsound)',
  'as_printed': 'KL as printed (unsound)',
  'pinsker': 'KL, Pinsker',
  'kl': 'KL, data processing',
  'renyi': 'Renyi',
  'neyman_pearson': 'Neyman-Pearson',
  'best': 'best',
}
_SHORT = {
  'as_coded': 'as coded',
  'as_printed': 'as printed',
  'pinsker': 'Pinsker',
  'kl': 'KL',
  'renyi': 'Renyi',
  'neyman_pearson': 'Neyman-Pearson',
}
_FAILURE = 0.001  # of a majority, for which the votes needed are shown


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
        votes.votes_needed(m, _FAILURE, test.num_classes) for m in margin
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


def blocks(
  settings: Mapping[str, Any], curves: Mapping[str, Any], unit: int
) -> tuple[list[tuple], dict[str, bytes]]:
  """What the report shows of randomised settings, and its figures.

  Args:
    settings: name -> what `certified` found.
    curves: name -> settings whose radii make one curve together.
    unit: radii are printed in units of 1 / unit.
  """
  if not settings:
    return [], {}
  shown: list[tuple] = [
    ('heading', 2, 'Randomised defenses'),
    (
      'paragraph',
      'Certified: whatever the attack in the l_inf ball does, the right class '
      'stays the likeliest, so that a majority of enough votes is right; '
      'proved from votes on the clean image, each image with its own '
      'probability of error delta. All bounds use the same votes; those marked '
      'unsound take shares of votes for probabilities and are no certificates. '
      'A certified image may still have a wrong majority under attack, as '
      'certificates fail on a share delta of all images at most, and so few '
      'votes on some more; the number expected at most adds both up. Intervals '
      'are exact, 95%, and cover the choice of images.',
    ),
  ]
  figures = {}
  families = curves or {name: (name,) for name in settings}
  for title, names in families.items():
    members = {name: settings[name] for name in names if name in settings}
    if not members:
      continue
    png = plots.encode_png(plots.accuracy_curves(_points(members), title, unit))
    stem = 'certified_' + ''.join(c if c.isalnum() else '_' for c in title)
    figures[stem] = png
    shown += [
      ('heading', 3, title),
      *(_text(name, setting) for name, setting in members.items()),
      _table(members),
      ('figure', stem, png, f'Certified accuracy against eps: {title}'),
    ]
  return shown, figures


def _text(name, setting):
  clean = Tally(**setting['clean'])
  return (
    'paragraph',
    f'`{name}`: {setting["description"]}. {setting["num_votes"]:,} votes on '
    f'each of {clean.total:,} images, delta {setting["delta"]:g}; the clean '
    f'majority is right on {_percent(clean)}.',
  )


def _points(members) -> dict[str, list[tuple[float, Tally]]]:
  """Rule -> (eps, tally) over all settings of a curve."""
  found: dict[str, list[tuple[float, Tally]]] = {}
  for setting in members.values():
    for about in setting['conditions'].values():
      for rule, tally in about['bounds'].items():
        if rule != 'best':
          found.setdefault(_SHORT[rule], []).append(
            (about['eps'], Tally(**tally))
          )
      for attack, seen in about['attacked'].items():
        found.setdefault(f'under {attack}', []).append(
          (about['eps'], counting.tally_of(seen['one_query']))
        )
  return found


def _percent(tally: Tally) -> str:
  return f'{tally.percent:.1f}% [{tally.low:.1f}, {tally.high:.1f}]'


def _table(members):
  rules = [
    rule
    for rule in vote_certification.RULES
    if any(
      rule in about['bounds']
      for setting in members.values()
      for about in setting['conditions'].values()
    )
  ]
  rows = [
    (
      f'`{name}` `{condition}`',
      *(
        _percent(Tally(**about['bounds'][rule]))
        if rule in about['bounds'] else '–'
        for rule in rules
      ),
      '–' if about['votes_needed'] is None else f'{about["votes_needed"]:,}',
      ', '.join(
        f'{attack} {_percent(counting.tally_of(seen["one_query"]))} of '
        f'{seen["one_query"]["total"]}; certified, and majority wrong: '
        f'{seen["wrong"]} (expected at most {seen["wrong_at_most"]:.2f})'
        for attack, seen in about['attacked'].items()
      ) or '–',
    )
    for name, setting in members.items()
    for condition, about in setting['conditions'].items()
  ]  # fmt: skip
  header = (
    'setting, radius', *(_NAMES[rule] for rule in rules),
    f'votes for a majority that fails with {_FAILURE:g}, median',
    'accuracy under attack',
  )  # fmt: skip
  return ('table', header, rows)


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

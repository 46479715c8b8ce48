"""Audits an attack: has it been tried hard enough to be believed?

  python -m experiments.audit --config=configs/digits.py \
    --workdir=runs/digits --setting=disc_adv_re --attack=apgd

Takes a setting of a trained workdir and an attack of its study, and runs on the
first images what must not be stronger than it (one step, noise, a search
without gradients, images made on the undefended network), more of itself (twice
the steps, shorter and longer ones, five new starts), and itself in the ball of
half the radius and in that of all images. The radius is the largest of the
attack's table. Rows go to `audit/`; a killed run resumes there. Writes
audit_SETTING_ATTACK.html to the workdir: a line a check, with the figure behind
it.

What it cannot see: an attack that is too weak in ways that none of these is.
"""

from collections.abc import Iterator, Mapping
import time

from absl import flags, logging
import jax
import jax.numpy as jnp
import numpy as np

from experiments import publish
from experiments.analyses import audit_report
from experiments.analyses.audit_cases import Case, cases
from experiments.running import program, study_flags
from experiments.studies import conditions, counterparts
from experiments.studies.pipelines import pipelines
from experiments.studies.workdir import fitted_codebook
from rdefense import (
  build,
  checks,
  counting,
  deployed,
  evaluation,
  files,
  gradients,
  losses,
  provenance,
)
from rdefense.analysis import audit
from rdefense.attacks import Recipe, over_examples
from rdefense.data import batches
from rdefense.threats import ball

_SETTING = flags.DEFINE_string(
  'setting', '', 'Default: the last of the study.', allow_override=True
)
_ATTACK = flags.DEFINE_string(
  'attack', '', 'Default: apgd, adaptive, or the first.', allow_override=True
)
_NUM_EXAMPLES = flags.DEFINE_integer(
  'num_examples', 100, 'The first so many.', lower_bound=1, allow_override=True
)

_AUDIT = 6  # role folded into the seed's key
_RADII = ('clean', 'half', 'attack', 'everything')  # cases of one attack
_LOSSES = {
  'cross-entropy': losses.cross_entropy,
  'margin': losses.margin,
  'difference of logits': losses.dlr,
}


def first_gradients(
  target: deployed.Target,
  recipe: Recipe,
  chosen: Mapping[str, losses.Loss],
  norm: str,
  eps: float,
  key,
  images,
) -> dict[str, np.ndarray]:
  """Gradients of some losses where attacks begin, the way a recipe takes them.

  Args:
    target: the pipeline.
    recipe: whose `backward` and `alpha` it is.
    chosen: losses by name.
    norm, eps: of the ball, in which points are random.
    key: root key; every image owns the randomness of its number.
    images: batches of `data.batches`, without padding.

  Returns:
    Loss -> `[M, H, W, C]`, at those points where the pipeline is right.
  """

  @jax.jit
  def of_batch(params, codes, number, key, index, x, y):
    def one(key, x, y):
      key_start, key_draw = jax.random.split(key)
      oracle = gradients.through(
        lambda z: target.apply(params, z),
        target.defend(codes, jnp.float32(recipe.alpha)),
        losses.numbered(tuple(chosen.values()), number),
        recipe.backward,
      )
      z = ball(norm, eps).init(key_start, x)
      seen = oracle.evaluate(key_draw, z, y, 0)
      same_key = jax.random.clone(key_draw)  # the same noise, on purpose
      return oracle.gradient(same_key, z, seen), seen.margin > 0

    return over_examples(one)(key, index, x, y)

  found: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
  for batch in images:
    for number, name in enumerate(chosen):
      grads, right = of_batch(
        target.params, target.codes, number, key,
        batch.index, batch.image, batch.label,
      )  # fmt: skip
      found[name].append(np.asarray(grads)[batch.mask & np.asarray(right)])
  return {name: np.concatenate(parts) for name, parts in found.items()}


def found_checks(
  right: Mapping[str, np.ndarray],
  around: list[Case],
  num_classes: int,
) -> Iterator[audit.Check]:
  """What verdicts under all cases say of the attack.

  Args:
    right: case -> `[N]`, bool, on the same images; `[N, m]` by draws.
    around: the cases.
    num_classes: of the data.
  """
  attacked = right['attack']

  def held(item, case, share, otherwise, advice):
    return audit.beaten(item, attacked, right[case], share, otherwise, advice)

  masked = (
    'Gradients mislead, or what was found is lost on the way: take another way '
    'through the defense, another loss, the best iterate.'
  )
  yield held('one step is weaker', 'step', 0.005, audit.FAIL, masked)
  yield held('noise in the ball is weaker', 'noise', 0, audit.FAIL, masked)
  if 'square' in right:
    yield held(
      'a search without gradients is weaker', 'square', 0, audit.FAIL, masked
    )
  if 'transfer' in right:
    yield held(
      'images made on the undefended network are weaker', 'transfer', 0,
      audit.FAIL, masked,
    )  # fmt: skip
  yield held(
    'twice the steps find no more', 'longer', 0.01, audit.WARN,
    'It has not converged: take more steps.',
  )  # fmt: skip
  yield held(
    'five new starts find no more', 'starts', 0.005, audit.WARN,
    'What it finds depends on where it starts: take restarts.',
  )  # fmt: skip
  if 'sizes' in right:
    yield held(
      'steps of other lengths find no more', 'sizes', 0.01, audit.WARN,
      'Its steps are too short or too long: try others.',
    )  # fmt: skip
  yield audit.monotone(
    {case.eps: right[case.name] for case in around if case.name in _RADII}
  )
  if 'everything' in right:
    yield audit.chance(right['everything'], num_classes)


def main(argv):
  """Runs all cases of one setting and one attack, and writes the report."""
  del argv
  logging.set_verbosity(logging.WARNING)
  begin = time.time()
  config, workdir = study_flags.config(), study_flags.workdir()
  setting = _SETTING.value or list(config.settings)[-1]
  checks.check_choice('setting', setting, config.settings)
  kind = build.kind(config.defenses[config.settings[setting].defense])
  fitting = conditions.seeing(config, setting)
  known = [name for name in ('apgd', 'adaptive') if name in fitting]
  attack = _ATTACK.value or (known or fitting)[0]
  checks.check_choice('attack', attack, fitting)
  bare = counterparts.bare(config, setting)
  about, norm = config.attacks[attack], config.threat.norm
  eps = max(conditions.radii(config, setting, about))
  around = cases(about.to_dict(), eps, kind, norm, transfers=bool(bare))
  itself = next(case for case in around if case.name == 'attack')
  with provenance.claimed(workdir, config.to_dict()):
    test = build.dataset(config.data.to_dict(), config.data.judged_on)
    book = fitted_codebook(config, workdir)
    pipeline = pipelines(config, workdir, test, book)
    _, target = pipeline(setting)
  count = min(_NUM_EXAMPLES.value, len(test.images))
  root = jax.random.fold_in(jax.random.key(config.seed), _AUDIT)
  folder = workdir / 'audit' / setting / f'{attack}-{count}'
  right, accuracy = {}, {}
  for case in around:
    rows = evaluation.evaluate(
      target, test, case.recipes, norm, case.eps, root, folder / case.name,
      config.batch_size, count, title=f'{setting} {case.name}',
      source=pipeline(bare)[1] if case.transferred else None,
    )  # fmt: skip
    verdicts = counting.correct(rows, 'verdict')
    accuracy[case.name] = counting.tally(verdicts)._asdict()
    draws = rows.get('verdict/draws')
    right[case.name] = (
      verdicts if draws is None else draws == rows['label'][:, None]
    )
  told = [
    *found_checks(right, around, test.num_classes),
    *_of_the_network(target, itself.recipes, norm, eps, root, test, count),
  ]
  results = {
    'setting': setting,
    'attack': attack,
    'eps': eps,
    'checks': [check._asdict() for check in told],
    'accuracy': accuracy,
    'radii': {case.name: case.eps for case in around},
  } | publish.surroundings(config, 'audit', begin)
  stem = f'audit_{setting}_{attack}'
  files.write_json(workdir / f'{stem}.json', results)
  print(audit_report.write_report(workdir, stem, results))


def _of_the_network(target, recipes, norm, eps, key, test, count):
  """Checks of logits, and of gradients in each way that recipes take."""
  few = test._replace(images=test.images[:count], labels=test.labels[:count])
  parts = list(batches(few, min(count, 100)))
  apply = jax.jit(jax.vmap(target.apply, (None, 0)))
  logits = [np.asarray(apply(target.params, b.image))[b.mask] for b in parts]
  yield audit.probabilities(np.concatenate(logits))
  chosen = {
    name: loss
    for name, loss in _LOSSES.items()
    if test.num_classes > 2 or loss is not losses.dlr
  }
  ways = {(r.backward, r.alpha): r for r in recipes if r.optimizer}
  for (backward, alpha), recipe in ways.items():
    found = first_gradients(target, recipe, chosen, norm, eps, key, parts)
    for name, grads in found.items():
      yield audit.gradients(f'{name}, {backward} at alpha {alpha:g}', grads)


if __name__ == '__main__':
  program.run(main)

"""Each image's robust radius: bisected by an attack, and by a proof.

  python -m experiments.robust_radius --config=configs/digits.py \
    --workdir=runs/digits --setting=disc_adv_re --num_examples=50

Takes a setting of a trained workdir. For each of the first images the smallest
radius at which an attack succeeds is bisected, and behind a codebook the
largest at which `certify.decide` proves that none does, from `--bounds`
as in `experiments.certify`. Rows go to `radii/`; a
killed run resumes there, and one of more images goes on. Writes radii.html to
the workdir. An image that is fooled inside its certified ball would be a bug,
and stops the program.
"""

from collections.abc import Callable, Mapping
import time
from typing import Any

from absl import flags, logging
import jax
import numpy as np

from experiments import publish
from experiments.analyses import radii_report
from experiments.running import program, study_flags
from experiments.studies import conditions
from experiments.studies.pipelines import pipelines
from experiments.studies.workdir import fitted_codebook
from rdefense import (
  build,
  certification,
  checks,
  evaluation,
  files,
  provenance,
)
from rdefense.analysis.robust_radius import Bracket, bisect, each_radius, join
from rdefense.certify.decide import CERTIFIED, decide
from rdefense.certify.layers import Layered
from rdefense.data.batches import Batch
from rdefense.shards import worked_off

_SETTING = flags.DEFINE_string(
  'setting', '', 'Default: the first behind a codebook.', allow_override=True
)
_ATTACK = flags.DEFINE_string('attack', '', 'Default: adaptive, or the first.')
_NUM_EXAMPLES = flags.DEFINE_integer(
  'num_examples', 100, 'The first so many; 0 takes all.', lower_bound=0
)
_LARGEST = flags.DEFINE_float('largest', 0.0, "Default: twice the study's.")
_NUM_STEPS = flags.DEFINE_integer('num_steps', 5, 'Halvings of the radius.')
_MAX_NODES = flags.DEFINE_integer('max_nodes', 50, 'Of an image and radius.')
_BOUNDS = flags.DEFINE_enum(
  'bounds', 'linear', certification.BOUNDS, 'Of the proofs, as in a study.'
)

_RADII = 5  # role folded into the seed's key
_SHARD = 25  # images


def brackets(
  target,
  recipes: Callable[[float], Any],
  norm: str,
  test,
  key,
  directory,
  largest: float,
  num_steps: int,
  num_examples: int | None = None,
  max_nodes: int = 50,
  network: Layered | None = None,
  shard_size: int = _SHARD,
  title: str = '',
  code_norm: str = 'linf',
) -> Mapping[str, np.ndarray]:
  """Radii of the first images of a dataset, shard by shard.

  Args:
    target: a `deployed.Target` without randomness; where it has codes, they
      are those of `nearest_code` in `code_norm`.
    recipes: `eps -> ensemble` of that radius.
    norm: of the ball; there is a certificate in l_inf alone.
    test: the dataset, in order.
    key: root key; every image owns the randomness of its number.
    directory: where the shards lie; present ones are not computed again.
    largest, num_steps: as of `bisect`.
    num_examples: the first so many; None means all.
    max_nodes: budget of a certificate, of an image at one radius.
    network: the same classifier as `layers.layered` reads it, to bound nodes
      by tables; None for linear bounds.
    shard_size: images a shard.
    title: shown by the progress bar.
    code_norm: of T's distances over channels.

  Returns:
    Columns sorted by example: `index`, `label`, and under `radius/`
    `withstood`, `fooled`, `seconds` and, with a certificate, `certified`.
  """
  proves = target.codes is not None and norm == 'linf'
  if proves:
    certification.checked_codes(target, test, code_norm)

  def compute(batch: Batch) -> Mapping[str, Any]:
    begin = time.perf_counter()
    n = int(batch.mask.sum())  # padding rows are the last

    def attacked(eps: float, rows: np.ndarray) -> np.ndarray:
      mask = np.isin(np.arange(len(batch.mask)), rows)
      said = evaluation.attack(
        target,
        recipes(eps) if eps else (),
        norm,
        eps,
        key,
        batch._replace(mask=mask),
      )
      return said.predicted[rows] != batch.label[rows]

    found = bisect(each_radius(attacked), n, largest, num_steps)
    columns = {
      'index': batch.index[:n].astype(np.int64),
      'label': batch.label[:n],
      'radius/withstood': found.withstood,
      'radius/fooled': found.fooled,
    }
    if proves:
      columns['radius/certified'] = certified(batch, found, n)
    seconds = (time.perf_counter() - begin) / n
    return columns | {'radius/seconds': np.full(n, seconds, np.float32)}

  def certified(batch: Batch, found: Bracket, n: int) -> np.ndarray:
    """Largest radii proved; an attack that is known spares the attempt."""

    def unproved(eps: float, rows: np.ndarray) -> np.ndarray:
      open_ = found.fooled[rows] > eps
      answer = np.ones(len(rows), bool)
      if open_.any():
        tried = rows[open_]
        status = decide(
          target.apply,
          target.params,
          target.codes,
          batch.image[tried],
          batch.label[tried],
          eps,
          code_norm,
          max_nodes=max_nodes,
          network=network,
        ).status
        answer[open_] = status != CERTIFIED
      return answer

    proved = bisect(each_radius(unproved), n, largest, num_steps).withstood
    return join(proved, found).lower  # refuses what cannot both be true

  def count(columns: Mapping[str, Any]) -> np.ndarray:
    proved = columns.get('radius/certified', columns['radius/withstood'])
    both = (columns['radius/fooled'] > largest, proved > 0, proved >= -np.inf)
    return np.array([each.sum() for each in both])

  def tell(counts: np.ndarray) -> str:
    never, proved, seen = counts
    return f'never fooled {never}/{seen}, radius above 0 {proved}/{seen}'

  total = len(test.images)
  wanted = min(num_examples or total, total)
  whole = -(-wanted // shard_size) * shard_size  # a later run may want more
  rows = worked_off(
    test, directory, shard_size, whole, compute, count, tell, title
  )
  return {name: column[:wanted] for name, column in rows.items()}


def _choose(config) -> str:
  """The setting asked for, or the first with a certificate."""
  chosen = _SETTING.value or next(
    (
      name
      for name, setting in config.settings.items()
      if config.defenses[setting.defense].name in build.WITH_CODEBOOK
    ),
    next(iter(config.settings)),
  )
  checks.check_choice('setting', chosen, config.settings)
  if build.kind(config.defenses[config.settings[chosen].defense]) == (
    'randomized'
  ):
    raise ValueError(
      f'--setting={chosen} is randomised: an image has no one radius there; '
      'see experiments.certify for the votes.'
    )
  return chosen


def main(argv):
  """Brackets the radii of a setting's images, and shows them."""
  del argv
  logging.set_verbosity(logging.WARNING)
  config, workdir = study_flags.config(), study_flags.workdir()
  begin = time.time()
  name = _choose(config)
  defense = config.defenses[config.settings[name].defense]
  kind = build.kind(defense)
  fitting = conditions.seeing(config, name)
  strongest = 'adaptive' if 'adaptive' in fitting else fitting[0]
  attack = _ATTACK.value or strongest
  checks.check_choice('attack', attack, fitting)
  largest = _LARGEST.value or 2 * float(config.threat.eps)
  with provenance.claimed(workdir, config.to_dict()):
    test = build.dataset(config.data.to_dict(), config.data.judged_on)
    book = fitted_codebook(config, workdir)
    _, target = pipelines(config, workdir, test, book)(name)
  about, norm = config.attacks[attack].to_dict(), config.threat.norm
  options = f'{largest:g}-{_NUM_STEPS.value}-{_MAX_NODES.value}'
  network = None
  if _BOUNDS.value == 'tables' and target.codes is not None:
    network = certification.read_layers(target, test)
    options += '-tables'
  rows = brackets(
    target, lambda eps: build.attack_recipes(about, eps, kind, norm),
    norm, test,
    jax.random.fold_in(jax.random.key(config.seed), _RADII),
    workdir / 'radii' / name / f'{attack}-{options}', largest,
    _NUM_STEPS.value, _NUM_EXAMPLES.value or None, _MAX_NODES.value, network,
    title=f'{name} {attack}', code_norm=defense.get('norm', 'linf'),
  )  # fmt: skip
  results = radii_report.summary(rows, largest) | {
    'setting': name, 'attack': attack, 'num_steps': _NUM_STEPS.value,
    'max_nodes': _MAX_NODES.value, 'bounds': _BOUNDS.value,
  } | publish.surroundings(config, 'robust_radius', begin)  # fmt: skip
  files.write_json(workdir / 'radii.json', results)
  print(radii_report.write_report(workdir, rows, results))


if __name__ == '__main__':
  program.run(main)

"""Trains the models a config names, one after another, each resumable.

python -m experiments.train --config=configs/digits.py --workdir=runs/digits
"""

from collections.abc import Mapping
import json
from typing import Any

from absl import logging
from etils.epath import Path
import jax
import numpy as np
from tqdm import auto as tqdm

from configs import study
from experiments.running import (
  multihost,
  preemption,
  study_flags,
)
from experiments.studies import run_checks
from experiments.studies.workdir import fitted_codebook, is_given, trained_model
from rdefense import (
  build,
  checkpoints,
  files,
  parallel,
  provenance,
  training,
)
from rdefense.attacks import over_examples
from rdefense.data import augment, gather, training_batch_indices

_INIT, _UPDATE, _ATTACK, _AUGMENT = range(4)  # roles folded into a run's key


def begin(config, workdir, run, template) -> training.TrainState:
  """The state a run starts from: another model's, or `template` itself."""
  if not run.begin:
    return template
  loaded = checkpoints.load(
    trained_model(config, workdir, run.begin), template, parallel.everywhere()
  )
  return (
    loaded if run.keep_optimizer else template._replace(params=loaded.params)
  )


def train(config, workdir, name: str) -> Mapping[str, Any]:
  """Runs one entry of `config.runs` from its last checkpoint to the end.

  Several processes train together, each on its rows of every batch.

  Args:
    config: a `configs/study.py` config.
    workdir: holds `models/<name>` (checkpoints), `<name>.metrics.jsonl`.
    name: which run.

  Returns:
    The last line of metrics.

  Raises:
    ValueError: where training diverges, before that is saved.
    preemption.Stopped: on SIGTERM, when a checkpoint has been saved.
  """
  run = config.runs[name]
  run_checks.check(config, run)
  arrays = build.dataset(config.data.to_dict(), 'train')
  book = fitted_codebook(config, workdir)
  codes = None if book is None else book.codes
  key = jax.random.fold_in(
    jax.random.key(config.seed + run.seed), sorted(config.runs).index(name)
  )
  state, advance = _stages(config, run, arrays, codes, key)
  directory = Path(workdir) / 'models' / name
  if checkpoints.latest_step(directory) is not None:
    state = checkpoints.load(directory, state, parallel.everywhere())
  else:
    state = begin(config, workdir, run, state)
  metrics = Path(workdir) / f'{name}.metrics.jsonl'
  done = int(state.step)
  lines = _lines_until(metrics, done)
  with (
    tqdm.tqdm(total=run.num_steps, initial=done, desc=name, unit='step') as bar,
    preemption.noticing() as noticed,
  ):
    for step in range(done, run.num_steps):
      state, eps, measured = advance(state, step)
      bar.update()
      last, stop = step + 1 == run.num_steps, noticed()
      logged = last or (step + 1) % config.log_every == 0
      saved = last or stop or (step + 1) % config.checkpoint_every == 0
      if logged or saved:
        _check_loss(name, step + 1, float(measured['loss']))
      if logged:
        line = {'step': step + 1, 'eps': eps} | {
          k: float(v) for k, v in measured.items()
        }
        lines.append(line)
        bar.set_postfix(loss=line['loss'], accuracy=line['accuracy'])
      if saved:
        if parallel.is_first():
          text = ''.join(json.dumps(line) + '\n' for line in lines)
          files.write_bytes(metrics, text.encode())
        checkpoints.save(directory, step + 1, state)
      if stop:
        raise preemption.Stopped
  return lines[-1] if lines else {}


def _stages(config, run, arrays, codes, key):
  """A fresh state, and `(state, step) -> (state, eps, metrics)`."""
  about = config.defenses[run.defense]
  defense = build.defend(about.to_dict())(codes, run.attack.alpha)
  classifier = build.classifier(config.model.to_dict(), arrays.num_classes)
  tx = build.optimizer(run.to_dict())
  where = parallel.everywhere()
  x = defense.apply(key, gather(arrays, np.arange(1)).image[0])
  state = training.initial(classifier, tx, jax.random.fold_in(key, _INIT), x)
  state = parallel.copied(where, state)
  radius = 0.0 if run.method == 'natural' else run.eps or config.threat.eps
  adversarial = None
  if run.method == 'adversarial':
    norm = config.threat.norm
    recipe = build.training_recipe(run.attack.to_dict(), norm)
    adversarial = training.attacker(classifier, defense, recipe, norm)
  if run.method == 'certified':
    update = training.certified_updater(
      classifier, tx, codes, about.norm, run.attacked
    )
  else:
    update = training.updater(classifier, tx, defense, run.reduction)
  changed = _augmented(run.augment)
  own_rows = parallel.own_rows(where, run.batch_size)

  def at(role, step):
    return jax.random.fold_in(jax.random.fold_in(key, role), step)

  def advance(state, step):
    rows = training_batch_indices(
      config.seed + run.seed, step, len(arrays.images), run.batch_size
    )
    batch = gather(arrays, rows[own_rows])
    if changed is not None:
      images = changed(at(_AUGMENT, step), batch.index, batch.image)
      batch = batch._replace(image=np.asarray(images))
    images, share = batch.image, _share(run, step)
    eps = share * radius
    if adversarial is not None:
      params = parallel.at_hand(state.params)
      images = adversarial(params, at(_ATTACK, step), batch, eps)
    index, images, labels = parallel.spread(
      where, (batch.index, images, batch.label)
    )
    if run.method == 'certified':
      weight = 1 - (1 - run.natural_weight) * share
      state, measured = update(state, images, labels, eps, weight)
    else:
      update_key = jax.random.fold_in(key, _UPDATE)
      state, measured = update(state, update_key, index, images, labels)
    return state, eps, measured

  return state, advance


def _augmented(about):
  """`(key, index, images) -> images`, jitted; None where nothing changes."""
  if not (about.padding or about.flip):
    return None
  return jax.jit(
    over_examples(lambda key, x: augment(key, x, about.padding, about.flip))
  )


def _share(run, step: int) -> float:
  """Of eps at a step: 0 until `eps_start`, then up a ramp to 1."""
  begin, ramp = (
    round(part * run.num_steps) for part in (run.eps_start, run.eps_ramp)
  )
  return min(1.0, max(0.0, (step + 1 - begin) / max(1, ramp)))


def _check_loss(name: str, step: int, loss: float) -> None:
  if not np.isfinite(loss):
    raise ValueError(
      f'{name}: the loss at step {step} is {loss}: training diverged, as it '
      'does where learning_rate is too high. Checkpoints of before are kept.'
    )


def _lines_until(path: Path, step: int) -> list[dict]:
  """Metrics up to a step: what a killed run wrote later is measured again."""
  if not path.exists():
    return []
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  return [line for line in lines if line['step'] <= step]


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)  # Orbax tells much at INFO
  if jax.process_count() == 1:  # several stop together, by JAX's protocol
    preemption.stop_at_once()
  config, workdir = study_flags.config(), study_flags.workdir()
  for name, run in config.runs.items():
    study.check_defense(config, f'run {name}', run.defense)
  known = study.in_order(config.runs)
  for name in study_flags.ONLY.value:
    if name not in known:
      listed = ', '.join(known)
      raise ValueError(f'--only={name} is no run of this config: {listed}.')
  for name in study_flags.ONLY.value or known:
    run_checks.check(config, config.runs[name])
  with provenance.claimed(workdir, config.to_dict()):
    for name in known:
      asked = name in study_flags.ONLY.value
      if not asked and is_given(config, workdir, name):
        print(f'{name}: there in {config.pretrained}')
      elif asked or not study_flags.ONLY.value:
        train(config, workdir, name)


if __name__ == '__main__':
  multihost.run(main)

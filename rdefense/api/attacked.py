"""Batches attacked, as a function of key, images and labels."""

from collections.abc import Callable

import jax
import numpy as np
import optax
from tqdm import auto as tqdm

from rdefense import checks
from rdefense.api.batched import AT_ONCE, check_size, in_batches
from rdefense.api.defended import check_batch, predict
from rdefense.attacks.assembly import Recipe, assemble
from rdefense.attacks.checks import check_draws, check_parts
from rdefense.attacks.driver import batch_attack
from rdefense.defenses.base import BACKWARD, Defense
from rdefense.gradients import AVERAGES
from rdefense.parallel import layout
from rdefense.precision import HIGHEST
from rdefense.threats import STARTS, Threat
from rdefense.types import LogitsFn, Loss

__all__ = ['attack']


def attack(
  logits_fn: LogitsFn,
  defense: Defense,
  threat: Threat,
  loss: Loss,
  tx: optax.GradientTransformation | None,
  num_steps: int,
  backward: str = 'bpda',
  start: str = 'random',
  num_restarts: int = 1,
  num_draws: int = 0,
  average: str = 'loss',
  precision: str = HIGHEST,
  batch_size: int = AT_ONCE,
) -> Callable:
  """A whole attack on a defended classifier, batched and compiled.

  Args:
    logits_fn: `[H, W, C] -> [num_classes]`.
    defense: in front of it.
    threat: what the attacker may do.
    loss: minimised, see `rdefense.losses`.
    tx: any Optax chain; see `rdefense.attacks` for ready ones. None follows no
      gradient but searches by squares, and leaves `backward`, `start` and
      `average` aside: where that breaks more, gradients mislead, or steps were
      too few.
    num_steps: gradient steps, or proposals.
    backward: how to differentiate the defense, one of `defenses.BACKWARD`.
    start: one of `threats.STARTS`.
    num_restarts: copies side by side.
    num_draws: of a randomised defense, averaged in each gradient; 0 says that
      the defense is deterministic, and an example is done once it is fooled.
    average: over draws, one of `gradients.AVERAGES`.
    precision: of the classifier's products, one of `precision.PRECISIONS`;
      `accuracy` judges at `highest` whatever the attack has seen.
    batch_size: images at once: memory, and no number, depends on it. Of more
      than one batch a bar tells how many images have withstood so far.

  Returns:
    `(key, images, labels) -> images`, for each example the iterate of smallest
    margin, inside the threat, and the image itself where that is wrong without
    an attack (behind a deterministic defense); the key is consumed. Raises
    `ValueError` on images outside [0, 1], labels that do not match, NaN on the
    way, and on a randomised defense without draws.

  Raises:
    ValueError: on parts and options that are none.
  """
  checks.check_defense(defense)
  check_parts(threat, loss, tx)
  checks.check_choice('backward', backward, BACKWARD)
  checks.check_choice('start', start, STARTS)
  checks.check_choice('average', average, AVERAGES)
  num_steps = checks.check_whole('num_steps', num_steps)
  num_restarts = checks.check_whole('num_restarts', num_restarts, 1)
  num_draws = checks.check_whole(
    'num_draws', num_draws, 0, ': 0 is for a deterministic defense'
  )
  batch_size = check_size(batch_size)
  recipe = Recipe(
    'api',
    loss,
    None if tx is None else lambda _: tx,
    step_size=0.0,  # the chain has its own
    num_steps=num_steps,
    start=start,
    backward=backward,
    num_restarts=num_restarts,
    num_draws=num_draws,
    average=average,
    precision=precision,
  )
  single = assemble(recipe, logits_fn, defense, threat)
  run = batch_attack(lambda _: single, layout())
  deployed = jax.jit(defense.apply)
  classes = predict(logits_fn, defense, batch_size)

  def attacked(key, images, labels):
    check_batch(logits_fn, defense, key, images, labels)
    images = np.asarray(images, np.float32)
    check_draws(num_draws, deployed, images[0])
    active = np.ones(len(images), bool)
    if not num_draws:
      active = np.asarray(classes(key, images)) == np.asarray(labels)
    submitted, withstood, total = [], 0, len(images)
    quiet = total <= batch_size
    with tqdm.tqdm(total=total, unit='img', disable=quiet) as bar:
      for batch in in_batches(images, labels, batch_size):
        found = run(
          (),
          key,
          num_steps,
          batch.index,
          batch.image,
          batch.label,
          batch.mask & active[batch.index],
          max(1, num_draws),
        )
        rows = batch.mask.sum()
        submitted.append(found.z[:rows])
        withstood += (found.margin[:rows] >= 0).sum()
        bar.update(rows)
        bar.set_postfix_str(f'withstood {withstood}/{bar.n}')
    return np.concatenate(submitted)

  return attacked

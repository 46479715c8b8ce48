"""Whole evaluations that come to the same accuracy: ours and a peer's."""

import functools

from etils.epath import Path
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.measuring import peers
from experiments.measuring.timing import Figure, take_turns
from experiments.studies.workdir import load_params
from rdefense import build, deployed, evaluation, files
from rdefense.attacks.recipes import pgd_falling, pgd_madry
from rdefense.data import gather
from rdefense.defenses import identity

__all__ = ['time_to_accuracy']


def time_to_accuracy(
  workdir: Path,
  eps: float,
  step_size: float,
  num_images: int,
  num_steps: int,
  batch_size: int,
  repeats: int,
) -> dict[str, Figure]:
  """An evaluation of the natural model of MNIST, torchattacks' over ours.

  Args:
    workdir: of `experiments.train`, with the model `nat`.
    eps: radius of the l-infinity ball, in [0, 1] pixel units.
    step_size: of all but `pgd_falling`.
    num_images: to attack; fewer where there are fewer.
    num_steps: of torchattacks' PGD, and of ours where it takes as many.
    batch_size: of torchattacks' images.
    repeats: of each evaluation.
  """
  if not peers.installed('torch', 'torchattacks'):
    return {}
  import torch
  import torchattacks

  config = ml_collections.ConfigDict(files.read_json(workdir / 'config.json'))
  test = build.dataset(config.data.to_dict(), 'test')
  batch = gather(test, np.arange(min(num_images, len(test.images))))
  network = build.classifier(config.model.to_dict(), test.num_classes)
  params = load_params(
    config, workdir, 'nat', network, identity(), batch.image[0]
  )
  target = deployed.Target(
    network.apply, lambda codes, alpha: identity(), params
  )
  net = peers.torch_network(params)
  x, y = peers.to_torch(batch.image, batch.label)
  logits = jax.vmap(network.apply, (None, 0))(params, jnp.asarray(batch.image))
  with torch.no_grad():
    peers.check_equal('torchattacks', net(x), logits)
  peer = torchattacks.PGD(net, eps, step_size, num_steps)
  correct = {}

  def ours(name, recipes):
    verdicts = evaluation.attack(
      target, recipes, 'linf', eps, jax.random.key(2), batch
    )
    correct[name] = verdicts.predicted == batch.label

  def theirs():
    hits = []
    for images, labels in zip(x.split(batch_size), y.split(batch_size)):
      attacked = peer(images, labels)
      with torch.no_grad():
        hits.append((net(attacked).argmax(1) == labels).numpy())
    correct['torchattacks'] = np.concatenate(hits)

  chosen = {
    'ours': pgd_falling(eps),
    'ours_of_as_many_steps': pgd_madry(num_steps, step_size),
  }
  seconds = take_turns(
    {n: functools.partial(ours, n, r) for n, r in chosen.items()}
    | {'torchattacks': theirs},
    repeats,
  )
  name, count = 'time_to_accuracy', len(x)
  targets = {
    'ours': ('', f'at least 5 (it takes {num_steps} steps, ours 20)'),
    'ours_of_as_many_steps': ('_in_as_many_steps', 'none'),
  }
  figures = {
    f'{name}_vs_torchattacks{suffix}': Figure(
      seconds['torchattacks'] / seconds[who], target, 'times', count
    )
    for who, (suffix, target) in targets.items()
  }
  for who, hits in correct.items():
    accuracy = np.array([100 * hits.mean()])
    figures[f'{name}/{who}_accuracy'] = Figure(accuracy, '', '%', count)
    figures[f'{name}/{who}_seconds'] = Figure(seconds[who], '', 's', count)
  return figures

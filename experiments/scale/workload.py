"""What the studies of the papers would compute, counted from their configs.

A study is the jobs of `configs.paper.catalogue`, each needed once; a job is
counted from its config at preset `paper`, not run. What is fooled is left out
of later steps and recipes, so attacks cost at most what is counted here.
"""

import ast
from collections.abc import Iterator, Sequence
import importlib
from typing import Any, NamedTuple

from configs.paper import catalogue, table_2a
from configs.paper.catalogue import Job
from experiments.measuring import costs
from experiments.studies import at_hand, conditions
from experiments.studies.workdir import model_config
from rdefense import build
from rdefense.precision import HIGHEST, lowest

__all__ = [
  'DATA',
  'PARTS',
  'Data',
  'Part',
  'imagenet',
  'load',
  'network',
  'parts',
  'study',
]

PARTS = ('training', 'published attacks', 'other attacks', 'judging')
_PUBLISHED = (
  'paper_a',
  'pgd',
  'mi_fgsm',
  'fgsm',
  'paper_b',
  'paper_b_imagenet',
  'paper_b_cw',
)


class Data(NamedTuple):
  """Of a dataset, what costs depend on."""

  shape: tuple[int, int, int]
  num_classes: int
  num_test: int


DATA = {
  'mnist': Data((28, 28, 1), 10, 10_000),
  'fashion_mnist': Data((28, 28, 1), 10, 10_000),
  'cifar10': Data((32, 32, 3), 10, 10_000),
  'gtsrb': Data((32, 32, 3), 43, 12_630),
  'nips17': Data((299, 299, 3), 1001, 1000),
}


class Part(NamedTuple):
  """One program on so many images.

  Attributes:
    part: one of `PARTS`.
    network: as `network` names it.
    program: `gradient`, `forward` or `update`.
    defended: is a defense in front.
    num_images: as often as they pass, by steps, draws and so on.
    batch_size: of a step of training, 0 elsewhere.
    precision: of products, one of `rdefense.precision.PRECISIONS`.
  """

  part: str
  network: str
  program: str
  defended: bool
  num_images: int
  batch_size: int = 0
  precision: str = 'default'


def network(about: dict[str, Any]) -> str:
  """A network's name, with what sets its size.

  >>> network({'name': 'wide_resnet', 'width': 10, 'units': 5})
  'wide_resnet_10_5'
  >>> network({'name': 'gowal_cnn', 'size': 'large', 'init': 'interval'})
  'gowal_cnn_large'
  """
  sizes = [about[k] for k in ('size', 'width', 'units') if k in about]
  return '_'.join(map(str, (about['name'], *sizes)))


def load(config: str):
  """A config from its file and words, such as `paper/table_2a.py:paper`."""
  file, _, words = config.partition(':')
  name = file.removesuffix('.py').replace('/', '.')
  return importlib.import_module(f'configs.{name}').get_config(words)


def study(pairs: Sequence[tuple[str, str]]) -> list[Part]:
  """All that some tables and figures need, at preset `paper`.

  Args:
    pairs: table or figure, data set, as in `catalogue.jobs`.
  """
  jobs = [job for pair in pairs for job in catalogue.jobs(*pair, 'paper')]
  return [part for job in dict.fromkeys(jobs) for part in _job(job)]


def imagenet(preset: str, num_images: int) -> list[Part]:
  """RandMix at one radius, as in Table 2(a) but on more images.

  Args:
    preset: whose network is attacked; steps and draws are the paper's.
    num_images: attacked.
  """
  config = load('paper/table_2a.py:paper')
  config.model = table_2a.MODELS[preset]
  config.only, config.radii_of = ('randmix',), {'randmix': (4 / 255,)}
  config.data.test_examples = num_images
  return list(parts(config))


def _job(job: Job) -> Iterator[Part]:
  if not job.config or job.program == 'certify':
    return
  config = load(job.config)
  given = dict(option.split('=', 1) for option in job.options)
  if '--config.only' in given:
    config.only = ast.literal_eval(given['--config.only'])
  if job.program == 'evaluate':
    yield from parts(config)
    return
  names = given['--only'].split(',') if '--only' in given else config.runs
  for name in names:
    yield from _training(config, config.runs[name])


def _training(config, run) -> Iterator[Part]:
  """Of one model: its steps, and the attacks on the images of each."""
  begun = config.runs[run.begin].num_steps if run.keep_optimizer else 0
  count = (run.num_steps - begun) * run.batch_size
  name, defended = network(config.model.to_dict()), run.defense != 'none'
  yield Part('training', name, 'update', defended, count, run.batch_size)
  if run.method == 'adversarial':
    count *= build.training_recipe(run.attack.to_dict()).num_steps
    yield Part('training', name, 'gradient', defended, count)


def parts(config) -> Iterator[Part]:
  """Of an evaluation: the attacks of every setting, and their judging.

  What is made on another setting is made once, whatever it is handed to.
  """
  made, num_images = set(), _num_judged(config.data)
  published = {n for n, a in config.attacks.items() if a.name in _PUBLISHED}
  for setting in config.only or config.settings:
    about = config.settings[setting]
    kind = build.kind(config.defenses[about.defense])
    name = network(model_config(config, about.network))
    draws = config.num_draws if kind == 'randomized' else 1
    for condition in conditions.conditions(config, kind, setting):
      count = min(num_images, condition.num_examples or num_images)
      attack = condition.name.rpartition('/')[2]
      part = PARTS[1 if attack in published else 2]
      handed = condition.source, condition.name
      if condition.recipes and handed not in made:
        source = config.settings[condition.source or setting]
        bare = build.kind(config.defenses[source.defense]) == 'plain'
        yield Part(
          part,
          network(model_config(config, source.network)),
          'gradient',
          not bare,
          count * costs.evaluations(condition.recipes),
          precision=lowest(r.precision for r in condition.recipes),
        )
      if condition.source:
        made.add(handed)
      # Before the attack, after each recipe, and, if that matters, at last.
      passes = 1 + len(condition.recipes) + (kind == 'randomized')
      yield Part(
        'judging',
        name,
        'forward',
        kind != 'plain',
        count * draws * passes,
        precision=HIGHEST,
      )


def _num_judged(data) -> int:
  """Images that a study is evaluated on, where all of them are there."""
  if data.judged_on == 'train':
    return data.train_examples or at_hand.OFFICIAL[data.name]['train']
  return data.test_examples or DATA[data.name].num_test

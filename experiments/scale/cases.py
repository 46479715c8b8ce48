"""What `experiments.scaling` counts: networks of the papers, and attacks.

Each network is there alone and behind its defense, with the attack of its
config at preset `paper`. Nothing is built of it but functions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import optax

from configs import certified_mnist, cifar10, mnist
from configs.paper import figure_2, table_2a
from experiments.scale import workload
from experiments.studies import conditions
from rdefense import build
from rdefense.attacks import Recipe
from rdefense.defenses import Defense
from rdefense.models import Classifier

__all__ = ['Case', 'Subject', 'cases', 'recipes']

# What the gradients of attacks are told of.
_RECIPES = (
  'mnist',
  'fashion_mnist',
  'cifar10',
  'gtsrb',
  'imagenet',
  'paper/figure_2',
  'paper/table_2a',
  'paper/table_2b',
)


class Subject(NamedTuple):
  """A network, what stands in front of it, and how it is attacked.

  Attributes:
    classifier: the network.
    defend: `(codes, alpha) -> Defense`.
    codes: shape `(k, C)` of the codebook, None without one.
    shape: of an image.
    recipe: of the attack, its first if there are several.
    tx: optimiser of its training; None if it is not trained here.
  """

  classifier: Classifier
  defend: Callable[..., Defense]
  codes: tuple[int, int] | None
  shape: tuple[int, int, int]
  recipe: Recipe
  tx: optax.GradientTransformation | None = None


class Case(NamedTuple):
  """A network of the papers, alone and defended.

  Attributes:
    name: as `workload.network` has it.
    plain, defended: its `Subject`s.
    defense: name of the defense.
    rows: images side by side.
    batch_size: of training, 0 if it is not trained here.
  """

  name: str
  plain: Subject
  defended: Subject
  defense: str
  rows: int
  batch_size: int = 0


def cases() -> Iterator[Case]:
  """The networks of both papers and of certified training, as configured."""
  grey = mnist.get_config('paper')
  yield _behind_codes(grey, 'nat_pre', ('pgd100', 'paper_a'))
  for size in ('small', 'medium', 'large'):
    model = certified_mnist.get_config('paper').model.to_dict()
    case = _behind_codes(
      grey, 'nat_pre', ('pgd100', 'paper_a'), model | {'size': size}
    )
    yield case._replace(batch_size=0)
  for preset in ('small', 'paper'):
    config = cifar10.get_config(preset)
    yield _behind_codes(config, 'nat_pre', ('pgd40', 'paper_a'))
  noisy = figure_2.get_config('paper')
  yield _behind_noise(noisy, noisy.model.to_dict())
  for model in table_2a.MODELS.values():
    config = table_2a.get_config('paper')
    yield _behind_noise(config, model)


def _behind_codes(
  config, plain: str, attacks: Sequence[str], model=None
) -> Case:
  model = model or config.model.to_dict()
  defended, undefended = (
    _subject(config, model, name, kind, attack)
    for name, kind, attack in (
      ('disc_nat_pre', 'transformed', attacks[-1]),
      (plain, 'plain', attacks[0]),
    )
  )
  return Case(
    workload.network(model), undefended, defended,
    f'nearest_code_{config.codebook.num_codes}', config.batch_size,
    next(iter(config.runs.values())).batch_size,
  )  # fmt: skip


def _behind_noise(config, model) -> Case:
  plain, defended = (
    _subject(config, model, setting, kind, 'paper_b')
    for setting, kind in (('base', 'plain'), ('randmix', 'randomized'))
  )
  rows = config.batch_size
  return Case(workload.network(model), plain, defended, 'rand_mix', rows)


def _subject(config, model, setting: str, kind: str, attack: str) -> Subject:
  data = workload.DATA[config.data.name]
  about = config.defenses[config.settings[setting].defense].to_dict()
  recipe, *_ = build.attack_recipes(
    config.attacks[attack].to_dict(), config.threat.eps, kind
  )
  codes = None
  if about['name'] in build.WITH_CODEBOOK:
    codes = config.codebook.num_codes, data.shape[-1]
  runs = list(config.runs.values())
  tx = build.optimizer(runs[0].to_dict()) if runs else None
  network = build.classifier(model, data.num_classes)
  return Subject(network, build.defend(about), codes, data.shape, recipe, tx)


def recipes() -> Iterator[tuple[str, str, str, tuple[Recipe, ...]]]:
  """Study, kind of setting, attack and its recipes, at preset `paper`.

  Radii change step sizes, not counts: the largest of each attack stands for
  all.
  """
  for name in _RECIPES:
    config = workload.load(f'{name}.py:paper')
    kinds = {build.kind(defense) for defense in config.defenses.values()}
    for kind in ('plain', 'transformed', 'randomized'):
      if kind not in kinds:
        continue
      found = {
        condition.name.rpartition('/')[2]: condition.recipes
        for condition in conditions.conditions(config, kind)
        if condition.recipes
      }
      for attack, chosen in found.items():
        yield name.rpartition('/')[2], kind, attack, chosen

"""Which attacks `experiments.utilization` measures, and how large.

Subjects are those of `experiments.scale.cases`, sizes those that fill a device
of a kind; a CPU is filled by few images.
"""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.scale import cases
from experiments.scale.cases import Subject
from rdefense import checks

__all__ = ['Workload', 'chosen', 'workloads']


class Workload(NamedTuple):
  """One attack to be measured.

  Attributes:
    name: in keys.
    subject: the network, what stands in front of it, and its recipe.
    batch: images side by side.
    num_steps: of the attack.
    target: of its share of the roofline.
  """

  name: str
  subject: Subject
  batch: int
  num_steps: int
  target: str = ''


class _Sizes(NamedTuple):
  """Images and steps, on a CPU and on an accelerator with 16 GB or more."""

  on_cpu: tuple[int, int]
  on_accelerator: tuple[int, int]
  target: str = 'at least 0.5'


_SIZES = {
  'mnist_cnn': _Sizes((100, 10), (4096, 100), ''),
  'wide_resnet_10_5': _Sizes((4, 2), (256, 40)),
  'mobilenet_v2': _Sizes((8, 2), (128, 10)),
  'mobilenet_v2_rand_mix': _Sizes((1, 1), (8, 10)),  # of 100 draws
}
_QUICK = ('mnist_cnn', 'wide_resnet_1_1', 'mobilenet_v2', 'mnist_cnn_rand_mix')


def workloads(backend: str, quick: bool = False) -> list[Workload]:
  """PGD on networks of the papers, and on RandMix, sized for a device.

  Args:
    backend: its kind: `cpu`, `gpu` or `tpu`.
    quick: one step on one image, two draws, and networks that compile sooner,
      to see whether it runs.
  """
  subjects: dict[str, Subject] = {}
  for case in cases.cases():
    subjects.setdefault(case.name, case.plain)
    subjects[f'{case.name}_{case.defense}'] = case.defended
  if quick:
    return [_quick(name, subjects[name]) for name in _QUICK]
  return [
    Workload(name, subjects[name], *sizes.on_cpu)
    if backend == 'cpu'
    else Workload(name, subjects[name], *sizes.on_accelerator, sizes.target)
    for name, sizes in _SIZES.items()
  ]


def _quick(name: str, subject: Subject) -> Workload:
  recipe = subject.recipe
  few = recipe._replace(num_draws=min(recipe.num_draws, 2))
  return Workload(name, subject._replace(recipe=few), 1, 1)


def chosen(
  every: Sequence[Workload], names: Sequence[str], batch: int | None
) -> list[Workload]:
  """Some workloads, with another batch where one is given.

  Args:
    every: to choose from.
    names: of some; none means all.
    batch: images side by side; None leaves that as it is.

  Raises:
    ValueError: on an unknown name, on a batch without images.
  """
  for name in names:
    checks.check_choice('workloads', name, [each.name for each in every])
  if batch is not None:
    checks.check_whole('batch', batch, 1, ': an attack needs an image')
  return [
    each if batch is None else each._replace(batch=batch)
    for each in every
    if not names or each.name in names
  ]

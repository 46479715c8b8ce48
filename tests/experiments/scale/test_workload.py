"""Counts of what the papers would compute, against counts by hand."""

from configs import cifar10
from configs.paper.tables import TABLES
from experiments.measuring import costs
from experiments.scale import workload
from experiments.scale.workload import Part
from rdefense import build
from rdefense.data import sources
from rdefense.data.nips17 import NUM_CLASSES, SHAPE


def count(parts, **fields):
  return sum(
    part.num_images
    for part in parts
    if fields.items() <= part._asdict().items()
  )


def test_training_of_cifar_10_is_counted_once_a_model():
  """Two models, and two re-trained for some 10,000 steps for each codebook."""
  parts = workload.study([(f'table{i}', 'cifar10') for i in (1, 2, 3)])
  again = sum(
    sum(k > 0 for k in table['cifar10']['nat']) for table in TABLES.values()
  )
  updates = {'part': 'training', 'program': 'update'}
  first = 70_000 * 128
  assert count(parts, **updates, defended=False) == 2 * first
  later = 10_001 * 128 * again
  assert count(parts, **updates, defended=True) == 2 * later
  # Seven steps of an attack on the images of each step, of one in two models.
  found = count(parts, part='training', program='gradient')
  assert found == 7 * (first + later)
  assert {part.network for part in parts} == {'wide_resnet_10_5'}


def test_an_attack_takes_its_evaluations_of_every_image():
  config = cifar10.get_config('paper')
  config.attacks = {'paper_a': config.attacks.paper_a.to_dict()}
  config.attacks.paper_a.curve = ()
  config.only = ('disc_nat_pre',)
  assert list(workload.parts(config)) == [
    Part(
      'judging', 'wide_resnet_10_5', 'forward', True, 10_000, 0, 'highest'
    ),  # clean
    Part(
      'published attacks',
      'wide_resnet_10_5',
      'gradient',
      True,
      410_000,
      0,
      'highest',
    ),
    Part('judging', 'wide_resnet_10_5', 'forward', True, 20_000, 0, 'highest'),
  ]


def test_randmix_of_imagenet_is_drawn_at_every_step():
  small, large = (workload.imagenet('small', n) for n in (1000, 50_000))
  assert count(large, program='gradient') == 50_000 * 11 * 100
  assert count(large) == 50 * count(small)
  assert {part.network for part in large} == {'mobilenet_v2'}
  (recipe,) = build.attack_recipes(
    {'name': 'paper_b_imagenet'}, 0.1, 'randomized'
  )
  assert costs.evaluations([recipe]) == 11 * 100


def test_what_two_tables_share_is_counted_once():
  one = workload.study([('table2', 'mnist')])
  assert workload.study([('table2', 'mnist'), ('figure1', 'mnist')]) == one


def test_robustness_in_training_is_of_training_images():
  config = workload.load('cifar10.py:paper,k50,train')
  published = [
    part for part in workload.parts(config) if part.part == 'published attacks'
  ]
  assert {p.num_images for p in published} == {50_000 * 41}  # PROTOCOL A8


def test_what_is_handed_to_many_is_made_once():
  parts = list(workload.parts(workload.load('paper/knowledge.py:paper,mnist')))
  made = [part for part in parts if part.program == 'gradient']
  # On the twin and on the undefended model, bare; on both defended ones.
  assert sorted(part.defended for part in made) == [False, False, True, True]
  assert {part.num_images for part in made} == {10_000 * 101}


def test_the_data_are_of_these_sizes():
  assert set(workload.DATA) < set(sources.NAMES)
  assert workload.DATA['nips17'][:2] == (SHAPE, NUM_CLASSES)

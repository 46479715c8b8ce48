"""Pictures of docs/RESULTS.md: there where there are figures enough."""

from pathlib import Path
import re

import pytest

from configs.paper.published import row_keys
from experiments.published import pictures
from rdefense import files

DOCS = Path(__file__).parents[3] / 'docs'


def figures(*keys):
  fields = {'value': 40.0, 'low': 30.0, 'high': 50.0, 'examples': 100}
  return dict.fromkeys(keys, fields)


def test_three_radii_make_a_curve():
  keys = [f'mnist/nat_pre/eps{eps}/pgd100' for eps in ('0.1', '0.2')]
  assert not pictures.pictures(figures(*keys))
  found = pictures.pictures(figures(*keys, 'mnist/nat_pre/clean'))
  ((name, picture),) = found.items()
  assert name == 'mnist_against_eps.png' and 'MNIST' in picture.caption
  assert picture.png().startswith(b'\x89PNG')


def test_three_codebooks_make_a_curve_beside_the_papers():
  keys = [
    key
    for k in (2, 5, 10)
    for key in row_keys('Table II', 'gtsrb', 'nat', k)[1::2]
  ]
  assert not pictures.pictures(figures(*keys))
  keys += [
    f'gtsrb/density{book}/disc_nat_pre/eps8/adaptive'
    for book in ('', '_k5', '_k10')
  ]
  found = pictures.pictures(figures(*keys))
  ((name, picture),) = found.items()
  assert name == 'gtsrb_nat_against_codes.png'
  assert picture.png().startswith(b'\x89PNG')


def test_three_noises_make_a_curve_of_each_defense():
  keys = [
    f'nips17/{name}_sigma{noise}/{condition}'
    for name in ('gaussian', 'randmix')
    for noise in (4, 16, 32)
    for condition in ('clean', 'eps1/paper_b', 'eps1/paper_b/best_of_10')
  ]
  assert not pictures.pictures(figures(*keys[:-2]))
  ((name, picture),) = pictures.pictures(figures(*keys)).items()
  assert name == 'nips17_against_noise.png'
  assert picture.png().startswith(b'\x89PNG')
  copies = [f'nips17/randmix/eps1/copies{n}' for n in (1, 3, 10)]
  copies += [f'{key}/majority_of_20' for key in copies]
  assert list(pictures.pictures(figures(*copies))) == [
    'nips17_against_copies.png'
  ]


@pytest.mark.skipif(
  not (DOCS / 'RESULTS.md').exists(), reason='no figure is published yet'
)
def test_every_committed_picture_is_linked_and_every_link_is_there():
  linked = re.findall(
    r'\(figures/([\w.]+)\)', (DOCS / 'RESULTS.md').read_text()
  )
  assert linked == list(
    pictures.pictures(files.read_json(DOCS / 'results.json'))
  )
  assert set(linked) == {path.name for path in DOCS.glob('figures/*')}

"""The program on hardness: its cases, what it resumes, its report and keys."""

import json

from etils.epath import Path
import numpy as np
import pytest

from experiments import hardness, publish
from experiments.analyses import (
  hardness_cases,
  hardness_pictures,
  hardness_report,
)
from experiments.analyses.hardness_cases import STUDIES, Case
from experiments.running import program
from rdefense import data
from rdefense.analysis import equivalence
from rdefense.certify import lattice
from rdefense.defenses.colors import colors_from_histogram, colors_from_images
from rdefense.defenses.density import density
from tests.experiments.test_train_evaluate import finish, start


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('hardness') / 'run'
  finish(start('hardness', ['--dataset=digits'], folder))
  return folder


@pytest.fixture
def results(workdir):
  return json.loads((workdir / 'hardness.json').read_text())


def test_medians_are_those_of_the_images(workdir, results):
  codes = density(data.load('digits', 'train').images, 2, 0.3).codes
  images = data.load('digits', 'test').images
  page = (workdir / 'report.md').read_text()
  assert len(results['hardness']) == 4
  for row in results['hardness']:
    # One channel, two codes: what lies within eps of the middle between them.
    low = 255 * (codes[:, 0].min() + codes[:, 0].max()) / 2
    away = np.abs(images - low.round(1)) - 255 * row['eps']
    assert (np.abs(away) > 1e-3).all()  # no ties at these radii
    expected = (away < 0).mean((1, 2, 3))
    assert row['value'] == pytest.approx(np.median(expected), rel=1e-12)
    assert row['total'] == 500
    shown = f'{row["value"]:.4f} [{row["low"]:.4f}, {row["high"]:.4f}]'
    assert shown in page
  assert 'figure_7.png' in page and 'neighborhoods.html' not in page


def test_neighbourhoods_are_counted_in_training_pixels(results):
  levels = data.load('digits', 'train').images.ravel().astype(int)
  near = np.abs(levels - np.arange(256)[:, None]) <= 8
  assert results['neighborhoods']['anywhere']['size'] == near.sum(1).max()
  assert results['pixels'] == levels.size


@pytest.mark.parametrize('where', ['here', 'bucket'])
def test_what_was_counted_is_used_for_the_same_codes_only(
  tmp_path, bucket, where, monkeypatch
):
  folder = Path(bucket if where == 'bucket' else tmp_path)
  images = np.uint8([[0, 90], [200, 120]])[..., None, None]
  colors = colors_from_images(images)
  codes = np.array([[0], [200]]) / 255
  case = Case('density2', 21 / 255, 'tied')
  found = hardness.of_case(case, codes, images, colors, folder)
  assert found['values'].tolist() == [0.5, 0.5] and found['changed'] == 0.5
  nothing = lambda *_: pytest.fail('counted again')
  with monkeypatch.context() as patch:
    patch.setattr(hardness, 'num_reached', nothing)
    again = hardness.of_case(case, codes, images, colors, folder)
  assert again['values'].tolist() == found['values'].tolist()
  other = np.array([[0], [10]]) / 255
  found = hardness.of_case(case, other, images, colors, folder)
  assert found['values'].tolist() == [0.5, 0.0]


def test_colours_are_drawn_and_turned_round(tmp_path, bucket, monkeypatch):
  pytest.importorskip('plotly')
  rng = np.random.default_rng(0)
  colors = colors_from_histogram(
    rng.integers(0, 256, (500, 3), dtype=np.uint8), rng.integers(1, 9, 500)
  )
  cube = np.ones((256,) * 3, np.int32)
  curves = {Case('density300', 8 / 255, 'given'): equivalence.cdf([0.1, 0.2])}
  results = {
    'dataset': 'cifar10',
    'arrays': {'colors': colors, 'cube': cube, 'curves': curves},
  }
  monkeypatch.setattr(hardness_pictures, '_SHOWN', (100, 200))
  assert hardness_pictures.write_page(tmp_path, results)
  page = (tmp_path / 'neighborhoods.html').read_bytes()
  assert len(page) > 10**6
  assert hardness_pictures.write_page(Path(bucket), results)
  assert Path(bucket, 'neighborhoods.html').read_bytes() == page
  cube[0, 0, 0] = 50
  figures = hardness_pictures.pictures(STUDIES['cifar10'], results)
  assert sorted(figures) == ['figure_5', 'figure_6', 'figure_7']


def test_printed_medians_are_compared_for_open_balls_as_well():
  found = [*hardness_cases.cases(STUDIES['mnist'])]
  assert len(set(found)) == len(found) == 14
  opened = {case for case in found if case.ball == 'open'}
  assert opened == {
    Case('density2', 0.3, rule, 'open') for rule in lattice.RULES
  }


def test_a_histogram_is_of_cifar10_alone(tmp_path):
  words = ['--dataset=digits', '--colours=some.npz', f'--workdir={tmp_path}']
  with pytest.raises(ValueError, match='--colours=some.npz counts pixels of'):
    program.call(hardness.main, ['hardness', *words])


def test_figures_can_be_published(results, tmp_path):
  study = STUDIES['digits']._replace(published={('density2', 0.3): 0.06})
  entries = hardness_report.entries(study, results)
  publish.publish(tmp_path / 'results.json', entries)
  stored = json.loads((tmp_path / 'results.json').read_text())
  median = stored['hardness/digits/eps0.3/median']
  assert median['target'] == '0.06, paper A' and median['examples'] == 500
  assert median['low'] <= median['value'] <= median['high']
  assert stored['hardness/digits/eps0.1/changed']['unit'] == '%'
  assert 'hardness/digits/eps0.1/median_tied' in stored
  within = stored['hardness/digits/separability/within_8']
  assert 0 < within['value'] < 100

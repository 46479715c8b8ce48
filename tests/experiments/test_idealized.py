"""The program on paper A's guarantee: its exact shares, report and keys."""

import itertools
import json

from absl.testing import flagsaver
import numpy as np
import pytest

from experiments import idealized, publish
from experiments.analyses import idealized_cases, idealized_report
from experiments.analyses.idealized_cases import QUICK
from experiments.running import program
from rdefense.analysis import guarantee
from rdefense.analysis.idealized import perturbations
from rdefense.defenses.colors import colors_from_histogram
from tests.experiments.contents import contents
from tests.experiments.test_train_evaluate import finish, start


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A quick run where there are no data."""
  folder = tmp_path_factory.mktemp('idealized') / 'run'
  none = str(tmp_path_factory.mktemp('none') / 'tfds')
  finish(start('idealized', ['--quick'], folder, TFDS_DATA_DIR=none))
  return folder


@pytest.fixture
def results(workdir):
  return json.loads((workdir / 'idealized.json').read_text())


@pytest.mark.parametrize('codes', [(60, 190), (64, 194), (57, 186)])
def test_exact_shares_are_those_of_all_skeletons(codes):
  side, block = 6, 2
  codes = np.array(codes)[:, None]
  right = []
  for bits in itertools.product([0, 1], repeat=(side // block) ** 2):
    corner = np.array(bits).reshape(1, side // block, side // block)
    skeleton = corner.repeat(block, 1).repeat(block, 2)
    answer = idealized.classify(codes[skeleton])
    right.append(answer == idealized.label(skeleton))
  got = idealized.exact_shares(codes[None], 9)
  assert got == pytest.approx(np.mean(right), rel=1e-12)
  assert 0.3 < got[0] <= 1


def test_perturbed_codes_do_no_better_than_promised():
  nu = guarantee.promised(idealized_cases.TWO, 40 * 32**2, 0.05)
  assert nu > 4  # so that codes 60 and 190 cross the threshold
  shares = idealized.exact_shares(perturbations(idealized_cases.TWO, nu), 1024)
  at_truth = idealized.exact_shares(idealized_cases.TWO.codes[None], 1024)
  assert 0.5 < shares.min() < at_truth[0] < 1


def test_promises_begin_where_bisection_says():
  first, delta = idealized_report.first_promised(), idealized_cases.DELTA
  model = idealized_cases.EIGHT
  assert guarantee.promised(model, first, delta) is not None
  assert guarantee.promised(model, first - 1, delta) is None


def test_the_report_agrees_with_the_results(workdir, results):
  page = (workdir / 'idealized.html').read_text()
  assert 'data:image/png;base64,' in page
  for row in results['lemma']:
    assert row['total'] == QUICK.draws
    assert idealized_report._shown(row) in page
  assert results['real'] == {}


def test_a_bucket_gets_the_same_files(results, tmp_path, bucket, monkeypatch):
  monkeypatch.setattr(idealized, 'measure', lambda size: results)
  with flagsaver.flagsaver():  # --quick is a flag of the benchmarks as well
    for workdir in (tmp_path, bucket):
      program.call(
        idealized.main, ['idealized', '--quick', f'--workdir={workdir}']
      )
  found = contents(bucket)
  assert found == contents(tmp_path)
  assert found.keys() == {
    'idealized.html', 'idealized.json', 'idealized.md', 'lemma_1.png'
  }  # fmt: skip


def test_the_conditions_are_told_apart(results):
  found = {
    (row['skeleton'], row['note'], row['images']): row
    for row in results['lemma']
  }
  independent = found['independent', '', 20]
  assert independent['promised_by_pixels']
  assert not independent['promised_by_images']
  assert independent['correct'] == QUICK.draws
  assert not found['independent', '', 1]['promised_by_pixels']
  constant = found['constant', '', 1]
  assert constant['correct'] == 0  # one image has one code of eight
  wide = found['independent', 'wide_noise', 20]
  assert wide['separation_over_16_nu'] < 1 and not wide['promised_by_pixels']


def test_enough_images_are_promised_in_the_full_run():
  full = list(idealized_cases.cases(idealized_cases.FULL))
  (case,) = [case for case in full if case.note == 'many_images']
  assert case.num_images >= idealized_report.first_promised()
  shown = [case for case in full if not case.note]
  assert idealized_cases.FULL.shown in {c.num_images for c in shown}


def test_figures_can_be_published(results, tmp_path):
  colors = colors_from_histogram(
    np.uint8([[0], [3], [253], [100]]), [900_000, 9000, 400_000, 7]
  )
  results['real'] = {'mnist': idealized.violated('mnist', colors)}
  entries = idealized_report.entries(results, QUICK.shown)
  publish.publish(tmp_path / 'results.json', entries)
  stored = json.loads((tmp_path / 'results.json').read_text())
  assert stored.keys() == entries.keys()
  beyond = stored['idealized/mnist/beyond']
  assert beyond['value'] == pytest.approx(100 * 7 / 1_309_007)
  assert beyond['unit'] == '%' and beyond['examples'] == 1_309_007
  assert stored['idealized/mnist/separation']['value'] == 253
  lemma = stored['idealized/lemma_1/independent_at_size']
  assert lemma['target'] == 'at least 95, as printed'
  right = stored['idealized/proposition_1/constant_right']
  assert right['target'] == 'at least 100.00' and right['value'] == 100


def test_figures_that_do_not_exist_are_none():
  # So many lie between the codes that no sigma explains their distances.
  colors = colors_from_histogram(np.uint8([[0], [253], [126]]), [60, 30, 59])
  found = idealized.violated('mnist', colors)
  assert found['all_sigma'] is None and found['all_needed'] is None
  assert found['within_sigma'] == 0 and found['within_needed'] is None
  table = idealized_report._real_table({'mnist': found})
  assert ('none',) in {row[1:] for row in table[2]}


def test_a_quick_run_cannot_be_published(tmp_path):
  process = start('idealized', ['--quick', '--publish'], tmp_path / 'run')
  assert process.wait(timeout=300) != 0
  assert 'nothing worth a --publish' in process.stderr_path.read_text()

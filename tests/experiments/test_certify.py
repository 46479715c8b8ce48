"""The program that decides: trained, decided, attacked, published, misused."""

import json

import numpy as np
import pytest

from rdefense import records
from tests.experiments.test_train_evaluate import finish, start

CONFIG = [
  '--config=configs/certified_mnist.py:smoke', '--config.data.name=digits'
]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('certified') / 'run'
  finish(start('train', [*CONFIG, '--only=certified_01'], folder))
  evaluated = start('evaluate', CONFIG, folder)
  finish(evaluated)
  finish(start('certify', CONFIG, folder))
  return folder


def test_the_report_agrees_with_the_rows(workdir):
  rows = records.read(workdir / 'certificates/certified_01/eps0.3')
  results = json.loads((workdir / 'certificates.json').read_text())
  found = results['settings']['certified_01']['conditions']['eps0.3']
  counts = np.bincount(rows['certificate/status'], minlength=3)
  shown = [found[s]['correct'] for s in ('undecided', 'certified', 'refuted')]
  assert shown == counts.tolist() and counts.sum() == 20
  page = (workdir / 'certificates.html').read_text()
  assert f'{found["certified"]["percent"]:.2f}%' in page
  assert 'data:image/png;base64,' in page
  assert found['attacked'].keys() == {'adaptive'}


def test_training_followed_the_schedule(workdir):
  lines = (workdir / 'certified_01.metrics.jsonl').read_text().splitlines()
  last = json.loads(lines[-1])
  assert last['eps'] == pytest.approx(0.1)
  assert 0 <= last['certified'] <= last['accuracy'] <= 1


def test_a_setting_of_another_config_is_refused(workdir):
  process = start('certify', [*CONFIG, '--only=nonsense'], workdir)
  assert process.wait(timeout=300) == 2
  (line,) = process.stderr_path.read_text().splitlines()
  assert line.startswith('error: --only=nonsense is no setting')

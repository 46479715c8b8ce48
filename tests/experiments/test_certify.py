"""The program that decides: trained, decided, attacked, published, misused."""

import json

import numpy as np
import pytest
from scipy import stats

from configs import certified_mnist
from experiments import certify
from experiments.studies import certificates
from rdefense import counting, files, records
from rdefense.certify.decide import CERTIFIED, UNDECIDED
from tests.experiments.test_train_evaluate import finish, start

CONFIG = [
  '--config=configs/certified_mnist.py:smoke',
  '--config.data.name=digits',
  # One attack to stand beside the certificates: an ensemble compiles for long.
  '--config.attacks.adaptive.name=fgsm',
]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('certified') / 'run'
  train = [*CONFIG, '--only=certified_01']
  for program, arguments in (
    ('train', train), ('evaluate', CONFIG), ('certify', CONFIG)
  ):  # fmt: skip
    finish(start(program, arguments, folder))
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
  for program in ('evaluate', 'certify'):
    (noted,) = (workdir / 'origins' / program).iterdir()
    assert (
      json.loads(noted.read_text())['commit']
      == (results['environment']['commit'])
    )


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


def test_an_attack_just_begun_is_passed_over(tmp_path):
  """Its folder is claimed before there is a row."""
  config = certified_mnist.get_config('smoke')
  config.settings.certified_01.defense = 'none'
  config.certify.radii = (0.3,)
  made = {
    'index': np.arange(2),
    'label': np.array([1, 1], np.int32),
    'verdict/predicted': np.array([1, 0], np.int32),
  }
  where = tmp_path / 'records/certified_01/eps0.3'
  records.write_shard(where / 'made', 0, made)
  files.write_json(where / 'begun' / 'config.json', {})
  ((eps, attack, summary),) = certify._plain(config, tmp_path)['certified_01']
  assert (eps, attack, summary['correct']) == (0.3, 'made', 1)
  proved = {
    'index': np.arange(2),
    'certificate/status': np.array([CERTIFIED, UNDECIDED]),
  }
  found = certify._attacked(tmp_path, 'certified_01', 'eps0.3', proved)
  assert found.keys() == {'made'}


def test_table_iv_stands_beside_ours():
  tally = counting.tally(np.arange(1000) < 990)
  bounds = certificates.bounds(tally)
  found = {'eps': 0.3, 'decided_up_to': 16, 'bounds': bounds}
  about = {'table_iv': True, 'max_ambiguous': 30}
  (_, header, (row,)), (_, text) = certificates.shares({'eps0.3': found}, about)
  shown = dict(zip(header, row, strict=True))
  assert shown['all decided up to'] == '16' and '30 ambiguous' in text
  assert shown['paper: ŝ'] == '4.31%' and shown['paper: unable'] == '95.67%'
  assert shown['paper: fail'] == '0.02%' and shown['paper: ŝ*'] == '4.24%'
  shares = [
    float(shown[name].removesuffix('%'))
    for name in ('Hoeffding', '"as printed"', 'certified, exact bound')
  ]
  assert shares[0] < shares[1] < shares[2] + 3 and shares[2] < 99
  plain = certificates.shares({'eps0.3': found}, about | {'table_iv': False})
  assert 'paper' not in str(plain[0]) and 'threshold' not in plain[1][1]


def test_the_bound_of_table_iv_is_published_where_the_paper_has_one():
  tally = counting.tally(np.arange(1000) < 990)
  shares = ('certified', 'refuted', 'undecided')
  decided = dict.fromkeys(shares, tally._asdict())
  decided |= {'eps': 0.3, 'bounds': certificates.bounds(tally)}
  own = decided | {'eps': 0.12}
  about = dict.fromkeys(('commit', 'dirty', 'device', 'date'), '')
  results = {
    'settings': {'codes': {'conditions': {'eps0.3': decided, 'eps0.12': own}}},
    'config': {'certify': {'table_iv': True, 'key': ''}},
    'environment': about, 'preset': 'small', 'command': '', 'voted': {},
  }  # fmt: skip
  found = certificates.entries(results, 'mnist')
  bound = found['certify/mnist/codes/eps0.3/bound']
  assert bound.value == pytest.approx(100 * stats.beta.ppf(0.01, 990, 11))
  assert bound.low is None and bound.target == 'paper: 4.24% (Table IV)'
  assert found['certify/mnist/codes/eps0.3/certified'].target.endswith('IV)')
  assert 'certify/mnist/codes/eps0.12/bound' not in found
  results['config']['certify']['table_iv'] = False
  assert len(certificates.entries(results, 'mnist')) == 6


@pytest.mark.slow
def test_table_iv_runs_from_training_to_the_page(tmp_path):
  where = ['--config=configs/paper/table_4.py:smoke',
           '--config.data.name=digits']  # fmt: skip
  folder = tmp_path / 'run'
  finish(start('train', where, folder))
  finish(start('certify', where, folder))
  results = json.loads((folder / 'certificates.json').read_text())
  found = results['settings']['disc_adv_pre']['conditions']['eps0.05']
  statuses = ('certified', 'refuted', 'undecided')
  assert sum(found[status]['correct'] for status in statuses) == 4
  assert 'paper: unable' in (folder / 'certificates.html').read_text()

"""The program that audits: a good attack passes, a masked one does not."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import audit as program_of_audits
from experiments.analyses import audit_cases
from experiments.analyses.audit_cases import Case
from experiments.running import program
from rdefense import data, defenses, deployed, losses
from rdefense.attacks import Recipe, sign
from rdefense.data import batches

WEIGHTS = np.random.default_rng(1).normal(size=(10, 64)).astype(np.float32)


def linear(params, x):
  return jnp.matmul(params, x.reshape(-1))


def stairs(params, x):
  """The same in small steps: without a derivative."""
  return jnp.floor(20 * linear(params, x)) / 20


def bare(codes, alpha):
  return defenses.identity()


def toy():
  """Digits' shape, with labels that the classifier agrees with."""
  images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
  labels = (images.reshape(40, 64) @ WEIGHTS.T).argmax(1).astype(np.int32)
  return data.Arrays(images, labels, 10, 'toy')


def audited(monkeypatch, workdir, apply):
  target = deployed.Target(apply, bare, WEIGHTS)
  monkeypatch.setattr(audit_cases, '_PROPOSALS', 60)
  monkeypatch.setattr(
    program_of_audits, 'pipelines', lambda *_: lambda name: ('plain', target)
  )
  monkeypatch.setattr(program_of_audits.build, 'dataset', lambda *_: toy())
  monkeypatch.setattr(program_of_audits, 'fitted_codebook', lambda *_: None)
  program.call(
    program_of_audits.main,
    ['audit', '--config=configs/digits.py:smoke', '--setting=nat_pre',
     '--attack=pgd100', '--config.attacks.pgd100.num_steps=20',
     '--config.threat.eps=0.02', '--num_examples=30', f'--workdir={workdir}'],
  )  # fmt: skip
  found = json.loads((workdir / 'audit_nat_pre_pgd100.json').read_text())
  return found, {check['item']: check for check in found['checks']}


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_gradients_that_are_masked_do_not_pass(tmp_path, monkeypatch):
  good, passed = audited(monkeypatch, tmp_path / 'good', linear)
  verdicts = {check['verdict'] for check in good['checks']}
  assert verdicts == {'pass'}
  accuracy = {k: v['percent'] for k, v in good['accuracy'].items()}
  assert accuracy['clean'] == 100 and accuracy['everything'] == 0
  assert accuracy['attack'] < accuracy['half'] < 100
  report = (tmp_path / 'good' / 'audit_nat_pre_pgd100.md').read_text()
  assert f'{len(good["checks"])} passed, 0 warned, 0 failed' in report
  assert 'on 30 test images at radius 0.02' in report

  masked, failed = audited(monkeypatch, tmp_path / 'masked', stairs)
  assert failed.keys() == passed.keys()
  wrong = {i for i, check in failed.items() if check['verdict'] != 'pass'}
  assert 'a search without gradients is weaker' in wrong
  assert 'cross-entropy, bpda at alpha 10: there is a gradient to follow' in (
    wrong
  )
  report = (tmp_path / 'masked' / 'audit_nat_pre_pgd100.md').read_text()
  assert '✗ fail' in report and 'Gradients mislead' in report


def test_each_case_is_held_against_the_attack():
  names = (
    *('step', 'noise', 'square', 'transfer'),  # weaker, or it fails
    *('longer', 'starts', 'sizes'),
  )
  right = {name: np.arange(20) < 10 for name in (*names, 'attack', 'half')}
  right |= {'clean': np.ones(20, bool), 'everything': np.zeros(20, bool)}
  radii = {'clean': 0.0, 'half': 0.1, 'attack': 0.2, 'everything': 1.0}
  around = [Case(name, (), radii.get(name, 0.2)) for name in right]

  def verdicts(**changes):
    found = program_of_audits.found_checks(right | changes, around, 10)
    return [check.verdict for check in found]

  assert verdicts() == ['pass'] * 9
  for place, name in enumerate(names):
    found = verdicts(**{name: np.arange(20) < 9})
    expected = ['pass'] * 9
    expected[place] = 'fail' if place < 4 else 'warn'
    assert found == expected
  assert verdicts(half=np.zeros(20, bool))[7] == 'warn'
  assert verdicts(everything=np.ones(20, bool))[7:] == ['warn', 'fail']


def test_gradients_are_those_of_the_loss_where_the_pipeline_is_right(key):
  target = deployed.Target(linear, bare, WEIGHTS)
  test = toy()
  wrong = test._replace(labels=np.where(np.arange(40) < 5, 0, test.labels))
  recipe = Recipe('a', losses.margin, sign, 0.1, 3)
  found = program_of_audits.first_gradients(
    target, recipe, {'margin': losses.margin}, 'linf', 0.0, key,
    batches(wrong, 16),
  )['margin']  # fmt: skip
  x = wrong.images.reshape(40, 64) / 255
  logits = x @ WEIGHTS.T.astype(np.float64)
  own = np.eye(10, dtype=bool)[wrong.labels]
  rival = np.where(own, -np.inf, logits).argmax(1)
  expected = WEIGHTS[wrong.labels] - WEIGHTS[rival]
  right = logits.argmax(1) == wrong.labels
  assert 30 < right.sum() < 40
  np.testing.assert_allclose(
    found.reshape(-1, 64), expected[right], rtol=1e-5, atol=1e-6
  )


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize(
  'flag, words',
  [
    ('--setting=nothing', "setting='nothing'"),
    ('--attack=paper_a', "attack='paper_a'.* one of: .*pgd100"),
  ],
)
def test_a_mistake_is_told_before_anything_is_read(tmp_path, flag, words):
  with pytest.raises(ValueError, match=words):
    program.call(
      program_of_audits.main,
      ['audit', '--config=configs/digits.py:smoke', '--setting=nat_pre', flag,
       f'--workdir={tmp_path}'],
    )  # fmt: skip
  assert not [*tmp_path.iterdir()]

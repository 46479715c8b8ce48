"""The programs as their users run them: whole, killed, and misused.

One small model and two settings are enough for all but the slow tests. The
programs run side by side, as most of their time goes into starting.
"""

import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import time

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits, parts
from experiments import evaluate, train
from experiments.studies import workdir as workdirs
from rdefense import build, checkpoints, records

ROOT = Path(__file__).parents[2]
NUM_STEPS = 12
SMOKE = '--config=configs/digits.py:smoke'
CHANGES = {
  'runs.nat.num_steps': NUM_STEPS,
  'runs.nat.batch_size': 32,
  'checkpoint_every': 2,
  'log_every': 1,
  'data.test_examples': 20,
  'batch_size': 5,
  'only': ('nat_pre', 'disc_nat_pre'),
  'attacks.adaptive.on': (),
  'attacks.apgd.on': (),
}
SMALL = [
  SMOKE,
  *(f'--config.{name}={value}' for name, value in CHANGES.items()),
]
NAT = [*SMALL, '--only=nat']


def start(program, arguments, workdir, name='', **environment):
  """Starts a program on one CPU device, its output in a file of that name."""
  Path(workdir).mkdir(parents=True, exist_ok=True)
  stderr = Path(f'{workdir}.{name or program}.stderr')
  command = [sys.executable, '-m', f'experiments.{program}', *arguments]
  with open(stderr, 'w') as file:
    process = subprocess.Popen(
      [*command, f'--workdir={workdir}'],
      cwd=ROOT,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment,
      stdout=subprocess.DEVNULL,
      stderr=file,
    )
  process.stderr_path = stderr
  return process


def finish(process):
  code = process.wait(timeout=600)
  assert code == 0, process.stderr_path.read_text()


def kill_when(process, condition):
  """Sends SIGKILL as soon as the condition holds; fails if it never does."""
  deadline = time.monotonic() + 600
  while not condition():
    assert process.poll() is None, process.stderr_path.read_text()
    assert time.monotonic() < deadline
    time.sleep(0.005)
  process.kill()
  assert process.wait() == -9, 'it had ended before it was killed'


def metrics(workdir):
  lines = (workdir / 'nat.metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def parameters(workdir, model='nat'):
  config = digits.get_config('smoke')
  config.update_from_flattened_dict(CHANGES)
  return workdirs.load_params(
    config,
    workdir,
    model,
    build.classifier(config.model.to_dict(), 10),
    build.defend({'name': 'identity'})(None, 1.0),
    jnp.zeros((8, 8, 1)),
  )


def rows(workdir):
  """All rows of all conditions, but for the seconds they took."""
  table = {}
  for directory in sorted({p.parent for p in workdir.glob('*/**/shard-*.npz')}):
    name = directory.relative_to(workdir).as_posix()
    for column, values in records.read(directory).items():
      if not column.endswith('/seconds'):
        table[f'{name}/{column}'] = values
  return table


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('programs')


@pytest.fixture(scope='module')
def trained(folder):
  """An undisturbed training run, and one that was killed and run again."""
  whole, killed = folder / 'whole', folder / 'killed'
  undisturbed = start('train', NAT, whole)
  process = start('train', NAT, killed)
  kill_when(
    process,
    lambda: any(p.name.isdigit() for p in (killed / 'models/nat').glob('*')),
  )
  reached = checkpoints.latest_step(killed / 'models/nat')
  again = start('train', NAT, killed)
  finish(undisturbed)
  finish(again)
  return whole, killed, reached


@pytest.fixture(scope='module')
def evaluated(trained, folder):
  """An undisturbed evaluation, and one that was killed and run again."""
  whole, _, _ = trained
  killed = folder / 'evaluation killed'
  shutil.copytree(whole, killed)
  process = start('evaluate', SMALL, killed)
  kill_when(process, lambda: list(killed.glob('records/**/shard-*.npz')))
  left = {
    path.relative_to(killed): path.stat().st_mtime_ns
    for path in killed.glob('records/**/*.npz')
  }
  undisturbed = start('evaluate', SMALL, whole)
  again = start('evaluate', SMALL, killed)
  finish(undisturbed)
  finish(again)
  return whole, killed, left


def test_a_killed_training_run_ends_in_the_same_bits(trained):
  whole, killed, reached = trained
  assert 0 < reached < NUM_STEPS
  assert checkpoints.latest_step(killed / 'models/nat') == NUM_STEPS
  assert metrics(killed) == metrics(whole)
  chex.assert_trees_all_equal(parameters(killed), parameters(whole))


def test_metrics_have_each_step_once(trained):
  whole, _, _ = trained
  lines = metrics(whole)
  assert [line['step'] for line in lines] == list(range(1, NUM_STEPS + 1))
  assert all(np.isfinite(line['loss']) for line in lines)


def test_a_killed_evaluation_ends_in_the_same_rows(evaluated):
  whole, killed, left = evaluated
  expected, got = rows(whole), rows(killed)
  assert expected.keys() == got.keys()
  for name, values in expected.items():
    np.testing.assert_array_equal(got[name], values, name)
  total = len(list(killed.glob('records/**/*.npz')))
  # Conditions, shards; of those of the search eight examples are enough.
  assert 0 < len(left) < total == 2 * (4 + 4 + 2)
  for path, written in left.items():  # none was computed again
    assert (killed / path).stat().st_mtime_ns == written
  starts = [len([*f.glob('origins/evaluate/*.json')]) for f in (whole, killed)]
  assert starts == [1, 2]


def test_the_report_and_the_results_agree_with_the_rows(evaluated):
  whole, _, _ = evaluated
  results = json.loads((whole / 'results.json').read_text())
  table = rows(whole)
  report = (whole / 'report.html').read_text()
  markdown = (whole / 'report.md').read_text()
  assert set(results['settings']) == set(CHANGES['only'])
  for setting, entry in results['settings'].items():
    attack = 'paper_a' if setting.startswith('disc') else 'pgd100'
    names = {'clean', f'eps0.2/{attack}', 'eps0.2/square'}
    assert set(entry['conditions']) == names
    assert setting in report and setting in markdown
    for condition, tally in entry['conditions'].items():
      name = f'records/{setting}/{condition}'
      correct = table[f'{name}/verdict/predicted'] == table[f'{name}/label']
      total = 8 if condition.endswith('square') else 20
      assert (tally['correct'], tally['total']) == (correct.sum(), total)
      assert tally['percent'] == pytest.approx(100 * correct.mean())
      clean = f'records/{setting}/clean'
      right = table[f'{clean}/verdict/predicted'] == table[f'{clean}/label']
      assert tally['unattacked'] == right[:total].sum()
      gradients = table[f'{name}/verdict/gradients'].sum()
      assert tally['gradients'] == gradients
      assert tally['low'] <= tally['percent'] <= tally['high']
      assert f'{tally["percent"]:.1f}' in report
  bare, behind, searched = (
    table[f'records/{name}/verdict/predicted'] == table[f'records/{name}/label']
    for name in (
      'nat_pre/eps0.2/pgd100',
      'disc_nat_pre/eps0.2/paper_a',
      'disc_nat_pre/eps0.2/square',
    )
  )
  behind_codes = results['settings']['disc_nat_pre']['conditions']
  gain = behind_codes['eps0.2/paper_a']['gain']
  assert (gain['instead_of'], gain['condition']) == ('nat_pre', 'eps0.2/pgd100')
  assert gain['gained'] == (behind & ~bare).sum()
  assert gain['lost'] == (bare & ~behind).sum()
  assert 'What the defense buys' in report
  assert behind_codes['eps0.2/square']['hidden'] == {
    'standing': behind[:8].sum(),
    'broken': (behind[:8] & ~searched).sum(),
  }
  assert results['config']['runs']['nat']['num_steps'] == NUM_STEPS
  assert results['command'].startswith('python -m experiments.evaluate')
  assert 'src="http' not in report and 'data:image/png;base64,' in report


def test_images_made_elsewhere_are_judged_like_any(evaluated, tmp_path):
  config, path = digits.get_config('smoke'), tmp_path / 'made.npy'
  config.update_from_flattened_dict(CHANGES)
  config.attacks = {'mine': parts.attack_run('given', path=str(path))}
  config.threat.eps, config.strip.attack = 1.0, 'mine'
  whole, *_ = evaluated
  for name in ('models', 'codebook.npz'):
    copy = shutil.copytree if (whole / name).is_dir() else shutil.copy
    copy(whole / name, tmp_path / name)
  clean = build.dataset(config.data.to_dict(), 'test').images
  np.save(path, np.roll(clean, 1, axis=0))  # each is another one's image
  evaluate.evaluate(config, tmp_path)
  for setting in CHANGES['only']:
    found = rows(tmp_path / 'records' / setting)
    np.testing.assert_array_equal(
      found['eps1/mine/verdict/predicted'],
      np.roll(found['clean/verdict/predicted'], 1),
    )
  assert '`eps1/mine`: images made elsewhere.' in (
    (tmp_path / 'report.md').read_text()
  )
  np.save(path, clean)
  with pytest.raises(ValueError, match='sha256 of the images is'):
    evaluate.evaluate(config, tmp_path)


# Forks once for each case, as most of a program's time goes into imports.
EACH_IN_A_FORK = """
import json, os, sys
from experiments import evaluate, train
from experiments.running import program
for case in json.load(sys.stdin):
  if not (child := os.fork()):
    os.environ |= case['environment']
    sys.argv = case['argv']
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(case['stderr'], os.O_WRONLY | os.O_CREAT), 2)
    status = 0
    try:
      program.run(globals()[case['argv'][0]].main)
    except SystemExit as error:
      status = error.code
    finally:
      sys.stderr.flush()
      os._exit(status)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def misused(program, arguments, workdir, **environment):
  """A case of that."""
  return {
    'argv': [program, *arguments, f'--workdir={workdir}'],
    'stderr': f'{workdir}.stderr',
    'environment': environment,
  }


@pytest.fixture(scope='module')
def mistakes(folder, trained):
  """(exit status, stderr) of every misuse."""
  whole, _, _ = trained
  other = folder / 'other config'
  other.mkdir()
  shutil.copy(whole / 'config.json', other)
  empty = folder / 'no datasets'
  empty.mkdir()
  cases = {
    'unknown_name': misused(
      'train', ['--config=configs/digits.py:nonsense'], folder / 'a'
    ),
    'unknown_key': misused(
      'evaluate', [SMOKE, '--config.nonsense=1'], folder / 'b'
    ),
    'almost_a_key': misused(
      'train', [SMOKE, '--config.runs.nat.num_step=1'], folder / 'l'
    ),
    'wrong_type': misused('train', [SMOKE, '--config.seed=one'], folder / 'c'),
    'no_flag': misused('evaluate', [SMOKE, 'only=nat_pre'], folder / 'k'),
    'no_file': misused('train', ['--config=configs/minst.py'], folder / 'd'),
    'no_config': misused('train', ['--config=configs/parts.py'], folder / 'm'),
    'no_dataset': misused(
      'train',
      ['--config=configs/mnist.py:smoke,binning'],
      folder / 'e',
      TFDS_DATA_DIR=str(empty),
    ),
    'no_checkpoint': misused('evaluate', SMALL, folder / 'f'),
    'other_config': misused('train', [*NAT, '--config.seed=7'], other),
    'unknown_run': misused('train', [*SMALL, '--only=nonsense'], folder / 'g'),
    'unknown_setting': misused(
      'evaluate', [SMOKE, "--config.only=('nonsense',)"], folder / 'h'
    ),
    'unknown_defense': misused(
      'train', [*SMALL, '--config.runs.nat.defense=nonsense'], folder / 'i'
    ),
    'unknown_method': misused(
      'train', [*SMALL, '--config.runs.adv.method=adverserial'], folder / 'n'
    ),
    'unknown_attack': misused(
      'evaluate',
      [SMOKE, '--config.attacks.adaptive.name=adaptve'],
      folder / 'o',
    ),
    'no_weights': misused(
      'evaluate',
      [
        '--config=configs/paper/table_2a.py:smoke',
        '--config.model.weights=absent/file.npz',
        '--config.data.name=digits',
      ],
      folder / 'j',
    ),
  }
  done = subprocess.run(
    [sys.executable, '-c', EACH_IN_A_FORK],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    input=json.dumps(list(cases.values())),
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  statuses = map(int, done.stdout.split())
  return {
    name: (status, Path(case['stderr']).read_text())
    for (name, case), status in zip(cases.items(), statuses, strict=True)
  }


@pytest.mark.parametrize(
  'name, words',
  [
    ('unknown_name', ["'nonsense'", 'choose of: small, smoke']),
    ('unknown_key', ["no entry 'nonsense': look at the file"]),
    ('almost_a_key', ['no entry \'num_step\': Did you mean "num_steps"']),
    ('wrong_type', ['--config.seed=one']),
    ('no_flag', ['only=nat_pre is no flag']),
    ('no_file', ['--config=configs/minst.py is no file', 'configs/mnist.py?']),
    ('no_config', ['has no get_config()']),
    ('no_dataset', ['mnist is not prepared', 'experiments.prepare_data']),
    ('no_checkpoint', ['no checkpoint in', 'nat', 'experiments.train']),
    ('other_config', ['another config', 'seed', '0', '7']),
    ('unknown_run', ['--only=nonsense', 'nat, adv']),
    ('unknown_setting', ['--config.only=nonsense', 'adv_pre, disc_adv_pre']),
    ('unknown_defense', ['run nat', "'nonsense'", 'discretized, none']),
    ('unknown_method', ["'adverserial'", 'natural, adversarial']),
    ('unknown_attack', ["'adaptve'", 'adaptive']),
    ('no_weights', ['absent/file.npz', 'kept elsewhere']),
  ],
  ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_mistake_is_one_sentence_and_a_status(mistakes, name, words):
  status, stderr = mistakes[name]
  assert status == 2
  (line,) = [line for line in stderr.splitlines() if line.strip()]
  assert line.startswith('error: ')
  for word in words:
    assert word in line


@pytest.mark.parametrize('name', ['i', 'n', 'o'])
def test_a_mistaken_option_binds_no_workdir(mistakes, folder, name):
  """The corrected command would be refused as of another config."""
  del mistakes
  assert not (folder / name / 'config.json').exists()


@pytest.mark.parametrize(
  'body, status, shown',
  [
    ('raise ValueError("eps=-1\\nis wrong")', 2, 'error: eps=-1 is wrong\n'),
    ('open("absent/file")', 2, 'error: [Errno 2] No such file'),
    ('import json; json.loads("{")', 1, 'Traceback'),
    ('raise KeyError("a bug")', 1, 'Traceback'),
    ('pass', 0, ''),
  ],
  ids=['ours', 'file', 'of_a_library', 'bug', 'success'],
)
def test_only_mistakes_of_the_user_lose_their_traceback(body, status, shown):
  script = (
    'from experiments.running import program\n'
    f'def main(argv):\n  {body}\n'
    'program.run(main)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == status, done.stderr
  assert shown in done.stderr
  assert ('Traceback' in done.stderr) == (shown == 'Traceback')


@pytest.mark.parametrize(
  'environment, devices',
  [
    ({}, 'len(os.sched_getaffinity(0))'),
    ({'JAX_NUM_CPU_DEVICES': '3'}, '3'),
    ({'XLA_FLAGS': '--xla_force_host_platform_device_count=5'}, '5'),
  ],
)
def test_each_core_is_a_device_unless_one_says_otherwise(environment, devices):
  script = (
    'import os, jax; from experiments.running import program\n'
    'program.one_device_a_core()\n'
    f'assert jax.device_count() == {devices}, jax.devices()\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('name', ['figure_2', 'table_2a', 'table_2b'])
def test_paper_bs_smoke_configs_run(name, tmp_path, data_dir):
  """About a minute each on one CPU core."""
  config = f'--config=configs/paper/{name}.py:smoke'
  where = {'TFDS_DATA_DIR': str(data_dir)}
  for program in ('train', 'evaluate'):
    finish(start(program, [config], tmp_path / 'runs', **where))
  report = (tmp_path / 'runs/report.md').read_text()
  assert 'One query, majority, best of several' in report


@pytest.mark.slow
def test_randomised_defenses_are_trained_attacked_and_certified(
  tmp_path, data_dir
):
  """About two minutes on one CPU core; what is there is not done again."""
  config = '--config=configs/paper/figure_3.py:smoke'
  where = {'TFDS_DATA_DIR': str(data_dir)}
  for program in ('train', 'evaluate', 'certify', 'certify'):
    finish(start(program, [config], tmp_path / 'runs', **where))
  found = json.loads((tmp_path / 'runs/certificates.json').read_text())
  for setting in found['voted'].values():
    for about in setting['conditions'].values():
      assert about['attacked']['paper_b']['one_query']['total'] == 8
      bounds = {n: t['correct'] for n, t in about['bounds'].items()}
      assert bounds['best'] >= max(bounds['pinsker'], bounds['kl'])
      assert bounds['best'] <= setting['clean']['correct']
  report = (tmp_path / 'runs/certificates.md').read_text()
  assert 'Neyman-Pearson' in report and 'unsound' in report


@pytest.mark.slow
def test_the_whole_smoke_config_runs(tmp_path):
  """About a minute on one CPU core."""
  for program in ('train', 'evaluate'):
    finish(start(program, [SMOKE], tmp_path / 'runs'))
  results = json.loads((tmp_path / 'runs/results.json').read_text())
  assert len(results['settings']) == 6
  for setting in results['settings'].values():
    assert 'eps0.2/adaptive' in setting['conditions']
  assert (tmp_path / 'runs/report.html').stat().st_size > 10_000


def test_a_diverged_step_is_told_and_not_saved(tmp_path):
  config = digits.get_config('smoke')
  config.update_from_flattened_dict(CHANGES)
  config.runs.nat.learning_rate = 1e30
  config.checkpoint_every = 1
  with pytest.raises(ValueError, match=r'nat: the loss at step \d+ is'):
    train.train(config, tmp_path, 'nat')
  last = checkpoints.latest_step(tmp_path / 'models' / 'nat')
  assert 1 <= last < NUM_STEPS
  chex.assert_tree_all_finite(parameters(tmp_path))


@pytest.mark.parametrize('weight', [-0.1, 1.7, float('nan')])
def test_a_weight_is_a_share(weight, tmp_path):
  config = digits.get_config('smoke')
  config.runs.nat.natural_weight = weight
  with pytest.raises(ValueError, match=f'natural_weight={weight} must be in'):
    train.train(config, tmp_path, 'nat')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'change', [{'natural_weight': 0.5}, {'attacked': True}]
)
def test_what_only_certified_training_reads_is_refused(change, tmp_path):
  config = digits.get_config('smoke')
  config.runs.nat.update(change)
  with pytest.raises(ValueError, match="nothing with method='natural'"):
    train.train(config, tmp_path, 'nat')
  assert not list(tmp_path.iterdir())

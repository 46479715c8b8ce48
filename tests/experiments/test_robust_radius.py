"""The program on radii: against the exact radius of a linear classifier."""

from etils.epath import Path
import jax
import numpy as np
import pytest

from experiments import robust_radius
from experiments.running import program
from rdefense import (
  attacks,
  certification,
  data,
  defenses,
  deployed,
  evaluation,
  losses,
)
from tests.experiments.contents import contents

LARGEST, STEPS, COUNT = 0.4, 5, 5
CODES = np.float32([[0], [1]])
WEIGHTS = np.random.default_rng(1).normal(size=(2, 16)).astype(np.float32)


def toy():
  """Random images with the label of a linear classifier; the last is wrong."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (COUNT, 4, 4, 1), dtype=np.uint8)
  seen = (images > 127).reshape(COUNT, 16)
  labels = (seen @ WEIGHTS.T).argmax(1).astype(np.int32)
  labels[-1] = 1 - labels[-1]
  return data.Arrays(images, labels, 2, 'toy')


def front(codes, alpha):
  return defenses.nearest_code(codes, alpha)


def linear(params, x):
  return jax.numpy.matmul(params, x.reshape(-1))


TARGET = deployed.Target(linear, front, WEIGHTS, CODES)


def measured(
  directory, num_examples=COUNT, target=TARGET, norm='linf', network=None
):
  recipe = attacks.Recipe(
    'mi_fgsm', losses.margin, attacks.mi_fgsm, 0.0, 10, num_restarts=2
  )
  return robust_radius.brackets(
    target, lambda eps: [recipe._replace(step_size=eps / 4)], norm, toy(),
    jax.random.key(0), directory, LARGEST, STEPS, num_examples, 5, network,
    shard_size=2,
  )  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('radii')


@pytest.fixture(scope='module')
def rows(folder):
  return measured(folder)


def test_a_certificate_is_about_the_norm_of_the_pipeline(tmp_path):
  """In colour, codes that are nearest in l2 are others than in l_inf."""
  rng = np.random.default_rng(4)
  images = rng.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
  codes = rng.uniform(size=(3, 3)).astype(np.float32)
  weights = rng.normal(size=(2, 48)).astype(np.float32)
  in_l2 = lambda codes, alpha: defenses.nearest_code(codes, alpha, 'l2')
  target = deployed.Target(linear, in_l2, weights, codes)
  arguments = (
    lambda eps: (), 'linf',
    data.Arrays(images, np.zeros(3, np.int32), 2, 'toy'), jax.random.key(0),
    tmp_path, 0.05, 1,
  )  # fmt: skip
  rows = robust_radius.brackets(target, *arguments, code_norm='l2')
  assert len(rows['radius/certified']) == 3
  with pytest.raises(ValueError, match='not nearest_code in linf'):
    robust_radius.brackets(target, *arguments)


def exact(image, label):
  """The smallest radius at which a choice of codes fools the classifier."""
  x = image.reshape(-1) / 255
  gain = (WEIGHTS[label] - WEIGHTS[1 - label]).astype(np.float64)
  seen = (x > 0.5).astype(float)
  radii = np.abs(x - 0.5)  # from here on a pixel can be the other code
  for eps in [0.0, *np.sort(radii)]:
    free = radii <= eps
    worst = np.where(free, np.minimum(gain, 0), gain * seen).sum()
    if worst < 0:
      return eps
  return np.inf


def test_radii_are_bracketed_by_proof_and_attack(rows):
  test = toy()
  np.testing.assert_array_equal(rows['index'], np.arange(COUNT))
  width = LARGEST / 2**STEPS
  for i, truth in enumerate(map(exact, test.images, test.labels)):
    proved, fooled = rows['radius/certified'][i], rows['radius/fooled'][i]
    if truth == 0:
      assert proved == -np.inf and fooled == 0
      continue
    assert proved < truth <= fooled
    # Bounds of a linear classifier are tight: certified up to the bisection.
    assert proved + width >= min(truth, LARGEST)
  assert rows['radius/fooled'][-1] == 0
  assert (rows['radius/fooled'][:-1] > 0).all()


def test_a_run_of_more_images_goes_on(folder, rows, tmp_path):
  few = measured(tmp_path, 3)
  assert len(few['index']) == 3
  done = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
  again = measured(tmp_path)
  for path in tmp_path.iterdir():
    assert done.get(path.name, path.stat().st_mtime_ns) == (
      path.stat().st_mtime_ns
    )
  assert len(done) == 2 and len([*tmp_path.iterdir()]) == 3
  for name in set(rows) - {'radius/seconds'}:
    np.testing.assert_array_equal(again[name], rows[name])


def test_a_bucket_gets_the_same_radii(folder, rows, bucket, monkeypatch):
  measured(Path(bucket), 3)
  measured(Path(bucket))
  assert contents(bucket) == contents(folder)
  nothing = lambda *_: pytest.fail('attacked again')
  monkeypatch.setattr(evaluation, 'attack', nothing)
  np.testing.assert_array_equal(
    measured(Path(bucket))['radius/fooled'], rows['radius/fooled']
  )


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_the_program_writes_to_a_bucket_what_it_writes_here(
  rows, tmp_path, bucket, monkeypatch
):
  monkeypatch.setattr(robust_radius, 'brackets', lambda *_, **__: rows)
  monkeypatch.setattr(
    robust_radius, 'pipelines', lambda *_: lambda name: ('plain', TARGET)
  )
  for workdir in (tmp_path, bucket):
    program.call(
      robust_radius.main,
      ['robust_radius', '--config=configs/digits.py:smoke',
       '--setting=disc_adv_re',
       f'--workdir={workdir}'],
    )  # fmt: skip
  found = contents(bucket)
  assert found == contents(tmp_path)
  assert found.keys() == {
    'codebook.npz', 'config.json', 'radii.html', 'radii.json', 'radii.md',
    'radii.png',
  }  # fmt: skip


def test_bounds_by_tables_prove_as_much_of_a_linear_classifier(rows, tmp_path):
  network = certification.read_layers(TARGET, toy())
  found = measured(tmp_path, network=network)
  for name in ('certified', 'fooled'):
    np.testing.assert_array_equal(
      found[f'radius/{name}'], rows[f'radius/{name}']
    )


def test_without_codes_there_is_no_certificate(tmp_path):
  plain = deployed.Target(
    linear, lambda codes, alpha: defenses.identity(), WEIGHTS
  )
  found = measured(tmp_path / 'a', 2, plain)
  assert 'radius/certified' not in found
  assert (found['radius/fooled'] > found['radius/withstood']).all()
  assert 'radius/certified' not in measured(tmp_path / 'b', 2, norm='l2')


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize(
  'config, flag, words',
  [
    ('figure_2', '--setting=randdisc', 'randomised'),
    ('figure_2', '--setting=nothing', 'setting'),
    ('figure_2', '--attack=paper_a', 'attack'),  # on transformed ones only
    ('knowledge', '--attack=black', "attack='black'.* one of: white"),
    ('knowledge', '--setting=nat_pre', 'no attack .* sees nat_pre itself'),
    ('table_2b', '--setting=tvm', 'no attack .* sees tvm itself'),  # all given
  ],
)
def test_a_mistake_is_told_before_anything_is_read(
  tmp_path, config, flag, words
):
  first, argument = {
    'figure_2': ('base', 'smoke'),
    'knowledge': ('disc_nat_pre', 'smoke'),
    'table_2b': ('base', 'smoke,contest'),
  }[config]
  arguments = [
    f'--config=configs/paper/{config}.py:{argument}', f'--setting={first}'
  ]  # fmt: skip
  with pytest.raises(ValueError, match=words):
    program.call(
      robust_radius.main,
      ['robust_radius', *arguments, flag, f'--workdir={tmp_path}'],
    )
  assert not [*tmp_path.iterdir()]

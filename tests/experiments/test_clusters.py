"""The program on colour clusters: its images are those of the pipeline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import clusters
from experiments.running import program
from experiments.studies import conditions
from rdefense import attacks, build, data, defenses, deployed, losses
from tests.experiments.contents import contents
from tests.experiments.test_train_evaluate import finish, start

SIGMA = 0.1


def toy():
  images = np.random.default_rng(0).integers(
    0, 256, (3, 12, 12, 3), dtype=np.uint8
  )
  return data.Arrays(images, np.arange(3, dtype=np.int32), 3, 'toy')


def a_target(seed):
  rng = np.random.default_rng(seed)
  return deployed.Target(
    lambda params, x: params @ x.reshape(-1),
    lambda codes, alpha: defenses.rand_disc(
      SIGMA, SIGMA, num_centers=4, num_samples=30, gamma=40.0, alpha=40.0
    ),
    jnp.asarray(rng.normal(size=(3, 432)), jnp.float32),
    num_draws=5,
  )


def measured(target, source=None):
  recipe = attacks.Recipe(
    'pgd', losses.cross_entropy, attacks.mi_fgsm, 0.01, 3, alpha=40.0,
    every_example=True, num_draws=2, chunk=2,
  )  # fmt: skip
  condition = conditions.Condition(
    'eps5/pgd', (recipe,), 0.02, None, source='other' if source else ''
  )
  return clusters.measure(
    target, SIGMA, condition, 'linf', jax.random.key(0),
    data.gather(toy(), np.array([1])), source,
  ) | {'setting': 'randdisc', 'image': 1}  # fmt: skip


@pytest.fixture(scope='module')
def results():
  return measured(a_target(1))


def test_an_attack_on_a_source_is_handed_over(results, tmp_path):
  found = measured(a_target(2), a_target(1))
  for one, other in zip(found['views'], results['views'], strict=True):
    np.testing.assert_array_equal(one.image, other.image)
  assert found['right'] != results['right']
  page = clusters.write_report(tmp_path, found).with_suffix('.md')
  assert '5.1/255, computed on `other`, sends' in page.read_text()


def test_the_noisy_image_is_what_randdisc_compares_with_its_centres(results):
  clean, attacked, noisy = results['views']
  apart = noisy.image[:, :, None] - clean.colors[None, None]
  nearest = (apart**2).sum(-1).argmin(-1)
  np.testing.assert_array_equal(nearest.reshape(-1), clean.member)
  np.testing.assert_array_equal(
    clean.colors[clean.member].reshape(12, 12, 3), clean.transformed
  )
  noise = noisy.image - clean.image
  assert 0.8 * SIGMA < noise.std() < 1.2 * SIGMA  # 432 draws
  moved = np.abs(attacked.image - clean.image).max()
  assert 0 < moved <= 0.02 + 1e-6
  assert results['moved']['attack'] == (attacked.member != clean.member).mean()


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_a_bucket_gets_the_same_files(results, tmp_path, bucket, monkeypatch):
  monkeypatch.setattr(clusters, 'measure', lambda *_: results)
  monkeypatch.setattr(
    clusters, 'pipelines', lambda *_: lambda name: ('randomized', None)
  )
  monkeypatch.setattr(build, 'dataset', lambda *_: toy())
  for workdir in (tmp_path, bucket):
    program.call(
      clusters.main,
      ['clusters', '--config=configs/paper/figure_2.py:smoke', '--image=1',
       f'--workdir={workdir}'],
    )  # fmt: skip
  found = contents(bucket)
  assert found == contents(tmp_path)
  assert found.keys() == {
    'clusters.html', 'clusters.json', 'clusters.md', 'config.json',
    'figure_1.png',
  }  # fmt: skip


def test_the_report_has_every_cluster(results, tmp_path):
  page = clusters.write_report(tmp_path, results)
  text = page.with_suffix('.md').read_text()
  for its in results['clusters'].values():
    assert its['pixels'].sum() == 144
    for pixels in its['pixels']:
      assert f'| {pixels} |' in text
  assert (tmp_path / 'figure_1.png').read_bytes().startswith(b'\x89PNG')


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_grey_images_and_soft_settings_are_refused(tmp_path):
  for flag, words in (
    ('--setting=randmix', 'does not give each pixel one of a few centres'),
    ('--setting=nothing', 'setting'),
    ('--setting=randdisc', 'three channels'),
  ):
    config = '--config=configs/paper/figure_2.py:smoke'
    arguments = [config, '--config.data.name=digits', flag]
    with pytest.raises(ValueError, match=words):
      program.call(
        clusters.main, ['clusters', *arguments, f'--workdir={tmp_path}']
      )


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
def test_the_attack_of_the_study_is_run(results, tmp_path, monkeypatch):
  asked = []
  measure = lambda *arguments: asked.append(arguments) or dict(results)
  monkeypatch.setattr(clusters, 'measure', measure)
  monkeypatch.setattr(
    clusters, 'pipelines', lambda *_: lambda name: ('randomized', name)
  )
  monkeypatch.setattr(build, 'dataset', lambda *_: toy())
  program.call(
    clusters.main,
    ['clusters', '--config=configs/paper/table_2b.py:smoke',
     '--setting=randdisc', f'--workdir={tmp_path}'],
  )  # fmt: skip
  ((target, _, condition, _, _, _, source),) = asked
  assert (target, condition.name) == ('randdisc', 'eps8/transfer')
  assert source == condition.source == 'ensemble'


# config_flags loads a file of configs in a way that Python is to drop.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize(
  'config, flag, words',
  [
    ('table_2b.py:smoke,contest', '--image=0', 'images made elsewhere'),
    (
      'table_2a.py:smoke',
      '--config.attacks.paper_b.radii=(0.0039,)',
      'randdisc is not attacked under eps4/paper_b',
    ),
  ],
)
def test_without_its_attack_nothing_is_read(tmp_path, config, flag, words):
  arguments = [f'--config=configs/paper/{config}', '--setting=randdisc', flag]
  with pytest.raises(ValueError, match=words):
    program.call(
      clusters.main, ['clusters', *arguments, f'--workdir={tmp_path}']
    )
  assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_it_runs_on_imagenet(tmp_path):
  config = '--config=configs/paper/table_2a.py:smoke'
  finish(start('clusters', [config], tmp_path))
  assert (tmp_path / 'clusters.html').is_file()

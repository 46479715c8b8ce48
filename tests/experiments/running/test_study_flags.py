"""What a user forgot to give or to install is one sentence."""

import ast
import pathlib
from types import SimpleNamespace

from absl.flags import FLAGS
from absl.testing import flagsaver
import pytest

from configs import certified_mnist
from experiments import publish
from experiments.running import program, study_flags


def test_a_bucket_needs_what_reads_buckets(monkeypatch):
  class Unreadable:
    def __init__(self, path):
      assert path == 'gs://bucket/run'

    def expanduser(self):
      return self

    def exists(self):
      raise ImportError('Please install gcsfs')

  monkeypatch.setattr(program, 'Path', Unreadable)
  FLAGS(['program'])
  with flagsaver.flagsaver(workdir='gs://bucket/run'):
    with pytest.raises(ValueError, match='gs://bucket/run is in a bucket'):
      study_flags.workdir()


def test_a_workdir_is_asked_for():
  FLAGS(['program'])
  with flagsaver.flagsaver(workdir=None):
    with pytest.raises(ValueError, match='--workdir is missing'):
      study_flags.workdir()


def test_figures_of_held_out_images_are_not_published(monkeypatch):
  config = certified_mnist.get_config('smoke')
  config.data.judged_on = 'held_out'
  monkeypatch.setattr(study_flags, '_CONFIG', SimpleNamespace(value=config))
  FLAGS(['program'])
  with flagsaver.flagsaver((publish.ASKED, False)):
    assert study_flags.config() is config
  with flagsaver.flagsaver((publish.ASKED, True)):
    with pytest.raises(ValueError, match='--publish is for test images'):
      study_flags.config()


@pytest.mark.parametrize(
  'change, message',
  [
    (
      lambda c: c.threat.update(eps=8.0),
      'threat.eps=8.0 is larger than 1.*by 255',
    ),
    (lambda c: c.threat.update(norm='l0'), "threat.norm='l0' is unknown"),
    (
      lambda c: c.data.update(test_examples=-1),
      'data.test_examples=-1 must be at least 0: 0 takes all',
    ),
    (
      lambda c: c.attacks.adaptive.update(num_examples=-5),
      'attacks.adaptive.num_examples=-5 must be',
    ),
    (
      lambda c: c.certify.update(num_examples=-5),
      'certify.num_examples=-5 must be',
    ),
    (lambda c: c.update(log_every=0), 'log_every=0 must be at least 1'),
    (lambda c: c.update(checkpoint_every=0), 'checkpoint_every=0 must be'),
    (lambda c: c.update(batch_size=0), 'batch_size=0 must be at least'),
    (lambda c: c.update(num_draws=0), 'num_draws=0 must be at least 1'),
    (lambda c: c.certify.update(shard_size=0), 'certify.shard_size=0 must be'),
    (
      lambda c: c.runs.certified_01.update(num_steps=0),
      'runs.certified_01.num_steps=0 must be',
    ),
    (lambda c: c.threat.update(norm='l2', eps=-1.0), 'threat.eps=-1.0 must be'),
    (
      lambda c: c.runs.certified_01.update(eps=25.5),
      'runs.certified_01.eps=25.5 is larger',
    ),
    (
      lambda c: c.radii_of.update(certified_01=(0.1, 2.0)),
      'radii_of.certified_01=2.0 is larger',
    ),
    (lambda c: c.certify.update(radii=(3,)), 'certify.radii=3 is larger'),
  ],
  ids=lambda value: value.split('=')[0] if isinstance(value, str) else '',
)
def test_numbers_are_looked_at_before_anything_is_run(
  monkeypatch, change, message
):
  config = certified_mnist.get_config('smoke')
  monkeypatch.setattr(study_flags, '_CONFIG', SimpleNamespace(value=config))
  FLAGS(['program'])
  assert study_flags.config() is config
  change(config)
  with pytest.raises(ValueError, match=f'^--config.{message}'):
    study_flags.config()


def test_a_ball_of_another_norm_may_be_wider_than_a_pixel(monkeypatch):
  config = certified_mnist.get_config('smoke')
  config.threat.norm, config.threat.eps = 'l2', 2.0
  monkeypatch.setattr(study_flags, '_CONFIG', SimpleNamespace(value=config))
  FLAGS(['program'])
  assert study_flags.config() is config


def test_flags_of_one_name_are_alike():
  """Programs run in one process: whose flag is there must not matter."""
  found: dict[str, set] = {}
  for path in pathlib.Path(program.__file__).parents[1].rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      match node:
        case ast.Call(
          func=ast.Attribute(value=ast.Name(id='flags'), attr=kind),
          args=[ast.Constant(value=name), default, *_],
        ):
          found.setdefault(name, set()).add((kind, ast.unparse(default)))
  several = {name: kinds for name, kinds in found.items() if len(kinds) > 1}
  # The launcher may spend money, and only prints unless it is told otherwise.
  assert several.keys() == {'dry_run'}
  assert {kind for kind, _ in several['dry_run']} == {'DEFINE_bool'}
  assert 'workdir' in found and 'root' in found

"""What a user forgot to give or to install is one sentence."""

from absl.flags import FLAGS
from absl.testing import flagsaver
import pytest

from experiments import program, study_flags


def test_a_bucket_needs_what_reads_buckets(monkeypatch):
  class Unreadable:
    def __init__(self, path):
      assert path == 'gs://bucket/run'

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

"""What is told of programs that were run, and whose time counts."""

import pytest

from configs.paper import catalogue
from experiments.reproducing import journal
from rdefense import files


def test_what_is_begun_from_nothing_tells_its_time(tmp_path):
  train, retrain, *_ = catalogue.jobs('table2', 'mnist', 'small')
  assert journal.so_far(train, tmp_path) == (0, 0)
  (tmp_path / 'mnist').mkdir()
  assert journal.so_far(train, tmp_path) == (0, 0)
  (tmp_path / 'mnist' / 'models').mkdir()
  assert journal.so_far(train, tmp_path) is None  # made by whom?
  journal.add(tmp_path, {journal.line(train, tmp_path): {'whole': True}})
  assert journal.so_far(train, tmp_path) is None  # killed, nobody knows when
  assert journal.so_far(retrain, tmp_path) is None
  ended = {'seconds': 9.0, 'whole': False}  # it went on, and is at its end
  journal.add(tmp_path, {journal.line(train, tmp_path): ended})
  assert journal.so_far(retrain, tmp_path) is None
  ended['whole'] = True
  journal.add(tmp_path, {journal.line(train, tmp_path): ended})
  assert journal.so_far(retrain, tmp_path) == (0, 0)
  assert journal.so_far(train, tmp_path) is None


def test_what_was_stopped_goes_on_from_the_time_it_told(tmp_path):
  train, retrain, *_ = catalogue.jobs('table2', 'mnist', 'small')
  (tmp_path / 'mnist' / 'models').mkdir(parents=True)
  stopped = {'whole': True, 'stopped': journal.Spent(8.0, 5.0)}
  journal.add(tmp_path, {journal.line(train, tmp_path): stopped})
  assert journal.so_far(train, tmp_path) == (8.0, 5.0)
  assert journal.so_far(retrain, tmp_path) is None  # it waits for train


def test_programs_that_share_a_workdir_have_times_of_their_own(tmp_path):
  train, retrain, *_ = catalogue.jobs('table2', 'mnist', 'small')
  told = {
    journal.line(job, tmp_path): {'seconds': seconds}
    for job, seconds in ((train, 60.0), (retrain, 9.0))
  }
  for lines in (told, dict(reversed(told.items()))):
    assert journal.seconds(lines, train) == 60.0
    assert journal.seconds(lines, retrain) == 9.0
  twin = retrain._replace(options=('--only=twin',))
  assert journal.seconds(told, twin) is None


@pytest.mark.parametrize('root', ['runs', '/far/away/runs', 'gs://some/runs'])
def test_jobs_are_known_wherever_their_folder_lay(tmp_path, root):
  """As files that were written of another folder tell them."""
  jobs = catalogue.jobs('table3', 'mnist', 'small')
  words = {journal.line(job, root): {'seconds': 1.0} for job in jobs}
  files.write_json(tmp_path / 'reproduced.json', words)
  assert set(journal.read(tmp_path)) == {journal.line(job) for job in jobs}
  journal.add(tmp_path, {journal.line(jobs[0]): {'seconds': 2.0}})
  told = journal.read(tmp_path)
  assert len(told) == len(jobs) and journal.seconds(told, jobs[0]) == 2.0


def test_entries_of_journals_that_there_are_stay_valid():
  train, *_ = catalogue.jobs('table3', 'mnist', 'small')
  assert journal.line(train) == (
    'python -m experiments.train --config=configs/mnist.py:small '
    '--workdir=runs/mnist --only=nat,adv_fast,adv'
  )

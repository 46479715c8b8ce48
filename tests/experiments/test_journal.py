"""What is told of programs that were run, and whose time counts."""

from configs.paper import catalogue
from experiments import journal


def test_what_is_begun_from_nothing_tells_its_time(tmp_path):
  train, retrain, *_ = catalogue.jobs('table2', 'mnist', 'small')
  assert journal.is_whole(train, tmp_path)
  (tmp_path / 'mnist').mkdir()
  assert journal.is_whole(train, tmp_path)
  (tmp_path / 'mnist' / 'models').mkdir()
  assert not journal.is_whole(train, tmp_path)  # by whom?
  journal.add(tmp_path, {journal.line(train, tmp_path): {'date': 'begun'}})
  assert not journal.is_whole(train, tmp_path)  # it goes on
  assert not journal.is_whole(retrain, tmp_path)
  ended = {'seconds': 9.0, 'whole': False}  # it went on, and is at its end
  journal.add(tmp_path, {journal.line(train, tmp_path): ended})
  assert not journal.is_whole(retrain, tmp_path)
  ended['whole'] = True
  journal.add(tmp_path, {journal.line(train, tmp_path): ended})
  assert journal.is_whole(retrain, tmp_path)
  assert not journal.is_whole(train, tmp_path)

"""Tables and figures by name: what there is, what is run, and what is not."""

import json
from pathlib import Path
import subprocess
import sys
import time

import pytest

from configs.paper import catalogue, published
from configs.paper.tables import TABLES
from experiments import publish, reproduce
from experiments.reproducing import journal, paper_tables
from experiments.running import program
from rdefense import counting, files
from rdefense.data import sources
from tests.experiments.contents import contents

ROOT = Path(__file__).parents[2]
PRESETS = ('small', 'paper', 'smoke')


@pytest.mark.parametrize('name', catalogue.CATALOGUE)
def test_every_job_is_a_program_with_a_config(name):
  for dataset in catalogue.CATALOGUE[name].datasets:
    for preset in PRESETS:
      found = catalogue.jobs(name, dataset, preset)
      assert found and len(set(found)) == len(found)
      for job in found:
        assert (ROOT / 'experiments' / f'{job.program}.py').is_file()
        config, _, words = job.config.partition(':')
        assert not config or (ROOT / 'configs' / config).is_file()
        assert not config or preset in words.split(',')
      made = [job.workdir for job in found]
      for i, job in enumerate(found):
        assert not job.pretrained or job.pretrained in made[:i]


def test_every_table_and_figure_of_both_papers_is_there():
  names = {f'table{i}' for i in range(1, 5)}
  names |= {f'figure{i}' for i in range(1, 8)}
  names |= {'b_table1', 'b_table2a', 'b_table2b', 'b_figure2', 'b_figure3'}
  names |= {f'b_figure4{part}' for part in 'abcd'}
  assert names <= set(catalogue.CATALOGUE)


def test_every_row_of_the_tables_has_a_workdir():
  for what, table in (
    ('table1', 'Table I'), ('table2', 'Table II'), ('table3', 'Table III')
  ):  # fmt: skip
    for dataset, bases in TABLES[table].items():
      assert dataset in catalogue.CATALOGUE[what].datasets
      made = {job.workdir for job in catalogue.jobs(what, dataset, 'small')}
      for num_codes in filter(None, bases['nat']):
        workdir = catalogue.codebook_workdir(dataset, table, num_codes)
        assert workdir in made


@pytest.mark.parametrize(
  'what, datasets, words',
  [
    ([], [], '--what= is no table or figure; there are: all, table1'),
    (['table9'], [], '--what=table9 is no table'),
    (['table2'], ['svhn'], '--dataset=svhn is none of table2: cifar10'),
  ],
)
def test_a_mistake_is_one_sentence(what, datasets, words):
  with pytest.raises(ValueError, match=words):
    reproduce.chosen(what, datasets, 'small')


def test_a_smoke_run_takes_the_first_data_set_of_each():
  found = reproduce.chosen(['all'], [], 'smoke')
  assert [name for name, _ in found] == list(catalogue.CATALOGUE)
  every = reproduce.chosen(['all'], [], 'small')
  assert set(found) < set(every)


def test_what_is_in_the_journal_is_not_run_again(tmp_path, monkeypatch, capsys):
  called, broken = [], {'mnist_medoids'}

  def call(main, command):
    assert callable(main)
    workdir = Path(command[2 + ('pretrained' in command[2])].split('=')[1])
    called.append((command[0], workdir.name))
    if workdir.name in broken:
      raise ValueError('on purpose')
    workdir.mkdir(exist_ok=True)

  monkeypatch.setattr(program, 'call', call)
  pairs = [('table3', 'mnist'), ('table2', 'mnist')]
  first = reproduce.reproduce(pairs, 'small', tmp_path)
  assert called == [
    ('train', 'mnist'), ('train', 'mnist'), ('evaluate', 'mnist'),
    ('train', 'mnist_medoids'), ('evaluate', 'mnist_medoids'),
  ]  # fmt: skip
  assert [job.workdir for job in first] == ['mnist_medoids'] * 2
  assert 'on purpose' in capsys.readouterr().err
  told = json.loads((tmp_path / 'reproduced.json').read_text())
  assert sum('seconds' in about for about in told.values()) == 3
  page = (tmp_path / 'index.html').read_text()
  assert page.count('not run yet') > 30  # nothing was written, in truth
  called.clear()
  broken.clear()
  assert not reproduce.reproduce(pairs, 'small', tmp_path)
  assert [workdir for _, workdir in called] == ['mnist_medoids'] * 2
  (tmp_path / 'mnist_medoids').rmdir()  # then its runs are gone
  called.clear()
  assert not reproduce.reproduce(pairs, 'small', tmp_path)
  assert [workdir for _, workdir in called] == ['mnist_medoids'] * 2


def test_runs_of_a_folder_that_moved_are_done(tmp_path, monkeypatch, capsys):
  def call(main, command):
    folder = next(w for w in command if w.startswith('--workdir='))
    Path(folder.partition('=')[2]).mkdir(exist_ok=True)

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(program, 'call', call)
  pairs = [('table3', 'mnist')]
  for root in (tmp_path / 'runs', Path('runs'), Path('moved')):
    if root.name == 'moved':
      Path('runs').rename(root)
    assert not reproduce.reproduce(pairs, 'small', root)
  told = capsys.readouterr().out
  assert told.count('done before') == 2 * len(
    catalogue.jobs(*pairs[0], 'small')
  )
  assert '--workdir=moved/mnist_medoids' in told


def test_a_dry_run_prints_what_is_left(tmp_path, capsys):
  first, *rest = catalogue.jobs('table3', 'mnist', 'small')
  (tmp_path / first.workdir).mkdir()
  journal.add(tmp_path, {journal.line(first): {'seconds': 1.0}})
  reproduce.reproduce([('table3', 'mnist')], 'small', tmp_path, dry_run=True)
  told = capsys.readouterr().out.splitlines()
  assert told == [journal.line(job, tmp_path) for job in rest]


def test_programs_are_told_to_publish(tmp_path, monkeypatch):
  called = []
  monkeypatch.setattr(
    program, 'call', lambda main, command: called.append(command)
  )
  monkeypatch.setattr(publish, 'RESULTS', tmp_path / 'docs' / 'results.json')
  for asked in (True, False):
    called.clear()
    reproduce.reproduce(
      [('model', '')], 'small', tmp_path / str(asked), published=asked
    )
    (command,) = called
    assert ('--publish' in command) == asked
  (key,) = files.read_json(publish.RESULTS)
  assert key == 'reproduce/small/idealized/idealized'


def test_a_dry_run_prints_command_lines_and_runs_nothing(tmp_path, capsys):
  assert not reproduce.reproduce(
    [('figure3', '')], 'paper', tmp_path / 'runs', dry_run=True
  )
  first, *_, last = capsys.readouterr().out.splitlines()
  assert first.startswith('python -m experiments.train --config=configs/cifar')
  assert 'k50,train' in last and not (tmp_path / 'runs').exists()


def results(keys):
  """As of an evaluation in which every condition has 30 of 40 right."""
  tally = counting.tally([True] * 30 + [False] * 10)._asdict()
  settings = {}
  for key in keys:
    rest = key.split('/')
    start = 2 if rest[1].startswith(('density', 'binning', 'medoids')) else 1
    conditions = settings.setdefault(rest[start], {'conditions': {}})
    conditions['conditions']['/'.join(rest[start + 1 :])] = tally
  return {
    'settings': settings,
    'preset': 'small',
    'command': 'python',
    'config': {'model': {'name': 'mnist_cnn'}},
    'environment': {},
  }


def test_a_table_shows_ours_beside_the_papers(tmp_path):
  assert paper_tables.write_table(tmp_path, 'table3', 'mnist') is None
  keys = [
    key
    for base in ('nat', 'adv')
    for num_codes in (0, 2)
    for key in published.row_keys('Table III', 'mnist', base, num_codes)
  ]
  folder = tmp_path / 'mnist_medoids'
  folder.mkdir()
  (folder / 'results.json').write_text(json.dumps(results(keys)))
  found = paper_tables.rows(tmp_path, 'table3', 'mnist')
  assert [(row.base, row.num_codes) for row in found] == [
    ('nat', 2), ('adv', 2)
  ]  # fmt: skip
  assert all(cell['percent'] == 75 for row in found for cell in row.ours)
  page = paper_tables.write_table(tmp_path, 'table3', 'mnist')
  text = page.with_suffix('.md').read_text()
  assert text.count('75.00') == 8
  for value in ('98.81, −23.81', '75.43, −0.43', '98.99', '92.20'):
    assert value in text
  assert 'What the paper concludes' not in text  # nothing to compare with
  bare = published.row_keys('Table III', 'mnist', 'nat', 0)
  files.write_json(tmp_path / 'mnist' / 'results.json', results(bare))
  page = paper_tables.write_table(tmp_path, 'table3', 'mnist')
  for suffix in ('.md', '.html'):
    text = page.with_suffix(suffix).read_text()
    assert 'natural model: codes in front make it more robust' in text
    assert 'not told apart' in text and 'adversarial model:' not in text


def test_a_bucket_gets_the_same_runs(tmp_path, bucket, capsys):
  pairs = reproduce.chosen(['figure5'], [], 'smoke')
  for root in (str(tmp_path), bucket):
    assert not reproduce.reproduce(pairs, 'smoke', program.folder('root', root))
  found = contents(bucket)
  assert found == contents(tmp_path)
  assert {
    'hardness_digits/hardness.json', 'hardness_digits/figure_5.png',
    'index.html', 'reproduced.json',
  } < found.keys()  # fmt: skip
  assert 'done before' not in capsys.readouterr().out
  reproduce.reproduce(pairs, 'smoke', program.folder('root', bucket))
  assert '[1/1] done before' in capsys.readouterr().out


def test_a_bucket_gets_the_same_table(tmp_path, bucket):
  keys = published.row_keys('Table III', 'mnist', 'nat', 2)
  for root in (tmp_path, bucket):
    files.write_json(f'{root}/mnist_medoids/results.json', results(keys))
    paper_tables.write_table(root, 'table3', 'mnist')
  found = contents(bucket)
  assert found == contents(tmp_path)
  assert {'tables/table3_mnist.md', 'tables/table3_mnist.html'} < found.keys()


@pytest.mark.slow
def test_everything_runs_at_smoke(tmp_path):
  """By two processes, one of which is killed and started again."""
  prepared = sources.data_directory()
  folders = [prepared / name for name in ('mnist', 'cifar10')]
  folders += [prepared.parent / n for n in ('gtsrb', 'nips17', 'weights')]
  if absent := [str(path) for path in folders if not path.is_dir()]:
    pytest.skip(f'no data: {absent[0]} is not a folder')
  root = tmp_path / 'runs'

  def start(name):
    words = ['--what=all', '--preset=smoke', f'--root={root}']
    with open(tmp_path / name, 'w') as log:
      return subprocess.Popen(
        [sys.executable, '-m', 'experiments.reproduce', *words],
        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
      )  # fmt: skip

  def ended():
    return sum('seconds' in about for about in journal.read(root).values())

  first, second = start('first'), start('second')
  while ended() < 10:
    assert second.poll() is None, (tmp_path / 'second').read_text()
    time.sleep(0.1)
  first.kill()
  assert first.wait() == -9
  again = start('again')
  for process, name in ((second, 'second'), (again, 'again')):
    assert process.wait() == 0, (tmp_path / name).read_text()
  jobs = {
    job
    for pair in reproduce.chosen(['all'], [], 'smoke')
    for job in catalogue.jobs(*pair, 'smoke')
  }
  assert ended() == len(jobs) >= 30
  assert (root / 'tables' / 'table1_mnist.html').is_file()
  assert (root / 'index.html').is_file()


def test_the_papers_preset_is_refused_without_an_accelerator():
  with pytest.raises(ValueError, match='--preset=paper needs a GPU or TPU'):
    reproduce.check_device('paper', 'cpu')
  for preset, platform in [('small', 'cpu'), ('paper', 'tpu')]:
    reproduce.check_device(preset, platform)

"""What the page of a sweep says of its runs, from the results they left."""

from experiments.sweeping import sweep_report
from experiments.sweeping.jobs import Progress
from experiments.sweeping.sweeps import Run
from rdefense import files

EPS = 0.1
DONE = Progress('done')


def a_run(folder, seed, percent, split='test'):
  """A run whose attacked accuracy is missing where `percent` is None."""
  tally = {'correct': 1, 'total': 2, 'percent': percent, 'low': 0, 'high': 100}
  conditions = {'clean': tally | {'percent': 90.0, 'eps': 0.0}}
  if percent is not None:
    conditions[f'eps{EPS}/pgd'] = tally | {'eps': EPS}
  results = {
    'config': {'threat': {'eps': EPS}, 'data': {'judged_on': split}},
    'settings': {'adv': {'conditions': conditions}},
  }
  name = f'seed={seed}'
  files.write_json(folder / name / 'results.json', results)
  return Run(name, {'seed': seed}, {}, str(folder / name), ())


def page(folder, runs):
  progress = {run.name: DONE for run in runs}
  sweep_report.write_sweep(folder, 'Sweep', 'command', runs, progress)
  return (folder / 'sweep.md').read_text()


def test_a_mean_says_of_how_few_it_is(tmp_path):
  found = enumerate((50.0, None, 60.0, None))
  text = page(tmp_path, [a_run(tmp_path, *each) for each in found])
  assert '| 4 seeds | 90.00 ± 0.00 | 55.00 ± 7.07 (2 seeds) |' in text


def test_images_are_called_what_they_are(tmp_path):
  runs = [a_run(tmp_path, seed, 50.0, 'train') for seed in (0, 1)]
  assert 'Percent of training images, with exact' in page(tmp_path, runs)
  runs.append(a_run(tmp_path, 2, 50.0, 'test'))
  assert 'Percent of training images or test images, with' in (
    page(tmp_path, runs)
  )

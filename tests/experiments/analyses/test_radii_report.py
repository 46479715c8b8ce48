"""What the report of robust radii says, against the rows it is made of."""

import numpy as np

from experiments.analyses import radii_report

# Of five images the last is wrong, and one withstands every attack.
ROWS = {
  'radius/certified': np.array([0.1, 0.0125, 0.25, 0.4, -np.inf]),
  'radius/fooled': np.array([0.1125, 0.05, 0.275, np.inf, 0.0]),
}


def test_the_report_shows_what_the_rows_say(tmp_path):
  results = radii_report.summary(ROWS, 0.4) | {
    'setting': 'toy',
    'attack': 'mi_fgsm',
    'num_steps': 5,
    'max_nodes': 5,
    'bounds': 'tables',
    'config': {'data': {'judged_on': 'train'}},
  }
  proved, fooled = ROWS['radius/certified'], ROWS['radius/fooled']
  assert len(results['shares']) == 9
  for eps, about in results['shares'].items():
    eps = float(eps)  # printed to six digits, of radii 1/80 apart
    assert about['certified']['correct'] == sum(proved >= eps - 1e-6)
    assert about['no_attack_known']['correct'] == sum(fooled > eps + 1e-6)
    assert about['certified']['correct'] <= about['no_attack_known']['correct']
  assert results['shares']['0']['certified']['correct'] == len(fooled) - 1
  page = radii_report.write_report(tmp_path, ROWS, results)
  text = page.with_suffix('.md').read_text()
  assert 'Median of the largest radius certified' in text
  assert 'bounded by tables' in text
  assert '5 training images; each radius is bisected from 0.4' in text
  assert '| 0.2 |' in text and (tmp_path / 'radii.png').is_file()

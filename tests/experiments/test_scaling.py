"""Work a device on a tiny network; the page against sums made here."""

import json
from pathlib import Path
import re

from absl import flags
from absl.testing import flagsaver
import jax
import jax.numpy as jnp
import optax
import pytest

from configs.devices import CHIPS, PRICES
from experiments import costs, publish, scale_page, scaling, workload
from rdefense.attacks import recipes
from rdefense.defenses import nearest_code
from rdefense.models import Classifier

SHAPE, WIDTH, NUM_CLASSES = (12, 12, 1), 16, 3
(RECIPE,) = recipes.paper_a(3, 0.1)


@pytest.fixture(autouse=True)
def parsed_flags():
  with flagsaver.flagsaver():
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['scaling'])
    yield


def init(key, x):
  del x
  key, other = jax.random.split(key)
  return {
    'kernel': jax.random.normal(key, (5, 5, 1, WIDTH)),
    'matrix': jax.random.normal(other, (WIDTH, NUM_CLASSES)),
  }


def apply(params, x):
  x = jax.lax.conv_general_dilated(
    x[None], params['kernel'], (1, 1), 'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return jnp.tanh(x).mean((0, 1, 2)) @ params['matrix']


TINY = scaling.Subject(
  Classifier(init, apply, NUM_CLASSES),
  lambda codes, alpha: nearest_code(codes, alpha),
  (2, 1), SHAPE, RECIPE, optax.adam(1e-3),
)  # fmt: skip
PARAMETERS = 5 * 5 * WIDTH + WIDTH * NUM_CLASSES


@pytest.fixture(scope='module')
def found():
  return scaling.on_devices(TINY, counts=(1, 8), rows=16)


@pytest.mark.parametrize(
  'program', ['attack_step', 'attack_scan', 'judge', 'training_update']
)
def test_work_a_device_does_not_grow_with_devices(found, program):
  (alone, silent), (shared, sent) = found[program].values()
  assert alone.flops > 0 and silent == (0, 0)
  assert shared.flops == pytest.approx(alone.flops, rel=0.01)
  assert shared.bytes < 1.01 * alone.bytes
  # Only training adds something up: gradients, and two metrics.
  expected = 4 * (PARAMETERS + 2) if program == 'training_update' else 0
  assert sent.bytes == expected
  assert (sent.instructions > 0) == (expected > 0)


def test_only_the_host_moves_rows_between_devices(found):
  (_, silent), (_, sent) = found['compaction'].values()
  assert silent.instructions == 0 < sent.instructions


def test_work_an_image_is_that_of_its_products():
  """2 x 5 x 5 x 12 x 12 x width operations, less those with the padding."""
  works = scaling.of_network(TINY, rows=4, batch_size=4)
  taps = 5 * 12 - 6  # of all windows along one axis, inside the image
  forward = 2 * (taps**2 * WIDTH + WIDTH * NUM_CLASSES)
  # What is not a product: tanh, the mean, codes, the margin.
  assert forward < works['forward'].flops < 1.3 * forward
  assert 2 * forward < works['gradient'].flops < 2 * 1.3 * forward
  assert works['update'].flops > 1.9 * forward


def fake_results():
  """A Gflop and a MB for everything, but for what tells parts apart."""
  results = {}
  for case in scaling.cases():
    start = f'network/{case.name}'
    results[f'{start}/parameters'] = 1e6
    for word in ('plain', case.defense):
      for program in ('gradient', 'forward', 'update'):
        results[f'{start}/{word}/{program}_flops'] = 1e9
        results[f'{start}/{word}/{program}_bytes'] = 1e6
    for name in ('collectives', 'collective_bytes', 'bytes_over_parameters'):
      results[f'training/{case.name}/{name}'] = 1.0
  for name in ('attack_step', 'attack_scan', 'judge', 'training_update'):
    for unit in ('flops', 'bytes'):
      results[f'devices/{name}/{unit}_1'] = 1e6
      for count in (2, 4, 8):
        results[f'devices/{name}/{unit}_{count}_over_1'] = 1.0
    results[f'devices/{name}/collectives_8'] = 0.0
  results['devices/compaction/collectives_8'] = 12.0
  about = {'device': 'cpu', 'date': '2026-01-01'}
  return {f'scaling/{k}': {'value': v} for k, v in results.items()} | {
    'benchmark/cpu_image_steps_per_second': {'value': 1000.0} | about,
    'benchmark/matmul_gflops': {'value': 100.0} | about,
    'benchmark/gradient_over_matmul': {'value': 0.6},
  }


def test_the_page_does_the_arithmetic_it_shows():
  text = scale_page.page(fake_results())
  row = next(
    line for line in text.splitlines()
    if 'MobileNetV2' in line and 'published attacks' in line
  )
  gradients = 50_000 * 11 * 100
  chip, price = CHIPS['H100'], PRICES['H100']
  hours = [
    gradients * 1e9 / (share * chip.peak['default']) / 3600
    for share in (0.5, 0.3)
  ]
  assert gradients * 1e6 / chip.bandwidth < hours[0] * 3600  # not the bound
  ends = '–'.join(f'{h:.2g}' for h in hours)
  paid = '–'.join(f'{h * price:.2g}' for h in hours)
  assert f'| {ends} h, ${paid} |' in row
  assert '| 55 P' in row
  assert '`paper_b` | 10 × 100 × 1 | 1,000 | 1,100 |' in text
  assert '40 × 1 × 1 | 40 | 41 |' in text
  for chip in CHIPS:
    assert f'| {chip} |' in text


def test_more_chips_take_less_time_and_cost_the_same():
  part = workload.Part('published attacks', 'mnist_cnn', 'gradient', False, 10)
  results = fake_results()
  (eight, paid), (many, same) = (
    scale_page.seconds([part], results, machine, 0.5)
    for machine in ('TPU v5e-8', 'TPU v5e-256')
  )
  assert eight == pytest.approx(32 * many) and paid == pytest.approx(same)
  work = scale_page.needed(part, results)
  assert work == costs.Work(1e10, 1e7)


def test_a_figure_that_is_missing_is_told():
  results = fake_results()
  del results['scaling/network/mobilenet_v2/rand_mix/gradient_flops']
  with pytest.raises(ValueError, match='rand_mix/gradient_flops.*--publish'):
    scale_page.page(results)


def test_what_is_measured_is_published_and_printed(
  tmp_path, monkeypatch, capsys
):
  path = tmp_path / 'docs' / 'results.json'
  path.parent.mkdir()
  path.write_text(json.dumps({}))
  figures = {
    key.removeprefix('scaling/'): scaling.Figure(fields['value'], 'things')
    for key, fields in fake_results().items() if key.startswith('scaling/')
  }
  benchmarks = {
    key: publish.Entry(
      fields['value'], None, None, None, 'full', 'c', 'f', 'cpu', 'today', ''
    )
    for key, fields in fake_results().items() if key.startswith('benchmark/')
  }  # fmt: skip
  monkeypatch.setattr(publish, 'RESULTS', path)
  monkeypatch.setattr(scaling, 'measure', lambda chosen: figures)
  publish.publish(path, benchmarks)
  with flagsaver.flagsaver(publish=True):
    scaling.main(['scaling'])
  page = path.with_name('scale.md').read_text()
  assert page == scale_page.page(json.loads(path.read_text()))
  shown = capsys.readouterr().out
  assert re.search(r'network/mnist_cnn/parameters +1e\+06 things', shown)
  path.with_name('scale.md').unlink()
  with flagsaver.flagsaver(page=True):
    scaling.main(['scaling'])
  assert path.with_name('scale.md').read_text() == page


def test_the_page_in_docs_is_that_of_the_results_there():
  """Whoever edits a price, or merges results, prints the page again."""
  docs = Path(__file__).parents[2] / 'docs'
  results = json.loads((docs / 'results.json').read_text())
  assert (docs / 'scale.md').read_text() == scale_page.page(results)

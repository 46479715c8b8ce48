"""The page of costs against sums made here."""

import json
from pathlib import Path

import pytest

from configs.devices import CHIPS, PRICES
from experiments.scale import page
from tests.experiments.scale.fakes import fake_results


def test_the_page_does_the_arithmetic_it_shows():
  text = page.page(fake_results())
  row = next(
    line
    for line in text.splitlines()
    if 'MobileNetV2' in line and 'published attacks' in line
  )
  gradients = 50_000 * 11 * 100
  chip, price = CHIPS['H100'], PRICES['H100']
  hours = [
    gradients * 1e9 / (share * chip.peak['highest']) / 3600
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


def test_a_figure_that_is_missing_is_told():
  results = fake_results()
  del results['scaling/network/mobilenet_v2/rand_mix/gradient_flops']
  with pytest.raises(ValueError, match='rand_mix/gradient_flops.*--publish'):
    page.page(results)


def test_the_page_in_docs_is_that_of_the_results_there():
  """Whoever edits a price, or merges results, prints the page again."""
  docs = Path(__file__).parents[3] / 'docs'
  results = json.loads((docs / 'results.json').read_text())
  assert (docs / 'scale.md').read_text() == page.page(results)

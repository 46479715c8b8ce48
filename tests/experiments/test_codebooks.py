"""The figures on codebooks, on data small enough to know the answer."""

import json
import re

import numpy as np
import pytest

from experiments import codebooks, publish
from rdefense.defenses.colors import colors_from_histogram, pixel_units


@pytest.fixture
def grey():
  return colors_from_histogram(
    np.uint8([[0], [1], [128], [252], [253]]), [50, 5, 8, 10, 20]
  )


@pytest.fixture
def colours():
  rng = np.random.default_rng(0)
  values = rng.integers(0, 256, (400, 3), dtype=np.uint8)
  return colors_from_histogram(values, rng.integers(1, 9, 400))


def values(figures):
  return {key: figure.value for key, figure in figures.items()}


def test_a_code_that_is_not_found_is_minus_one(grey):
  assert values(codebooks.codes_by_radius(grey, 0.3, (0, 253, 128))) == {
    'density/r0.3/code1': 0,
    'density/r0.3/code2': 253,
    'density/r0.3/code3': 128,
  }
  found = codebooks.codes_by_radius(grey, 0.6, (0, 253, None))
  assert found['density/r0.6/code3'] == (-1, 'none, as -1', 'of 255')


def test_levels_are_counted(grey):
  assert values(codebooks.level_counts(grey, {253: 9, 7: 1})) == {
    'pixels/253': 20,
    'pixels/7': 0,
  }


def test_two_medoids_reach_the_optimum(grey):
  found = values(codebooks.two_medoids(grey, 253))
  assert found['medoids/k2/code2'] == 253
  assert found['medoids/k2/cost_over_optimum'] == 1.0


def test_snapped_codes_are_distinct_pixels(grey):
  codes = np.array([[0.001], [0.002], [0.49]])
  np.testing.assert_array_equal(
    codebooks.snapped(grey, codes), pixel_units([[0], [1], [128]])
  )
  same = np.array([[0.5], [0.51]])
  np.testing.assert_array_equal(
    codebooks.snapped(grey, same), pixel_units([[128]])
  )


def test_many_codes_beat_snapped_means(colours):
  found = values(codebooks.many_codes(colours, 12))
  assert found['k12/medoids/cost_over_means'] <= 1
  assert 0 < found['k12/medoids/mean_cost'] < 0.5


def test_histogram_reads_what_steps_say(tmp_path, colours):
  packed = (colours.values.astype(int) * [65536, 256, 1]).sum(1)
  np.savez(
    tmp_path / 'c.npz', step=np.diff(packed, prepend=0), count=colours.counts
  )
  read = codebooks.histogram(tmp_path / 'c.npz')
  np.testing.assert_array_equal(read.values, colours.values)
  np.testing.assert_array_equal(read.counts, colours.counts)


def test_absent_data_are_passed_over(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  assert codebooks.measure(tmp_path / 'none.npz') == {}
  said = capsys.readouterr().out
  for name in ('mnist', 'fashion_mnist', 'cifar10'):
    assert re.search(rf'^{name} is passed over', said, re.M)


def test_figures_can_be_published(tmp_path, grey):
  figures = codebooks.level_counts(grey, {253: 9})
  publish.publish(tmp_path / 'r.json', codebooks.entries(figures))
  stored = json.loads((tmp_path / 'r.json').read_text())
  entry = stored['codebooks/pixels/253']
  assert (entry['value'], entry['target']) == (20, '9')

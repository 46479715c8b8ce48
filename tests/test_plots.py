"""Figures say what the records say, and refuse what they cannot draw."""

import io
from pathlib import Path
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from rdefense import counting, plots
from rdefense.plots import curves, style, training

CURVES = {
  'nat_pre': [
    (0.3, counting.tally(np.arange(50) < 1)),
    (0.0, counting.tally(np.arange(50) < 49)),
  ],
  'adv_pre': [
    (0.0, counting.tally(np.arange(50) < 48)),
    (0.3, counting.tally(np.arange(50) < 46)),
  ],
  'disc_adv_pre': [
    (0.0, counting.tally(np.arange(50) < 48)),
    (0.3, counting.tally(np.arange(50) < 46)),
  ],
}


def texts(figure):
  return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_curves_show_accuracy_and_the_exact_interval():
  (axes,) = plots.accuracy_curves(CURVES).axes
  lines = [
    line
    for line in axes.lines
    if len(line.get_xdata()) == 2 and line.get_marker() in style.MARKERS
  ]
  assert len(lines) == len(CURVES)
  for line, points in zip(lines, CURVES.values(), strict=True):
    expected = sorted((eps, tally.percent) for eps, tally in points)
    np.testing.assert_allclose(line.get_xydata(), expected)
  low, high = axes.get_ylim()
  assert low == 0 and 100 <= high <= 102, 'a cut axis exaggerates'
  first, *_ = axes.collections
  heights = first.get_paths()[0].vertices[:, 1]
  tally = CURVES['nat_pre'][0][1]
  assert tally.low in heights and tally.high in heights


def test_curves_are_labelled_where_they_end_without_overlap():
  figure = plots.accuracy_curves(CURVES)
  labels = figure.axes[0].texts
  assert {label.get_text() for label in labels} == {
    'nat_pre  2.0%',
    'adv_pre  92.0%',
    'disc_adv_pre  92.0%',
  }
  heights = sorted(label.xyann[1] for label in labels)
  assert min(np.diff(heights)) >= 6


@settings(max_examples=60)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_labels_keep_their_distance_their_order_and_the_axes(heights):
  heights = sorted(heights)
  spread = curves._spread(heights, gap=6.5, low=1, high=99)
  assert np.all(np.diff(spread) >= 6.5 - 1e-9)
  assert spread.min() >= 1 - 1e-9 and spread.max() <= 99 + 1e-9
  inside = np.clip(heights, 1, 99)
  if np.all(np.diff(inside) >= 6.5):
    np.testing.assert_allclose(spread, inside, atol=1e-9)


@pytest.mark.parametrize('count', [3, 9])
def test_radii_are_printed_in_their_unit(count):
  tally = counting.tally(np.array([True, False]))
  points = [(i / 255, tally) for i in range(count)]
  figure = plots.accuracy_curves({'adv_pre': points}, unit=255)
  plots.encode_png(figure, dpi=30)
  (axes,) = figure.axes
  assert '[0, 255]' in axes.get_xlabel()
  shown = [label.get_text() for label in axes.get_xticklabels()]
  assert {'0', '2'} <= set(shown), shown


def test_more_curves_than_colours_are_drawn():
  tally = counting.tally(np.array([True, False]))
  curves = {f's{i}': [(0.0, tally), (0.1, tally)] for i in range(20)}
  assert len(texts(plots.accuracy_curves(curves))) == 20


def test_names_fit_beside_a_single_radius():
  """Warnings are errors: so is one that there is no room for the axes."""
  tally = counting.tally(np.array([True, False]))
  curves = {f'disc_adv_pre: {n}': [(0.25, tally)] for n in ('proved', 'bound')}
  assert plots.encode_png(plots.accuracy_curves(curves), dpi=50)


@pytest.mark.parametrize('curves', [{}, {'adv_pre': []}])
def test_curves_without_points_are_refused(curves):
  with pytest.raises(ValueError, match='point'):
    plots.accuracy_curves(curves)


def test_costs_are_drawn_on_a_logarithmic_axis():
  curves = {'tables': [(4, 0.1), (8, 0.2)], 'plain': [(4, 1.0), (8, 16.0)]}
  (axes,) = plots.costs(curves, 'Cost', 'pixels', 'seconds').axes
  assert axes.get_yscale() == 'log'
  drawn = [line.get_xydata().tolist() for line in axes.lines]
  assert drawn == [[list(p) for p in points] for points in curves.values()]
  assert {text.get_text() for text in axes.texts} == {*curves}


@pytest.mark.parametrize(
  'curves, words',
  [({}, 'point'), ({'a': []}, 'point'), ({'a': [(1, 0.0)]}, "'a'.*above 0")],
)
def test_costs_without_a_logarithm_are_refused(curves, words):
  with pytest.raises(ValueError, match=words):
    plots.costs(curves, 'Cost', 'pixels', 'seconds')


@pytest.mark.parametrize('channels', [1, 3])
def test_strip_shows_each_image_and_colours_right_and_wrong(channels):
  rng = np.random.default_rng(0)
  images = rng.random((3, 8, 8, channels), np.float32)
  captions = [plots.Caption('7', True), plots.Caption('1', False), None]
  figure = plots.image_strip(
    [('clean', images), ('attacked and discretized', images)],
    [captions, [None] * 3],
  )
  assert len(figure.axes) == 6
  shown = np.asarray(figure.axes[1].images[0].get_array())
  np.testing.assert_array_equal(
    shown, images[1, ..., 0] if channels == 1 else images[1]
  )
  assert figure.axes[0].images[0].get_clim() == (0, 1)
  words = texts(figure)
  assert '✓ 7' in words and '✗ 1' in words, 'not by colour alone'
  (right,) = [t for t in figure.axes[0].texts if '7' in t.get_text()]
  (wrong,) = [t for t in figure.axes[1].texts if '1' in t.get_text()]
  assert right.get_color() != wrong.get_color()
  numpy_true = plots.Caption('7', np.bool_(True))
  assert '✓ 7' in texts(plots.image_strip([('x', images[:1])], [[numpy_true]]))


@pytest.mark.parametrize(
  'rows, captions, word',
  [
    ([], [], 'images'),
    ([('a', np.zeros((0, 8, 8, 1)))], [], 'images'),
    (
      [('a', np.zeros((2, 8, 8, 1))), ('b', np.zeros((3, 8, 8, 1)))],
      [],
      'same',
    ),
    ([('a', np.zeros((2, 8, 8, 1)))], [[None]], 'captions'),
    ([('a', np.zeros((2, 8, 8)))], [], "'a'"),
    ([('a', np.full((2, 8, 8, 1), 255.0))], [], 'divide by 255'),
    ([('a', np.full((2, 8, 8, 1), np.nan))], [], 'span'),
  ],
)
def test_bad_strips_are_refused(rows, captions, word):
  with pytest.raises(ValueError, match=word):
    plots.image_strip(rows, captions)


def test_training_curves_have_a_panel_a_measured_quantity():
  metrics = [
    {'step': s, 'loss': 1 / (1 + s), 'accuracy': min(1, s / 50), 'eps': s / 100}
    for s in range(100)
  ] + [{'event': 'saved'}, {'step': 100, 'loss': None}]
  figure = plots.training_curves(metrics)
  assert len(figure.axes) == 3
  raw = figure.axes[1].lines[0].get_xydata()
  np.testing.assert_allclose(raw[:3], [[0, 0], [1, 2], [2, 4]])
  constant = [{'step': s, 'accuracy': 0.5, 'eps': 0.3} for s in range(3)]
  (axes,) = plots.training_curves(constant).axes
  assert 'last 50%' in axes.get_title(loc='left')
  with pytest.raises(ValueError, match='empty'):
    plots.training_curves([{'loss': 1.0}])


@settings(max_examples=30)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=130))
def test_running_mean_is_the_mean_of_a_centred_window(values):
  reach = len(values) // 40
  expected = [
    np.mean(values[max(0, i - reach) : i + reach + 1])
    for i in range(len(values))
  ]
  np.testing.assert_allclose(
    training._running_mean(np.array(values)), expected, atol=1e-8
  )


def test_decisions_are_stacked_to_the_top_and_large_ones_named():
  shares = [(0.1, (90.0, 1.0, 9.0)), (0.3, (60.0, 30.0, 10.0))]
  names = ('certified', 'undecided', 'refuted')
  figure = plots.decisions(shares, names, 'decided')
  (axes,) = figure.axes
  tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
  assert sorted(tops)[-2:] == [100.0, 100.0]
  told = {text.get_text() for text in axes.texts}
  assert told == {'90.0%', '9.0%', '60.0%', '30.0%', '10.0%'}
  assert [t.get_text() for t in axes.get_xticklabels()] == ['0.1', '0.3']


def test_size_curves_show_shares_intervals_and_the_promise():
  curves = {
    name: [(10 * (1 + eps), tally) for eps, tally in points]
    for name, points in CURVES.items()
  }
  figure = plots.size_curves(curves, 'found', 'images', (95, 11))
  (axes,) = figure.axes
  assert axes.get_xscale() == 'log' and axes.get_ylim() == (0, 101)
  assert [t.get_text() for t in axes.get_xticklabels()] == ['10', '13']
  shown = [bars.lines[0].get_xydata() for bars in axes.containers]
  for got, points in zip(shown, curves.values(), strict=True):
    np.testing.assert_allclose(
      got, sorted((size, tally.percent) for size, tally in points)
    )
  (_, _, (bars,)) = axes.containers[0].lines
  ends = [segment[:, 1] for segment in bars.get_segments()]
  tallies = [tally for _, tally in sorted(curves['nat_pre'])]
  np.testing.assert_allclose(ends, [(t.low, t.high) for t in tallies])
  (promise,) = [c for c in axes.collections if c is not bars and c.get_label()
                .startswith('promised')]  # fmt: skip
  corners = promise.get_paths()[0].vertices
  assert corners[:, 0].min() == 11 and corners[:, 1].min() == 95
  paper = {'nat_pre': [(20.0, 70.0), (10.0, 99.0)]}
  (axes,) = plots.size_curves(curves, 'found', 'k', printed=paper).axes
  dotted = [line for line in axes.lines if line.get_linestyle() == ':']
  assert [[10, 99], [20, 70]] in [line.get_xydata().tolist() for line in dotted]
  assert 'as printed' in [t.get_text() for t in axes.get_legend().get_texts()]
  with pytest.raises(ValueError, match='at least one point'):
    plots.size_curves({'a': []}, 'found', 'images')


def test_png_is_readable_and_the_same_each_time():
  curves = {
    name: points for name, points in CURVES.items() if name == 'nat_pre'
  }
  png = plots.encode_png(plots.accuracy_curves(curves), dpi=50)
  assert png == plots.encode_png(plots.accuracy_curves(curves), dpi=50)
  image = Image.open(io.BytesIO(png))
  image.load()
  assert image.size == (360, 210)


def test_drawing_touches_no_global_state():
  # In another process, as other tests here may have imported pyplot.
  script = (
    'import sys\n'
    'from rdefense import plots\n'
    'metrics = [{"step": 0, "loss": 1.0}]\n'
    'plots.encode_png(plots.training_curves(metrics), dpi=30)\n'
    'assert "matplotlib.pyplot" not in sys.modules\n'
  )
  root = Path(__file__).parents[1]
  subprocess.run([sys.executable, '-c', script], check=True, cwd=root)

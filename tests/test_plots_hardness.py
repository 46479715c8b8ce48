"""Pictures of hardness show the numbers they are given."""

import numpy as np
import pytest

from rdefense import plots

SIZES = np.array([5, 1, 1000])
COLORS = np.uint8([[0, 0, 0], [9, 9, 200], [255, 255, 255]])


def test_distributions_step_where_values_lie():
  curves = {'a': ([0.1, 0.3], [0.25, 1.0]), 'b': ([0.2], [1.0])}
  (axes,) = plots.distributions(curves, {'paper': 0.27}, 'title').axes
  first = next(line for line in axes.lines if line.get_label() == 'a')
  assert first.get_xdata().tolist() == [0.1, 0.1, 0.3]
  assert first.get_ydata().tolist() == [0, 25, 100]
  mark = next(line for line in axes.lines if line.get_label() == 'paper: 0.27')
  assert (mark.get_xdata(), mark.get_ydata()) == ([0.27], [50])
  looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:2]}
  assert len(looks) == 2
  with pytest.raises(ValueError, match='at least one point'):
    plots.distributions({'a': ([], [])}, {}, 'title')


def test_cubes_show_each_colour_with_its_size():
  panels = {'size': (COLORS, SIZES), 'logarithm': (COLORS, SIZES)}
  figure = plots.color_cube(panels, 2000, 'title')
  left, right = (axes for axes in figure.axes if axes.name == '3d')
  for axes in (left, right):
    (shown,) = axes.collections
    assert shown.get_array().tolist() == [1, 5, 1000]
    assert shown.get_clim()[1] == 2000
  assert left.collections[0].get_clim()[0] == 0
  assert right.collections[0].get_clim()[0] == 1  # of a logarithm
  with pytest.raises(ValueError, match='one size a colour'):
    plots.color_cube({'a': (COLORS, SIZES[:2])}, 9, 'title')


def test_levels_leave_out_what_does_not_occur():
  counts = np.zeros(256, int)
  counts[[3, 9]] = 7, 100
  (axes,) = plots.levels({'red': counts}, 'title', 'pixels').axes
  drawn = axes.lines[0].get_ydata()
  assert np.flatnonzero(~np.isnan(drawn)).tolist() == [3, 9]
  assert drawn[9] == 100 and axes.get_yscale() == 'log'
  with pytest.raises(ValueError, match='not all 0'):
    plots.levels({'red': np.zeros(256)}, 'title', 'pixels')

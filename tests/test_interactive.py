"""Pages of Plotly: they hold the points and load nothing."""

import re

import numpy as np
import pytest

from rdefense import interactive

COLORS = np.uint8([[0, 0, 0], [9, 8, 200]])
SIZES = np.array([5, 1234])


def test_pages_hold_the_points_and_load_nothing():
  pytest.importorskip('plotly')
  page = interactive.color_cube(COLORS, SIZES, 'a title')
  assert page == interactive.color_cube(COLORS, SIZES, 'a title')
  assert 'rgb(9,8,200)' in page and 'a title' in page
  assert 'Scatter3d' in page or 'scatter3d' in page
  assert not re.findall(r'<(?:script|link)[^>]*(?:src|href)=', page)


@pytest.mark.parametrize(
  'sizes, words', [(SIZES[:1], 'one size a colour'), (None, 'pip install')]
)
def test_what_cannot_be_drawn_is_refused(sizes, words, monkeypatch):
  if sizes is None:
    monkeypatch.setattr(interactive, 'available', lambda: False)
  else:
    pytest.importorskip('plotly')
  with pytest.raises(ValueError, match=words):
    interactive.color_cube(COLORS, sizes, 'a title')

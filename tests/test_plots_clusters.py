"""Paper B's Figure 1: its panels and what it refuses."""

import numpy as np
import pytest

from rdefense import plots


def view(title='clean', **changes):
  rng = np.random.default_rng(0)
  return plots.ClusterView(
    title, rng.random((8, 8, 3)), rng.normal(size=(8, 8, 3)),
    rng.normal(size=(64, 2)), rng.integers(0, 9, 64),
    rng.normal(size=(9, 2)), rng.normal(size=(9, 3)),
  )._replace(**changes)  # fmt: skip


def test_a_row_has_image_plane_and_transformed_image_on_one_scale():
  far = view('noisy', plane=np.full((64, 2), 90.0))
  figure = plots.color_clusters([view(), far], 'Demo')
  assert len(figure.axes) == 6
  planes = figure.axes[1::3]
  assert planes[0].get_xlim() == planes[1].get_xlim()
  assert planes[0].get_xlim()[1] > 90
  titles = [axes.get_title() for axes in figure.axes]
  assert titles[::3] == ['clean', 'noisy']
  assert titles[2] == 'clean, transformed'
  assert plots.encode_png(figure, dpi=40).startswith(b'\x89PNG')


def test_each_centre_is_ringed_in_the_colour_of_its_cluster():
  one = view(member=np.zeros(64, int), centers=np.zeros((1, 2)),
             colors=np.full((1, 3), 0.25))  # fmt: skip
  plane = plots.color_clusters([one], 'Demo').axes[1]
  ring = plane.lines[1]
  assert tuple(ring.get_color()) == (0.25,) * 3
  tint = plane.collections[0].get_facecolor()[0, :3]
  edge = tuple(int(ring.get_markeredgecolor()[i : i + 2], 16) / 255
               for i in (1, 3, 5))  # fmt: skip
  np.testing.assert_allclose(tint, edge, atol=1e-6)


@pytest.mark.parametrize(
  'views',
  [
    [],
    [view(member=np.zeros(3, int))],
    [view(member=np.full(64, 9))],
    [view(member=np.full(64, -1))],
  ],
)
def test_views_that_do_not_fit_are_refused(views):
  with pytest.raises(ValueError, match='color_clusters needs|do not fit'):
    plots.color_clusters(views, 'Demo')

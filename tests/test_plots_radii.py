"""The picture of robust radii: its curves are shares of images."""

import numpy as np
import pytest

from rdefense import plots

CERTIFIED = np.array([-np.inf, 0.0, 0.1, 0.1, 0.3])
FOOLED = np.array([0.0, 0.1, 0.2, np.inf, 0.4])


def test_curves_are_the_shares_of_images():
  above, below = plots.radii(CERTIFIED, FOOLED, 0.4, 'Demo').axes
  standing, proved = (line.get_xydata() for line in above.lines)
  assert standing[0].tolist() == [0, 80] and standing[-1].tolist() == [0.4, 20]
  for eps, share in standing:
    assert share == 100 * np.mean(FOOLED > eps)
  for eps, share in proved:
    assert share == 100 * np.mean(CERTIFIED >= eps)
  heights = [sum(bar.get_height() for bar in bars) for bars in below.containers]
  assert heights == [5, 5]
  last = [bars[-1].get_height() for bars in below.containers]
  assert last == [2, 0]  # fooled at the very end of the range, and never


def test_without_a_certificate_there_is_one_curve():
  above, below = plots.radii(None, FOOLED, 0.4, 'Demo').axes
  assert len(above.lines) == 1 and not above.collections
  assert plots.encode_png(above.figure, dpi=40).startswith(b'\x89PNG')


@pytest.mark.parametrize('certified, fooled', [(None, []), ([0.1], [0.2, 0.3])])
def test_radii_that_do_not_fit_are_refused(certified, fooled):
  with pytest.raises(ValueError, match='one certified and one fooled'):
    plots.radii(certified, fooled, 0.4, 'Demo')

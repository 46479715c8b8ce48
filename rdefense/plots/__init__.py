"""Records to figures: each function returns a `matplotlib.figure.Figure`.

No pyplot and no global state, so figures can be drawn on any thread, without
a display, and are closed by forgetting them. Colours are Okabe and Ito's, the
light ones darkened for small print: they stay apart under the common forms of
colour blindness. Curves also differ by marker and carry their name where they
end, so that no legend is needed.

>>> import numpy as np
>>> from rdefense.counting import tally
>>> point = tally(np.array([True, True, False]))
>>> png = encode_png(accuracy_curves({'adv_pre': [(0.0, point), (0.3, point)]}))
>>> png[:4]
b'\\x89PNG'

References: Okabe and Ito, Color Universal Design, 2008,
https://jfly.uni-koeln.de/color/
"""

from rdefense.plots.certificates import decisions
from rdefense.plots.clusters import ClusterView, color_clusters
from rdefense.plots.curves import accuracy_curves, costs, size_curves
from rdefense.plots.hardness import color_cube, distributions, levels
from rdefense.plots.radii import radii
from rdefense.plots.strips import Caption, image_strip
from rdefense.plots.style import encode_png
from rdefense.plots.training import training_curves

__all__ = [
  'Caption',
  'ClusterView',
  'accuracy_curves',
  'color_clusters',
  'color_cube',
  'costs',
  'decisions',
  'distributions',
  'encode_png',
  'image_strip',
  'levels',
  'radii',
  'size_curves',
  'training_curves',
]

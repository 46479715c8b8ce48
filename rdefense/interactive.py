"""Pictures to turn round with the mouse: pages that carry all they need.

Plotly is asked for only where such a page is made; it comes with the extra
`interactive`.

References:
  https://plotly.com/python/3d-scatter-plots/
"""

import importlib.util

import numpy as np

__all__ = ['available', 'color_cube']


def available() -> bool:
  """Whether Plotly is installed.

  >>> available() == (importlib.util.find_spec('plotly') is not None)
  True
  """
  return importlib.util.find_spec('plotly') is not None


def color_cube(colors: np.ndarray, sizes: np.ndarray, title: str) -> str:
  """Colours in their cube by the size of their neighbourhood, or as they are.

  Args:
    colors: `[n, 3]` uint8, n at least 1.
    sizes: `[n]`, at least 1.
    title: of the page.

  Returns:
    One HTML page of some 5 MB that loads nothing; equal arguments give equal
    pages.

  Raises:
    ValueError: if Plotly is not installed, or colours and sizes do not match.
  """
  if not available():
    raise ValueError(
      "plotly is not installed, which draws this page: pip install -e '."
      "[interactive]'."
    )
  if colors.shape != (len(sizes), 3) or not len(sizes):
    raise ValueError(
      f'colours have shape {colors.shape} with {len(sizes)} sizes, expected '
      'one size a colour of three channels.'
    )
  import plotly.graph_objects as go

  red, green, blue = np.asarray(colors, np.uint8).T
  sizes = np.asarray(sizes)
  powers = np.arange(int(np.log10(sizes.max())) + 1)
  place = {
    'x': red, 'y': green, 'z': blue, 'mode': 'markers',
    'customdata': sizes,
    'hovertemplate': (
      '(%{x}, %{y}, %{z})<br>%{customdata:,} pixels near<extra></extra>'
    ),
  }  # fmt: skip
  by_size = {
    'size': 2, 'color': np.log10(sizes).astype(np.float32),
    'colorscale': 'Viridis',
    'colorbar': {
      'title': 'pixels near', 'tickvals': powers,
      'ticktext': [f'{10**p:,}' for p in powers.tolist()],
    },
  }  # fmt: skip
  as_they_are = [
    f'rgb({r},{g},{b})'
    for r, g, b in zip(red.tolist(), green.tolist(), blue.tolist())
  ]
  figure = go.Figure(
    [
      go.Scatter3d(**place, marker=by_size),
      go.Scatter3d(
        **place, marker={'size': 2, 'color': as_they_are}, visible=False
      ),
    ]
  )
  buttons = [
    {'label': label, 'method': 'restyle', 'args': ['visible', list(shown)]}
    for label, shown in (
      ('size of the neighbourhood', (True, False)),
      ('own colour', (False, True)),
    )
  ]
  axis = {'range': [0, 255], 'tickvals': [0, 128, 255]}
  figure.update_layout(
    title=title,
    scene={
      f'{name}axis': axis | {'title': channel}
      for name, channel in zip('xyz', ('red', 'green', 'blue'), strict=True)
    },
    updatemenus=[
      {'buttons': buttons, 'type': 'buttons', 'x': 0, 'y': 1, 'xanchor': 'left'}
    ],
    showlegend=False,
  )
  return figure.to_html(include_plotlyjs=True, div_id='color-cube')

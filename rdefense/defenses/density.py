"""Algorithm 1: codes at the densest pixels.

  c_i = argmax_v h(v),  h(v) = sum_p rho(p - v);  then every pixel p with
  ||p - c_i||_inf <= radius goes, and so on with what is left.

>>> images = np.array([0, 0, 0, 254, 253, 253], np.uint8).reshape(1, 2, 3, 1)
>>> book = density(images, num_codes=2, radius=0.3)
>>> np.rint(255 * book.codes).ravel().tolist(), book.counts.tolist()
([0.0, 253.0], [3, 2])

References:
  Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
  Discretization Against Adversarial Attacks, EuroS&P 2019,
  https://arxiv.org/abs/1805.07816, Algorithm 1.
"""

import numpy as np

from rdefense.defenses.codebooks import (
  Codebook,
  check_num_codes,
  make_provenance,
)
from rdefense.defenses.colors import Colors, coerce_colors, pack, pixel_units

__all__ = ['density']

# Below one level, above the rounding of a float32 level (255 * 2**-24).
_LEVEL_TOLERANCE = 1e-4


def density(
  colors: Colors | np.ndarray,
  num_codes: int,
  radius: float,
  kernel: str = 'identity',
  bandwidth: float | None = None,
) -> Codebook:
  """Codes at the densest pixels, each clearing its neighbourhood.

  With P the multiset of pixels not yet removed, repeats
    c = argmax over v in P of h(v),  h(v) = sum over p in P of rho(p - v),
    P <- {p in P : ||p - c||_inf > radius}.
  The l_inf is over channels, the radius inclusive and compared in whole grey
  levels. Ties go to the colour that occurs first. Stops early when no pixel is
  left. Codes are pixels that are left, also where a smooth h would peak between
  pixels: such a code might remove nothing and come out twice.

  Args:
    colors: `Colors`, or images `[N, H, W, C]` uint8.
    num_codes: most codes to pick, at least 2.
    radius: in [0, 1] pixel units, above 0, e.g. 16/255.
    kernel: 'identity' (h is the count: the paper), 'box' (rho is 1 where the
      l_inf is at most `bandwidth`, else 0) or 'gaussian' (rho =
      exp(-||p - v||_2^2 / (2 bandwidth^2))).
    bandwidth: in [0, 1] pixel units, above 0, e.g. 4/255; for 'box' and
      'gaussian'.

  Returns:
    The codebook, in the order of picking; `counts` are the pixels equal to the
    code, and `provenance['densities']` the h of each.

  Raises:
    ValueError: for an argument out of range or an unknown kernel.

  >>> images = np.uint8([10, 10, 12, 200, 200, 200]).reshape(1, 1, 6, 1)
  >>> density(images, 3, radius=2 / 255).counts
  array([3, 2])

  References:
    Chen et al., 2019, https://arxiv.org/abs/1805.07816, Algorithm 1.
  """
  colors = coerce_colors(colors)
  check_num_codes(num_codes)
  if not 0 < radius <= 1:
    raise ValueError(
      f'radius={radius}, expected above 0 and at most 1: divide grey levels by '
      '255'
    )
  smooth = _kernel_matrix(kernel, bandwidth)
  reach = int(255 * float(radius) + _LEVEL_TOLERANCE)
  channels = colors.values.shape[1]
  packed = pack(colors.values)
  # One cell a colour of the cube, so that a neighbourhood is a slice.
  left = np.zeros(256**channels)
  left[packed] = colors.counts
  left = left.reshape((256,) * channels)
  scores = np.where(left > 0, _blur(left, smooth), -np.inf)
  # Maxima by first channel: a round re-reads only the planes that changed.
  planes = scores.reshape(256, -1)
  tops = planes.max(1)
  picked: list[int] = []
  densities: list[float] = []
  while len(picked) < num_codes and (peak := tops.max()) > -np.inf:
    rows = np.concatenate(
      [
        np.searchsorted(
          packed, i * planes.shape[1] + np.flatnonzero(planes[i] == peak)
        )
        for i in np.flatnonzero(tops == peak)
      ]
    )
    row = rows[colors.first[rows].argmin()]
    picked.append(row)
    densities.append(float(peak))
    box = tuple(
      slice(max(v - reach, 0), v + reach + 1)
      for v in colors.values[row].tolist()
    )
    if smooth is not None:
      scores -= _blur(left[box], smooth, box)
    left[box] = 0
    scores[box] = -np.inf
    changed = box[0] if smooth is None else slice(None)
    tops[changed] = planes[changed].max(1)
  return Codebook(
    pixel_units(colors.values[picked]),
    colors.counts[picked],
    make_provenance(
      'density',
      colors,
      num_codes=int(num_codes),
      radius=float(radius),
      kernel=kernel,
      bandwidth=None if bandwidth is None else float(bandwidth),
      densities=densities,
    ),
  )


def _kernel_matrix(kernel: str, bandwidth: float | None) -> np.ndarray | None:
  """rho between all pairs of levels of one channel; None for the identity."""
  if kernel == 'identity':
    if bandwidth is not None:
      raise ValueError(
        f'bandwidth={bandwidth} has no meaning for the identity kernel: leave '
        'it out, or choose box or gaussian'
      )
    return None
  if kernel not in ('box', 'gaussian'):
    raise ValueError(
      f'kernel={kernel!r} is unknown: choose identity, box or gaussian'
    )
  if bandwidth is None or not 0 < bandwidth <= 1:
    raise ValueError(
      f'bandwidth={bandwidth}, expected above 0 and at most 1 for the {kernel} '
      'kernel: divide grey levels by 255'
    )
  levels = 255 * float(bandwidth)
  apart = np.abs(np.subtract.outer(np.arange(256), np.arange(256)))
  if kernel == 'box':
    return (apart <= levels + _LEVEL_TOLERANCE).astype(np.float64)
  return np.exp(-((apart / levels) ** 2) / 2)


def _blur(
  part: np.ndarray,
  smooth: np.ndarray | None,
  box: tuple[slice, ...] | None = None,
) -> np.ndarray:
  """What the counts in a box of the cube add to h, everywhere."""
  if smooth is None:
    return part
  for span in box or (slice(None),) * part.ndim:
    # Contracts the leading axis and appends the result: after a full cycle
    # the axes are in order again.
    part = np.tensordot(part, smooth[:, span], axes=(0, 1))
  return part

"""Input filters beside ART's preprocessors: milliseconds an image, one run.

  python -m experiments.filters_benchmark
  python -m experiments.filters_benchmark --quick

Filters of images of 32x32x3: CIFAR-10's where it is prepared, blurred noise
otherwise. Ours run compiled on a batch, their result copied to the host; the
first call, which compiles, does not count. ART's run as they come, image by
image where they do. The two take turns, and a figure is the median over the
turns of a ratio within one, its interval their quartiles.

JPEG (Pillow behind ART) and thermometer give the same output in both, which
is checked. The total-variation filters are different algorithms at their own
defaults: paper B's twenty gradient steps, and ten iterations of L-BFGS on
each channel of a randomly masked image; that ratio is of time alone.
"""

from collections.abc import Callable
import importlib.util
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter

from experiments.measuring import timing
from experiments.measuring.timing import Figure, take_turns
from experiments.running import program
from rdefense import data
from rdefense.attacks import over_examples
from rdefense.defenses.base import Defense
from rdefense.defenses.discretize import thermometer
from rdefense.defenses.jpeg import jpeg
from rdefense.defenses.total_variation import total_variation

_QUALITY, _NUM_LEVELS = 50, 10  # ART's defaults


class Size(NamedTuple):
  """How much is measured; `slow` images where ART takes long for one."""

  batch: int = 250
  slow: int = 5
  repeats: int = 15


FULL, QUICK = Size(), Size(4, 1, 1)


class Contest(NamedTuple):
  """One filter of ours and its peer.

  Attributes:
    ours: the defense whose `apply` is timed.
    theirs: images `[B, H, W, C]` -> filtered images.
    examples: how many images ART gets a turn.
    same: whether both give the same output, to be checked.
  """

  ours: Defense
  theirs: Callable[[np.ndarray], np.ndarray]
  examples: int
  same: bool


def load_images(count: int) -> np.ndarray:
  """Float32 images `[count, 32, 32, 3]`, a quarter of a grey level off bytes.

  So that ART, which truncates 255 x, and libjpeg's users, who round it, see
  the same bytes, and no pixel is at a level of the thermometer.
  """
  try:
    images = data.load('cifar10', 'test', count=count).images
  except ValueError as error:
    print(f'Blurred noise instead of CIFAR-10: {error}.')
    noise = np.random.default_rng(0).uniform(size=(count, 32, 32, 3))
    blurred = gaussian_filter(noise, (0, 1.5, 1.5, 0))
    low, high = blurred.min(), blurred.max()
    images = np.rint(254 * (blurred - low) / (high - low))
  whole = np.minimum(images, 254).astype(np.float32)
  return (whole + np.float32(0.25)) / np.float32(255)


def contests(size: Size) -> dict[str, Contest]:
  """Our filters and ART's, with the same parameters where both have them."""
  from art.defences import preprocessor as art

  range_ = (0.0, 1.0)
  return {
    'jpeg': Contest(
      jpeg(_QUALITY),
      art_filter(art.JpegCompression(range_, _QUALITY)),
      size.batch,
      True,
    ),
    'total_variation': Contest(
      total_variation(), art_filter(art.TotalVarMin()), size.slow, False
    ),
    'thermometer': Contest(
      thermometer(_NUM_LEVELS),
      art_filter(art.ThermometerEncoding(range_, _NUM_LEVELS)),
      size.slow,
      True,
    ),
  }


def art_filter(preprocessor) -> Callable[[np.ndarray], np.ndarray]:
  """Images -> filtered images, leaving out the labels that ART passes on."""
  return lambda images: preprocessor(images)[0]


def check_same(name: str, theirs: np.ndarray, ours: np.ndarray) -> None:
  """Raises RuntimeError unless two filters' outputs agree to float32."""
  gap = float(np.abs(theirs - ours[: len(theirs)]).max())
  if not gap < 1e-6:
    raise RuntimeError(f"ART's {name} differs from ours by {gap:.2g}.")


def race(name: str, contest: Contest, images: np.ndarray, repeats: int):
  """Milliseconds an image of both, and their ratio: key -> `Figure`."""
  key, index = jax.random.key(0), jnp.arange(len(images))
  run = jax.jit(over_examples(contest.ours.apply))
  ours = lambda: np.asarray(run(key, index, images))
  few = images[: contest.examples]
  theirs = lambda: contest.theirs(few)
  if contest.same:
    check_same(name, theirs(), ours())
  seconds = take_turns({'ours': ours, 'theirs': theirs}, repeats)
  mine = 1e3 * seconds['ours'] / len(images)
  art = 1e3 * seconds['theirs'] / len(few)
  return {
    f'filters/{name}_vs_art': Figure(art / mine, 'at least 20'),
    f'filters/{name}_ms': Figure(mine, '', 'ms', len(images)),
    f'filters/{name}_art_ms': Figure(art, '', 'ms', len(few)),
  }


def measure(size: Size) -> dict[str, Figure]:
  """All figures, by the last part of their keys."""
  if importlib.util.find_spec('art') is None:
    raise ValueError(
      'the peer ART is not installed: pip install -c constraints.txt -e '
      "'.[compare]' adds it."
    )
  images = load_images(size.batch)
  figures: dict[str, Figure] = {}
  for name, contest in contests(size).items():
    figures |= race(name, contest, images, size.repeats)
  return figures


def main(argv):
  """Measures, prints the table, publishes where asked to."""
  del argv
  timing.run(
    lambda quick: measure(QUICK if quick else FULL), 'filters_benchmark'
  )


if __name__ == '__main__':
  program.run(main)

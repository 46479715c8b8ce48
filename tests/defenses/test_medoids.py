"""Codes that minimise a sum of distances, against brute force and SciPy."""

import functools
import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import numpy as np
import pytest
from scipy import spatial
from scipy.spatial import distance

from rdefense.defenses import costs, means, medoids
from rdefense.defenses.colors import (
  colors_from_histogram,
  pixel_units,
)

METRICS = {'l1': 'cityblock', 'l2': 'euclidean', 'linf': 'chebyshev'}


def colors_of(max_size=9, channels=3, top=255):
  return st.integers(4, max_size).flatmap(
    lambda n: st.builds(
      colors_from_histogram,
      hnp.arrays(
        np.uint8,
        (n, channels),
        elements=st.integers(0, top),
        unique=channels == 1,
      ),
      hnp.arrays(np.int64, n, elements=st.integers(1, 20)),
    )
  )


def literal_cost(colors, rows, norm):
  table = distance.cdist(
    colors.values[list(rows)].astype(float),
    colors.values.astype(float),
    METRICS[norm],
  )
  return float(table.min(0) @ colors.counts) / 255


def brute_force(colors, num_codes, norm):
  return min(
    literal_cost(colors, rows, norm)
    for rows in itertools.combinations(range(len(colors.counts)), num_codes)
  )


def rows_of(colors, codebook):
  grey = np.rint(255 * codebook.codes).astype(int).tolist()
  return [colors.values.tolist().index(code) for code in grey]


@given(colors_of(), st.integers(2, 3), st.sampled_from(sorted(METRICS)))
@settings(max_examples=40)
def test_medoids_agree_with_all_subsets(colors, num_codes, norm):
  if len(colors.counts) < num_codes:
    return
  book = medoids.medoids(
    jax.random.key(1), colors, num_codes, norm, num_restarts=12
  )
  best = brute_force(colors, num_codes, norm)
  # Distances are compared in float32 during the search.
  assert book.provenance['cost']['total'] == pytest.approx(best, rel=1e-6)
  assert book.counts.sum() == colors.counts.sum()


@pytest.mark.parametrize('norm', sorted(METRICS))
def test_no_single_swap_lowers_the_cost(norm):
  rng = np.random.default_rng(4)
  colors = colors_from_histogram(
    rng.integers(0, 256, (120, 3), dtype=np.uint8), rng.integers(1, 9, 120)
  )
  book = medoids.medoids(jax.random.key(0), colors, 6, norm)
  rows = rows_of(colors, book)
  total = literal_cost(colors, rows, norm)
  assert book.provenance['cost']['total'] == pytest.approx(total, rel=1e-12)
  for place, row in itertools.product(range(6), range(len(colors.counts))):
    swapped = rows[:place] + [row] + rows[place + 1 :]
    assert literal_cost(colors, swapped, norm) >= total * (1 - 1e-6)


@given(colors_of(max_size=10, channels=1), st.integers(2, 4))
@settings(max_examples=60)
def test_exact_1d_agrees_with_all_subsets(colors, num_codes):
  book = medoids.medoids_exact_1d(colors, num_codes)
  assert book.provenance['cost']['total'] == pytest.approx(
    brute_force(colors, num_codes, 'l1'), rel=1e-12
  )
  assert len(np.unique(book.codes)) == num_codes


@given(colors_of(max_size=60, channels=1), st.integers(2, 4))
@settings(max_examples=30)
def test_medoids_never_beat_the_exact_optimum(colors, num_codes):
  exact = medoids.medoids_exact_1d(colors, num_codes)
  book = medoids.medoids(jax.random.key(2), colors, num_codes, num_restarts=3)
  ratio = (book.provenance['cost']['total'] + 1e-9) / (
    exact.provenance['cost']['total'] + 1e-9
  )
  assert 1 - 1e-9 <= ratio < 1.2


@pytest.mark.slow  # decodes 60,000 images
@pytest.mark.parametrize('name, top', [('mnist', 252), ('fashion', 192)])
def test_medoids_of_grey_datasets(request, name, top):
  colors = request.getfixturevalue(name)
  expected = pixel_units([[0], [top]])
  exact = medoids.medoids_exact_1d(colors, 2)
  np.testing.assert_array_equal(exact.codes, expected)
  for seed in range(3):
    book = medoids.medoids(jax.random.key(seed), colors, 2)
    np.testing.assert_array_equal(book.codes, expected)
    assert book.provenance['cost'] == exact.provenance['cost']


@pytest.mark.parametrize('norm', sorted(METRICS))
def test_sampled_search_is_close_to_the_exhaustive_one(blobs, norm):
  whole = medoids.medoids(jax.random.key(0), blobs, 25, norm)
  part = medoids.medoids(
    jax.random.key(0), blobs, 25, norm, num_candidates=200, num_points=400
  )
  assert len(blobs.counts) > 200
  ratio = part.provenance['cost']['total'] / whole.provenance['cost']['total']
  assert ratio < 1.03
  rows = rows_of(blobs, part)
  assert part.provenance['cost']['total'] == pytest.approx(
    literal_cost(blobs, rows, norm), rel=1e-12
  )


def test_medoids_are_a_function_of_the_key_and_the_multiset(blobs):
  images = np.repeat(blobs.values, blobs.counts, axis=0)[None, None]
  shuffled = images[:, :, np.random.default_rng(0).permutation(images.shape[2])]
  for size in (200, 4096):
    books = [
      medoids.medoids(
        jax.random.key(5), colors, 10, num_candidates=size, num_rounds=3
      )
      for colors in (blobs, images, shuffled)
    ]
    for book in books[1:]:
      np.testing.assert_array_equal(book.codes, books[0].codes)
      assert book.provenance == books[0].provenance


@pytest.mark.slow
def test_cifar_medoids_beat_snapped_means(cifar):
  start = time.perf_counter()
  book = medoids.medoids(jax.random.key(0), cifar, 300)
  # The promise is for two cores.
  assert time.perf_counter() - start < 300
  assert book.counts.sum() == 51_200_000
  centres = 255 * means.means(jax.random.key(0), cifar, 300).codes
  near = spatial.cKDTree(cifar.values).query(centres.astype(float))[1]
  snapped = np.unique(cifar.values[near], axis=0)
  rival = costs.cost(cifar, pixel_units(snapped))
  assert book.provenance['cost']['mean'] < rival.mean
  assert book.provenance['cost']['mean'] < 0.0502


@pytest.mark.parametrize(
  'call, match',
  [
    (lambda key, c: medoids.medoids(key, c, 1), 'num_codes=1'),
    (lambda key, c: medoids.medoids(key, c, 5), 'num_codes=5 exceeds the 4'),
    (lambda key, c: medoids.medoids_exact_1d(c, 5), 'num_codes=5 exceeds'),
    (lambda key, c: medoids.medoids(key, c, 2, 'l3'), "norm='l3'"),
    (
      lambda key, c: medoids.medoids(key, c, 2, num_restarts=0),
      'num_restarts=0',
    ),
    (
      lambda key, c: medoids.medoids(key, c, 3, num_candidates=2),
      'num_candidates=2',
    ),
    (lambda key, c: medoids.medoids(0, c, 2), 'jax.random.key'),
    (
      lambda key, c: medoids.medoids(key, c.values[None, None] / 255, 2),
      'pass the uint8 images',
    ),
    (
      lambda key, c: medoids.medoids_exact_1d(
        np.zeros((1, 2, 2, 3), np.uint8) + c.values[:, 0].reshape(2, 2, 1), 2
      ),
      '3 channels',
    ),
  ],
)
def test_bad_input(key, call, match):
  colors = colors_from_histogram(np.uint8([[1], [2], [3], [4]]), [1, 1, 1, 1])
  with pytest.raises(ValueError, match=match):
    call(key, colors)


@pytest.mark.parametrize(
  'fit',
  [
    functools.partial(medoids.medoids, num_candidates=20, num_points=24),
    functools.partial(means.means, num_points=20),
  ],
  ids=['medoids', 'means'],
)
def test_a_sample_has_as_many_colours_as_there_are_codes(fit):
  """Of one that is nearly everywhere and 25 others."""
  rng = np.random.default_rng(0)
  images = np.zeros((4, 32, 32, 3), np.uint8)
  images[0, :5, :5] = rng.integers(0, 256, (5, 5, 3))
  for seed in range(4):
    book = fit(jax.random.key(seed), images, 18)
    assert len(np.unique(book.codes, axis=0)) == 18

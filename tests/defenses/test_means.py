"""Centres of k-means, against averages of what is nearest to them."""

import jax
import numpy as np
import pytest
from scipy.spatial import distance

from rdefense.defenses.colors import colors_from_histogram
from rdefense.defenses.costs import cost
from rdefense.defenses.means import means


@pytest.mark.slow  # decodes 60,000 images
def test_means_of_mnist(mnist):
  book = means(jax.random.key(0), mnist, 2)
  # The published figures have four decimals.
  np.testing.assert_allclose(book.codes[:, 0], [0.0121, 0.8756], atol=5e-5)
  assert book.counts.sum() == 60_000 * 784


def test_means_are_close_to_a_local_optimum(blobs):
  book = means(jax.random.key(0), blobs, 25, num_restarts=3)
  near = distance.cdist(book.codes, blobs.values / 255).argmin(0)
  for code in range(25):
    own = near == code
    # scikit-learn stops once centres move little.
    np.testing.assert_allclose(
      np.average(blobs.values[own] / 255, axis=0, weights=blobs.counts[own]),
      book.codes[code],
      atol=1e-3,
    )
    assert book.counts[code] == blobs.counts[own].sum()


def test_means_on_a_sample_are_costed_on_all(blobs):
  book = means(jax.random.key(0), blobs, 10, num_points=100)
  assert book.counts.sum() == blobs.counts.sum() == 20_000
  assert book.provenance['cost']['total'] == pytest.approx(
    cost(blobs, book.codes, 'l2').total
  )


@pytest.mark.parametrize(
  'options, match',
  [
    ({'num_codes': 1}, 'num_codes=1'),
    ({'num_codes': 5}, 'num_codes=5 exceeds the 4'),
    ({'num_codes': 2, 'num_restarts': 0}, 'num_restarts=0'),
    ({'num_codes': 3, 'num_points': 2}, 'num_points=2'),
  ],
)
def test_bad_input(key, options, match):
  colors = colors_from_histogram(np.uint8([[1], [2], [3], [4]]), [1, 1, 1, 1])
  with pytest.raises(ValueError, match=match):
    means(key, colors, **options)


def test_what_is_no_key_is_refused():
  images = np.uint8([1, 2, 3, 4]).reshape(1, 2, 2, 1)
  with pytest.raises(ValueError, match='jax.random.key'):
    means(0, images, 2)

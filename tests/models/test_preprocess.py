"""Resizing against Pillow, scaling against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from rdefense.models.base import Classifier
from rdefense.models.preprocess import preprocessed, resize


def pillow(channel, size):
  """Pillow in mode F, which does not round to 8 bits."""
  image = Image.fromarray(channel)
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
  'shape, size', [((29, 29), 22), ((12, 17), 5), ((7, 9), 16)], ids=str
)
def test_resizing_is_pillows(shape, size):
  x = np.random.default_rng(0).uniform(size=(*shape, 3)).astype(np.float32)
  got = resize(x, size)
  expected = np.stack([pillow(x[..., c], size) for c in range(3)], -1)
  # Two weighted means of numbers up to 1 in float32.
  np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_image_of_the_right_size_stays():
  x = np.random.default_rng(0).uniform(size=(4, 4, 3)).astype(np.float32)
  np.testing.assert_array_equal(resize(x, 4), x)


def first_pixel():
  return Classifier(lambda key, x: x[0, 0], lambda params, x: x[0, 0], 3)


def test_values_are_scaled_around_the_zero(key):
  net = preprocessed(first_pixel(), 2, scale=1 / 128, zero=128)
  x = np.full((5, 3, 3), 64 / 255, np.float32)
  assert net.num_classes == 3
  # Grey level 64; one part in 1e7 of numbers up to 128.
  np.testing.assert_allclose(net.apply(None, x), -0.5, atol=1e-6)
  np.testing.assert_allclose(net.init(key, x), -0.5, atol=1e-6)


def test_the_gradient_passes_through_the_resize():
  net = preprocessed(first_pixel(), 1, scale=2 / 255, zero=127.5)
  x = jnp.full((3, 5, 3), 0.5)
  gradient = jax.grad(lambda x: net.apply(None, x).sum())(x)
  # The weights of a mean add up to 1, for each of three channels.
  np.testing.assert_allclose(gradient.sum((0, 1)), 2.0, rtol=1e-5)
  assert (np.asarray(gradient) > 0).all()


@pytest.mark.parametrize('shape', [(8, 8, 1), (2, 8, 8, 3), (8, 8)], ids=str)
def test_what_is_no_colour_image_is_named(shape):
  net = preprocessed(first_pixel(), 4, 1.0, 0.0)
  with pytest.raises(ValueError, match=r'has shape .*\[H, W, 3\]'):
    net.apply(None, jnp.zeros(shape))

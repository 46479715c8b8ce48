"""Sizes as published, and boxes that keep their width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.certify.interval import interval
from rdefense.models import gowal_cnn, num_params
from rdefense.models.gowal_cnn import SIZES


@pytest.mark.parametrize('size', SIZES)
def test_parameters_are_those_of_its_layers(size):
  net = gowal_cnn(10, size)
  x = jnp.zeros((28, 28, 1))
  params = jax.eval_shape(net.init, jax.random.key(0), x)
  convolutions, dense = SIZES[size]
  expected, channels, side = 0, 1, 28
  for width, kernel, stride in convolutions:
    expected += (kernel**2 * channels + 1) * width
    channels, side = width, -(-side // stride)
  inputs = side**2 * channels
  for width in (*dense, 10):
    expected += (inputs + 1) * width
    inputs = width
  assert num_params(params) == expected
  assert jax.eval_shape(net.apply, params, x).shape == (10,)


def test_the_interval_initialisation_keeps_boxes_narrow():
  x = np.random.default_rng(0).random((28, 28, 1), np.float32)

  def width(init):
    net = gowal_cnn(10, 'small', init)

    @jax.jit
    def boxed(key, x):
      params = net.init(key, x)
      return interval(lambda z: net.apply(params, z), x - 0.1, x + 0.1)

    box = boxed(jax.random.key(0), x)
    return float((box.high - box.low).mean())

  assert width('interval') < 0.1 * width('he')


def test_unknown_choices_are_listed():
  with pytest.raises(ValueError, match="size='huge' is unknown.*tiny, small"):
    gowal_cnn(10, 'huge')
  with pytest.raises(ValueError, match="init='zero' is unknown.*interval, he"):
    gowal_cnn(10, 'tiny', 'zero')

"""Resize-padding against what its outputs show of its draws, and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.defenses.resizing import resize_padding

PAD = 0.0


def marked(height, width):
  """Every pixel differs from every other and from the padding."""
  x = np.arange(1, height * width + 1, dtype=np.float32) / (height * width)
  return x.reshape(height, width, 1)


def placed(out):
  """Top, left, height and width of what is not padding."""
  inside = np.asarray(out)[..., 0] != PAD
  rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
  assert inside.sum() == len(rows) * len(columns)  # a rectangle
  return int(rows[0]), int(columns[0]), len(rows), len(columns)


def draws(key, num_draws, x, *arguments, **options):
  apply = resize_padding(*arguments, pad_value=PAD, **options).apply
  keys = jax.random.split(key, num_draws)
  return np.asarray(jax.jit(jax.vmap(apply, (0, None)))(keys, x))


@pytest.mark.parametrize('shape', [(9, 9), (6, 11), (20, 16)], ids=str)
def test_pixels_are_the_nearest_ones_below(shape, key):
  x = marked(*shape)
  for out in draws(key, 20, x, 10, 14, side=14):
    top, left, size, _ = placed(out)
    for i, j in np.ndindex(size, size):
      expected = x[i * shape[0] // size, j * shape[1] // size]
      assert out[top + i, left + j] == expected


@pytest.mark.parametrize('inclusive', [False, True])
def test_sides_and_places_take_all_values_of_their_ranges(inclusive, key):
  low, high, side = 3, 6, 6
  places = [
    placed(out)
    for out in draws(
      key, 600, marked(5, 5), low, high, side, inclusive=inclusive
    )
  ]
  sizes = range(low, high + inclusive)
  assert {height for _, _, height, _ in places} == set(sizes)
  for size in sizes:
    room = range(side - size + 1 if inclusive else max(side - size, 1))
    found = {(t, l) for t, l, height, width in places if height == size}
    # At least 600 / 64 draws a place at the rarest size's largest room.
    assert found == {(t, l) for t in room for l in room}
    assert all(w == h for _, _, h, w in places)


def test_sides_are_uniform(key):
  places = [placed(out) for out in draws(key, 900, marked(5, 5), 4, 7, 7)]
  counts = np.bincount([height for _, _, height, _ in places])[4:]
  # Binomial(900, 1 / 3): five standard deviations are 71.
  assert len(counts) == 3 and np.all(np.abs(counts - 300) < 71)


def test_the_defaults_are_the_code_and_pad_with_mid_grey(key):
  x = jnp.ones((299, 299, 3))
  out = np.asarray(jax.jit(resize_padding().apply)(key, x))
  assert out.shape == (331, 331, 3)
  assert set(np.unique(out)) == {0.5, 1.0}
  rows, columns = (np.flatnonzero((out[..., 0] == 1).any(a)) for a in (1, 0))
  assert 310 <= len(rows) == len(columns) < 331


def test_the_surrogate_is_apply():
  defense = resize_padding(5, 8, 8)
  assert defense.surrogate is defense.apply


def test_the_gradient_counts_how_often_a_pixel_is_used(key):
  x, apply = marked(4, 4), resize_padding(5, 9, 9, pad_value=PAD).apply
  out, pull = jax.vjp(lambda x: apply(key, x), x)
  gradient = pull(jnp.ones_like(out))[0]
  expected = [[(np.asarray(out) == v).sum() for v in row] for row in x[..., 0]]
  np.testing.assert_array_equal(gradient[..., 0], expected)


def test_a_full_square_is_the_image_itself(key):
  x = marked(7, 7)
  out = resize_padding(7, 7, 7, inclusive=True).apply(key, x)
  np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'low': 0}, 'low=0 .*at least 1'),
    ({'low': 331}, 'low=331 and high=331 .*excluded'),
    ({'low': 332, 'inclusive': True}, 'low=332 and high=331 .*included'),
    ({'side': 329}, 'side=329 is smaller than 330.*cropped'),
    ({'side': 330, 'inclusive': True}, 'side=330 is smaller than 331'),
    ({'pad_value': 127.5}, r'pad_value=127\.5 .*\[0, 1\].*grey levels'),
    ({'pad_value': -0.5}, r'pad_value=-0\.5 '),
  ],
  ids=str,
)
def test_bad_arguments_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    resize_padding(**options)

"""Every check lets good values pass and names the cause of bad ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import checks

GOOD = np.full((2, 3, 3, 1), 0.5, np.float32)


def with_pixel(value, dtype=np.float32):
  images = GOOD.astype(dtype)
  images[1, 2, 0, 0] = value
  return images


@pytest.mark.parametrize(
  'images',
  [GOOD, with_pixel(0), with_pixel(1), GOOD.astype('f8'), jnp.array(GOOD)],
  ids=['middle', 'zero', 'one', 'float64', 'jax'],
)
def test_images_in_the_unit_interval_pass(images):
  checks.check_images(images)


@pytest.mark.parametrize(
  'images, message',
  [
    (with_pixel(255), r'span \[0\.5, 255\].*divide by 255'),
    (with_pixel(-1), r'span \[-1, 0\.5\].*undo the normalisation'),
    (with_pixel(1.5), r'span \[0\.5, 1\.5\].*undo the normalisation'),
    (with_pixel(-200) * 2, 'undo the normalisation'),
    (with_pixel(np.nan), 'NaN'),
    (with_pixel(np.inf), 'infinite'),
    (with_pixel(-np.inf), 'infinite'),
    (GOOD[0], r'\(3, 3, 1\).*images\[None\]'),
    (GOOD[..., 0], r'images\[\.\.\., None\]'),
    (GOOD[:0], 'empty batch'),
    (np.full((1, 2, 2, 1), 200, np.uint8), 'divide by 255'),
    (np.ones((1, 2, 2, 1), np.uint8), 'dtype uint8.*float32'),
    ([[[[0], [1]]]], 'dtype int64.*float32'),
  ],
  ids=[
    'bytes',
    'normalised',
    'above-one',
    'far-below',
    'nan',
    'inf',
    'minus-inf',
    'one-image',
    'no-channels',
    'empty',
    'uint8',
    'integers',
    'list',
  ],
)
def test_bad_images_are_named_with_their_likely_cause(images, message):
  with pytest.raises(ValueError, match=message):
    checks.check_images(images)


def test_traced_images_pass_by_value_but_not_by_shape():
  check = lambda images: (checks.check_images(images), images.sum())[1]
  jax.eval_shape(check, GOOD)
  with pytest.raises(ValueError, match='shape'):
    jax.eval_shape(check, GOOD[0])


@pytest.mark.parametrize('dtype', ['f2', 'f4', 'f8', jnp.bfloat16], ids=str)
def test_one_image_of_floats_passes(dtype):
  checks.check_image(np.zeros((3, 3, 1), dtype))
  jax.eval_shape(checks.check_image, np.zeros((3, 3, 1), dtype))


@pytest.mark.parametrize(
  'x, message',
  [
    (np.zeros((3, 3, 1), np.uint8), 'dtype uint8, .*data.to_unit'),
    (np.zeros((3, 3, 1), int), 'dtype int'),
    (np.zeros((3, 3, 1), bool), 'dtype bool'),
    (GOOD, r'shape \(2, 3, 3, 1\), .*jax.vmap or api.transform'),
    (GOOD[0, ..., 0], r'shape \(3, 3\), .*x\[\.\.\., None\]'),
  ],
  ids=['bytes', 'integers', 'bits', 'batch', 'plane'],
)
def test_what_is_no_image_is_named_with_its_likely_cause(x, message):
  check = lambda x: (checks.check_image(x), x)[1]
  for call in (check, jax.jit(check), lambda x: jax.eval_shape(check, x)):
    with pytest.raises(ValueError, match=message):
      call(x)


@pytest.mark.parametrize(
  'labels',
  [[0, 9], np.array([9, 0], np.uint8), jnp.array([3, 3])],
  ids=['list', 'uint8', 'jax'],
)
def test_labels_of_every_integer_kind_pass(labels):
  checks.check_labels(labels, num_examples=2, num_classes=10)


@pytest.mark.parametrize(
  'labels, message',
  [
    ([1, 2, 3], r'\(3,\) for 2 images'),
    (np.eye(10, dtype=int)[:2], 'one-hot'),
    (3, r'shape \(\)'),
    ([0.0, 1.0], 'float64'),
    ([0, 10], r'span \[0, 10\].*0 to 9'),
    ([-1, 3], r'span \[-1, 3\]'),
  ],
  ids=['count', 'one-hot', 'scalar', 'floats', 'too-large', 'negative'],
)
def test_bad_labels_are_named_with_their_likely_cause(labels, message):
  with pytest.raises(ValueError, match=message):
    checks.check_labels(labels, num_examples=2, num_classes=10)


@pytest.mark.parametrize('value', [2, np.float32(3), jnp.array(2)], ids=str)
def test_the_least_value_and_more_pass(value):
  checks.check_at_least('steps', value, 2)


@pytest.mark.parametrize('value', [1, float('nan'), -jnp.inf], ids=str)
def test_less_than_the_least_raises_with_name_value_and_hint(value):
  with pytest.raises(ValueError, match=rf'steps={value}.*at least 2: hint'):
    checks.check_at_least('steps', value, 2, ': hint')


@pytest.mark.parametrize('value', [0, -1.5, float('nan')], ids=str)
def test_not_positive_raises_with_name_value_and_hint(value):
  with pytest.raises(ValueError, match=rf'alpha={value}.*positive: hint'):
    checks.check_positive('alpha', value, ': hint')


@pytest.mark.parametrize('value', [1e-9, 0.5, 1, np.float32(1)], ids=str)
def test_noise_within_the_range_of_a_pixel_passes(value):
  checks.check_noise('sigma', value)
  jax.jit(lambda sigma: checks.check_noise('sigma', sigma))(32.0)


@pytest.mark.parametrize(
  'value, message',
  [
    (0, 'sigma=0 must be positive: for almost no noise'),
    (float('nan'), 'sigma=nan must be positive'),
    (32.0, 'sigma=32.0 is larger than 1, .*divide by 255'),
  ],
)
def test_other_noise_raises_with_name_value_and_cause(value, message):
  with pytest.raises(ValueError, match=message):
    checks.check_noise('sigma', value)


@pytest.mark.parametrize(
  'value, message',
  [(0, 'positive: hint'), (np.nan, 'positive: hint'), (np.inf, 'finite: hint')],
)
def test_steepness_is_positive_and_finite(value, message):
  checks.check_steepness('alpha', 1e30)
  jax.jit(lambda alpha: checks.check_steepness('alpha', alpha))(np.inf)
  with pytest.raises(ValueError, match=f'alpha={value} must be {message}'):
    checks.check_steepness('alpha', value, ': hint')


def test_positive_and_traced_values_pass():
  checks.check_positive('alpha', 1e-30)

  def fn(value):
    checks.check_positive('alpha', value)
    checks.check_at_least('alpha', value, 5)
    return value

  assert jax.jit(fn)(-1.0) == -1


@pytest.mark.parametrize('value', [0, 0.5, 1, np.float32(1)], ids=str)
def test_lengths_within_the_range_of_a_pixel_pass(value):
  checks.check_length('eps', value)
  jax.jit(lambda eps: checks.check_length('eps', eps))(8.0)


@pytest.mark.parametrize(
  'value, largest, message',
  [
    (8, 1, 'eps=8 is larger than 1, .*divide by 255'),
    (2.5, 2, 'eps=2.5 is larger than 2'),
    (-0.1, np.inf, 'eps=-0.1 must be at least 0: .*8/255'),
    (float('nan'), 1, 'eps=nan must be at least 0'),
  ],
)
def test_other_lengths_raise_with_name_value_and_cause(value, largest, message):
  with pytest.raises(ValueError, match=message):
    checks.check_length('eps', value, largest)


def test_an_unknown_choice_lists_the_known_ones():
  checks.check_choice('norm', 'l2', ('linf', 'l2'))
  with pytest.raises(ValueError, match="norm='l3'.*linf, l2"):
    checks.check_choice('norm', 'l3', ('linf', 'l2'))


@pytest.mark.parametrize(
  'codes, match',
  [
    (np.zeros((0, 3)), 'non-empty'),
    (np.zeros(3), 'one code a row'),
    ([[0.0], [np.nan]], 'NaN'),
    ([[0.0], [255.0]], 'divide by 255'),
    ([[-0.1], [0.5]], 'span'),
    ([[0.5, 0.5], [0.5, 0.5]], 'duplicates'),
  ],
)
def test_bad_codes_are_one_sentence(codes, match):
  with pytest.raises(ValueError, match=match):
    checks.check_codes(codes)


@pytest.mark.parametrize('impl', ['rbg', 'unsafe_rbg'])
def test_keys_whose_draws_depend_on_the_batch_are_refused(impl):
  typed = jax.random.key(0, impl=impl)
  with pytest.raises(ValueError, match=f'key is one of {impl}, .*threefry2x32'):
    checks.check_key(typed)
  with pytest.raises(ValueError, match='is no random key'):
    checks.check_key(jax.random.key_data(typed))
  checks.check_key(jax.random.PRNGKey(0))


@pytest.mark.parametrize('value', ['0.1', None, True, [0.1], np.zeros(3)])
def test_what_is_no_number_is_refused(value):
  for check in (checks.check_number, checks.check_length, checks.check_noise):
    with pytest.raises(ValueError, match='^eps=.* must be one number'):
      check('eps', value)
  for fine in (1, 0.5, np.float64(0.5), jnp.bfloat16(0.5), jnp.float32(0.5)):
    checks.check_number('eps', fine)

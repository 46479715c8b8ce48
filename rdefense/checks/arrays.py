"""Checks of images, labels and codes: shape, dtype, range; the likely cause."""

import jax
import numpy as np

from rdefense.checks.numbers import is_concrete

__all__ = [
  'check_channels',
  'check_classified',
  'check_codes',
  'check_image',
  'check_images',
  'check_labels',
  'check_unit',
  'check_untraced',
]


def check_image(x) -> None:
  """Raises `ValueError` unless `x` is one image: `[H, W, C]`, floating.

  Of shape and dtype alone, which are known when a function is traced: it costs
  nothing where it is compiled.

  >>> check_image(np.zeros((8, 8, 3), np.uint8))
  Traceback (most recent call last):
    ...
  ValueError: image has dtype uint8, not float32 in [0, 1]: call data.to_unit.
  """
  dtype, shape = jax.dtypes.result_type(x), np.shape(x)
  if not jax.dtypes.issubdtype(dtype, np.floating):
    raise ValueError(
      f'image has dtype {dtype}, not float32 in [0, 1]: call data.to_unit.'
    )
  if len(shape) != 3:
    cause = (
      'take x[..., None]'
      if len(shape) < 3
      else 'map over a batch by jax.vmap or api.transform'
    )
    raise ValueError(f'image has shape {shape}, not [H, W, C]: {cause}.')


def check_untraced(images) -> None:
  """Raises `ValueError` on traced images, where a function compiles itself."""
  if not is_concrete(images):
    raise ValueError(
      'images are traced: rdefense.api compiles by itself. Inside jit, grad or '
      "vmap use a Defense's apply or surrogate, and rdefense.attacks."
    )


def check_images(images) -> None:
  """Checks a batch of images: `[B, H, W, C]`, B > 0, finite, in [0, 1].

  Args:
    images: array `[B, H, W, C]`, float32, pixels in [0, 1].

  Raises:
    ValueError: one sentence naming the value and the likely cause.
  """
  if np.ndim(images) != 4:
    raise ValueError(
      f'images have shape {np.shape(images)}; rdefense expects a batch '
      '[B, H, W, C] (add a batch axis with images[None], a channel axis with '
      'images[..., None]).'
    )
  if np.shape(images)[0] == 0:
    raise ValueError('images are an empty batch: there is nothing to do.')
  if not is_concrete(images):
    return
  check_unit(images)
  dtype = np.asarray(images).dtype
  if not jax.dtypes.issubdtype(dtype, np.floating):  # bfloat16 is one
    raise ValueError(
      f'images have dtype {dtype}; rdefense expects float32 in [0, 1].'
    )


def check_unit(images) -> None:
  """Checks that the pixels of one or more images are finite and in [0, 1].

  Raises:
    ValueError: one sentence naming the value and the likely cause.
  """
  low, high = float(np.min(images)), float(np.max(images))
  if not np.isfinite(low + high):
    raise ValueError('images hold NaN or infinite pixels: check the loader.')
  if low < 0 or high > 1:
    cause = (
      'divide by 255' if high > 2 and low >= 0 else 'undo the normalisation'
    )
    raise ValueError(
      f'images span [{low:g}, {high:g}]; rdefense expects [0, 1]: {cause}.'
    )


def check_labels(labels, num_examples: int, num_classes: int) -> None:
  """Checks integer labels `[B]` in 0 .. num_classes - 1, one an image.

  Raises:
    ValueError: one sentence naming the value and the likely cause.
  """
  labels = np.asarray(labels)
  if labels.shape != (num_examples,):
    raise ValueError(
      f'labels have shape {labels.shape} for {num_examples} images; rdefense '
      'expects one integer label an image (not one-hot rows).'
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(f'labels have dtype {labels.dtype}; expected integers.')
  if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
    raise ValueError(
      f'labels span [{labels.min()}, {labels.max()}]; the classifier has '
      f'classes 0 to {num_classes - 1}: was background counted as a class?'
    )


def check_shares(shares, num_examples: int) -> None:
  """Checks least probabilities `[N, 2]`: of the label, and of avoiding others.

  Raises:
    ValueError: one sentence naming the value and the likely cause.
  """
  shares = np.asarray(shares)
  if shares.shape != (num_examples, 2):
    raise ValueError(
      f'shares have shape {shares.shape} for {num_examples} images; expected '
      f'({num_examples}, 2), as `votes.shares` gives them.'
    )
  if not ((shares >= 0) & (shares <= 1)).all():
    raise ValueError(
      f'shares span [{shares.min():g}, {shares.max():g}]; they are '
      'probabilities, in [0, 1]: give shares, not counts of votes.'
    )


def check_codes(codes) -> None:
  """Checks codes: `[k, C]`, k > 0, numbers in [0, 1], all rows different.

  Raises:
    ValueError: one sentence naming the value and the likely cause.

  >>> check_codes(np.array([[0.0], [253.0]]))
  Traceback (most recent call last):
    ...
  ValueError: codes span [0, 253]; they must lie in [0, 1]: divide by 255.
  """
  if hasattr(codes, 'codes'):
    raise ValueError('codes are a whole Codebook: pass its codebook.codes.')
  if np.ndim(codes) != 2 or np.size(codes) == 0:
    raise ValueError(
      f'codes have shape {np.shape(codes)}; expected a non-empty [k, C] array, '
      'one code a row (one channel: codes[:, None]).'
    )
  if not is_concrete(codes):
    return
  values = np.asarray(codes)
  if np.isnan(values).any():
    raise ValueError(
      f'codes hold {np.isnan(values).sum()} NaN: the fit that made them failed.'
    )
  if values.min() < 0 or values.max() > 1:
    raise ValueError(
      f'codes span [{values.min():g}, {values.max():g}]; they must lie in '
      '[0, 1]: divide by 255.'
    )
  distinct = len(np.unique(values.astype(np.float32), axis=0))
  if distinct < len(values):
    raise ValueError(
      f'codes repeat a row ({len(values)} rows, {distinct} distinct): drop the '
      'duplicates.'
    )


def check_channels(x, codes) -> None:
  """Raises `ValueError` unless pixels `[..., C]` and codes `[k, C]` agree."""
  if x.shape[-1] != codes.shape[-1]:
    raise ValueError(
      f'image has {x.shape[-1]} channels, the codes have {codes.shape[-1]}: '
      'was this codebook fitted on other data, or are channels not last?'
    )


def check_classified(lost, index) -> None:
  """Raises `ValueError` where an image has no class, its logits being NaN.

  Args:
    lost: `[B]` bool, whose answer is none.
    index: `[B]`, numbers of the images.
  """
  lost = np.asarray(lost)
  if lost.any():
    raise ValueError(
      f'the logits of image {np.asarray(index)[lost][0]} are NaN or infinite, '
      "so that it has no class: has the model's training diverged?"
    )

"""Verdicts and certificates at highest precision, attacks at their own.

A CPU computes all products alike, so what is asked of it is read in the
programs it is given, and a network that rounds stands for a device that does.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import (
  api,
  certification,
  counting,
  deployed,
  evaluation,
  losses,
  threats,
  vote_certification,
)
from rdefense import precision as precisions
from rdefense.attacks import assemble, recipes, sign_adam
from rdefense.attacks.eot import eot
from rdefense.certify import randomized
from rdefense.data import Arrays
from rdefense.defenses import gaussian, identity, nearest_code
from rdefense.parallel import layout

SHAPE, NUM_CLASSES = (4, 4, 1), 3
RNG = np.random.default_rng(7)
CODES = np.array([[0.0], [1.0]], np.float32)
IMAGES = RNG.integers(0, 256, (10, *SHAPE), np.uint8)
ARRAYS = Arrays(
  IMAGES, RNG.integers(0, NUM_CLASSES, 10).astype(np.int32), NUM_CLASSES, 'toy'
)
UNIT = IMAGES / np.float32(255)
PARAMS = {
  'kernel': RNG.normal(size=(3, 3, 1, 4)).astype(np.float32),
  'matrix': RNG.normal(size=(64, NUM_CLASSES)).astype(np.float32),
}
(PGD,) = recipes.pgd_madry(2, 0.05)
(EOT,) = eot(0.1, num_steps=1, num_draws=2)


def network():
  """A convolution and a product, in a function that nothing is compiled for."""

  def apply(params, x):
    x = jax.lax.conv_general_dilated(
      x[None],
      params['kernel'],
      (1, 1),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return jnp.maximum(x, 0.0).reshape(-1) @ params['matrix']

  return apply


def discretized(**changes):
  defend = lambda codes, alpha: nearest_code(codes, alpha)
  return deployed.Target(network(), defend, PARAMS, CODES)._replace(**changes)


def noisy():
  defend = lambda codes, alpha: gaussian(0.1)
  return discretized(defend=defend, codes=None, num_draws=2)


@pytest.fixture
def asked(tmp_path):
  """Runs a function; of the products it compiles, kind and precision."""
  product = re.compile(r'stablehlo\.(dot_general|convolution)\b.*')
  word = re.compile(r'precision(?:_config)? = \[[^\]]*?(HIGHEST|HIGH|DEFAULT)')

  def run(fn):
    folder = tmp_path / 'programs'
    jax.config.update('jax_dump_ir_to', str(folder))
    try:
      fn()
    finally:
      jax.config.update('jax_dump_ir_to', '')
    text = '\n'.join(path.read_text() for path in folder.rglob('*.mlir'))
    found = set()
    for line in product.finditer(text):
      named = word.search(line[0])
      found.add((line[1], named[1] if named else 'DEFAULT'))
    return found

  return run


def both(*names):
  kinds = 'dot_general', 'convolution'
  return {(kind, name) for kind in kinds for name in names}


def judge(target):
  key = jax.random.key(0)
  return deployed.judge(target, key, np.arange(10), UNIT, ARRAYS.labels)


def certify_votes(directory):
  target, key = noisy(), jax.random.key(0)
  voted = vote_certification.count_votes(
    target, ARRAYS, key, directory / 'votes', 50, 0.1
  )
  vote_certification.certify(
    voted,
    ARRAYS,
    np.asarray,
    randomized.noise_alone(0.1),
    0.01,
    0.1,
    directory / 'certificates',
  )


def on_batches(fn, *more):
  """Of a function of `rdefense.api`, called with a fresh network."""
  apply = network()
  return lambda: fn(lambda x: apply(PARAMS, x))(*more)


KEY = jax.random.key(1)
WITNESSED = {'max_nodes': 8, 'leaf_size': 2, 'batch_size': 8}
JUDGES = {
  'judge': lambda _: judge(noisy()),
  'predict': lambda _: on_batches(
    lambda fn: api.predict(fn, nearest_code(CODES)), KEY, UNIT
  )(),
}
CERTIFICATES = {
  'by bounds': lambda path: certification.certify(
    discretized(), ARRAYS, 0.3, path, **WITNESSED
  ),
  'by tables': lambda path: certification.certify(
    discretized(), ARRAYS, 0.3, path, bounds='tables', **WITNESSED
  ),
  'by votes': certify_votes,
  'api.certify': lambda _: on_batches(
    lambda fn: api.certify(fn, CODES, **WITNESSED), UNIT, ARRAYS.labels, 0.3
  )(),
  'api.certify_randomized': lambda _: on_batches(
    lambda fn: api.certify_randomized(
      fn, gaussian(0.1), randomized.noise_alone(0.1), 50, 0.1
    ),
    KEY, UNIT, ARRAYS.labels, 0.01,
  )(),
}  # fmt: skip
ENTRIES = JUDGES | CERTIFICATES


@pytest.mark.parametrize('name', ENTRIES)
def test_what_is_judged_or_certified_is_at_highest(name, asked, tmp_path):
  with jax.default_matmul_precision('bfloat16'):  # what a user may have set
    assert asked(lambda: ENTRIES[name](tmp_path)) == both('HIGHEST')


def test_an_attack_runs_at_its_own_and_is_judged_at_highest(asked, tmp_path):
  """Nothing compiled at one precision serves another."""
  target = noisy()
  for precision in precisions.PRECISIONS:
    chosen = EOT._replace(precision=precision)
    found = asked(
      lambda chosen=chosen: evaluation.evaluate(
        target, ARRAYS, (chosen,), 'linf', 0.1, KEY, tmp_path / chosen.precision
      )
    )
    names = precisions.PRECISIONS[: precisions.PRECISIONS.index(precision) + 1]
    assert found == both(*(name.upper() for name in names))


@pytest.mark.parametrize('precision', ['high', 'default'])
def test_so_does_that_of_notebooks(precision, asked):
  def attack(logits_fn):
    return api.attack(
      logits_fn,
      nearest_code(CODES),
      threats.linf(0.1),
      losses.margin,
      sign_adam(0.05),
      1,
      num_draws=1,  # without draws, what is wrong unattacked is told first
      precision=precision,
    )

  found = asked(on_batches(attack, KEY, UNIT, ARRAYS.labels))
  assert found >= both(precision.upper())
  # Only the codes are mixed at highest precision, whatever the network's.
  assert found <= both(precision.upper()) | {('dot_general', 'HIGHEST')}


def test_an_unknown_precision_is_an_error():
  with pytest.raises(ValueError, match="precision='tf32' is unknown"):
    assemble(
      PGD._replace(precision='tf32'), jnp.sum, identity(), threats.linf(0.1)
    )


def coarse(params, x):
  """A device whose default is rough: it sees quarters of the first pixel."""
  low = jax.config.jax_default_matmul_precision == 'default'
  seen = jnp.round(4 * x) / 4 if low else x
  return jnp.stack([seen[0, 0, 0] - params, 0.0])


# Right, class 0, above 0.3: a rough device says so from 0.375 on.
LEVELS = np.arange(50, 130, 2, dtype=np.uint8)  # 0.196 to 0.502
NEAR = Arrays(
  np.broadcast_to(LEVELS[:, None, None, None], (40, 2, 2, 1)).copy(),
  np.zeros(40, np.int32), 2, 'near',
)  # fmt: skip
BETWEEN = (LEVELS / 255 > 0.3) & (LEVELS / 255 < 0.375)


def near(num_draws=0):
  defense = gaussian(0.02) if num_draws else identity()
  defend = lambda codes, alpha: defense
  return deployed.Target(coarse, defend, np.float32(0.3), None, num_draws)


STAYS = PGD._replace(
  name='stays', step_size=0.0, num_steps=1, start='clean', every_example=True
)


@pytest.mark.parametrize('num_draws', [0, 5])
def test_verdicts_that_would_be_others_are_counted(num_draws, tmp_path):
  target, where = near(num_draws), layout(jax.devices()[:1])

  def evaluate(precision, batch_size):
    return evaluation.evaluate(
      target,
      NEAR,
      (STAYS._replace(precision=precision),),
      'linf',
      0.0,
      KEY,
      tmp_path / f'{precision}{batch_size}',
      batch_size,
      where=where,
    )

  fine, rough = evaluate('highest', 40), evaluate('default', 40)
  assert not any(name.startswith('attack/') for name in fine)
  extra = {'attack/predicted', *['attack/draws'] * bool(num_draws)}
  assert set(rough) == set(fine) | extra
  # A rough attack may stop sooner; here it moves nothing, however long.
  for name in set(fine) - {'verdict/seconds', 'verdict/gradients'}:
    np.testing.assert_array_equal(rough[name], fine[name], name)
  differing = counting.differing(rough, 'verdict', 'attack')
  if not num_draws:
    np.testing.assert_array_equal(
      rough['verdict/predicted'] != rough['attack/predicted'], BETWEEN
    )
    assert differing == BETWEEN.sum() > 0
    return
  # The same noise: a draw differs only where it lies between the thresholds.
  assert rough['attack/draws'].shape == (40, num_draws)
  one = rough['verdict/draws'] != rough['attack/draws']
  assert 0 < differing <= one.sum() and not one[LEVELS / 255 > 0.45].any()
  halves = evaluate('default', 20)
  np.testing.assert_array_equal(halves['attack/draws'], rough['attack/draws'])

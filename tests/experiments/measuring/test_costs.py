"""Costs against closed forms; XLA's account against arrays of known size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import devices
from experiments.measuring import costs
from experiments.measuring.costs import Work
from rdefense.attacks import recipes
from rdefense.attacks.eot import eot, paper_b_imagenet
from rdefense.losses import cross_entropy
from rdefense.models import mnist_cnn
from rdefense.parallel import layout
from rdefense.precision import PRECISIONS

CHIP = devices.Chip({'default': 8.0, 'highest': 2.0}, 8.0, 4.0, 1.0, 'made up')


@pytest.mark.parametrize(
  'work, precision, expected',
  [
    (Work(80.0, 4.0), 'default', 10.0),  # bounded by operations
    (Work(80.0, 4.0), 'highest', 40.0),
    (Work(8.0, 40.0), 'default', 10.0),  # bounded by bytes
  ],
)
def test_time_is_that_of_the_longer_of_operations_and_bytes(
  work, precision, expected
):
  assert costs.seconds(work, CHIP, 1, 1.0, precision) == expected
  half = costs.seconds(work, CHIP, 4, 0.5, precision)
  assert half == pytest.approx(expected / 2)


def test_a_ring_passes_every_byte_twice_but_for_ones_own():
  assert costs.ring_bytes(8.0, 1) == 0
  assert costs.ring_bytes(8.0, 2) == 8
  assert costs.ring_bytes(8.0, 256) == pytest.approx(16, rel=1 / 250)


def test_a_batch_splits_over_its_largest_divisor():
  for size in (1, 7, 50, 128):
    for count in (1, 8, 256):
      chips = costs.chips_for(size, count)
      assert chips <= count and size % chips == 0
      assert not [n for n in range(chips + 1, count + 1) if size % n == 0]


def test_gradients_are_steps_times_draws_times_restarts():
  (one,) = eot(0.1, num_steps=10, num_draws=100, num_restarts=3)
  assert costs.gradients([one]) == 3000
  assert costs.evaluations([one]) == 3300
  assert costs.gradients(paper_b_imagenet(0.1)) == 1000  # PROTOCOL B2
  assert costs.gradients(recipes.paper_a(40)) == 40
  many = recipes.adaptive(0.1, 16, (4.0, 10.0))
  assert costs.gradients(many) == 16 * len(many)


def test_work_of_a_product_and_what_devices_send():
  """A product takes 2 n m k operations; a sum over devices sends its value."""
  a, b = (jax.ShapeDtypeStruct(s, np.float32) for s in ((64, 32), (32, 16)))
  alone = jax.jit(jnp.matmul).lower(a, b).compile()
  assert costs.work(alone).flops == 2 * 64 * 32 * 16
  assert costs.work(alone).bytes >= 4 * (64 * 32 + 32 * 16 + 64 * 16)
  assert costs.collectives(alone.as_text()) == (0, 0)
  where = layout(jax.devices()[:4])
  rows = (
    jax.jit(
      lambda a: a.sum(0), in_shardings=where.split, out_shardings=where.copied
    )
    .lower(a)
    .compile()
  )
  assert costs.collectives(rows.as_text()) == (1, 4 * 32)


def test_every_machine_is_of_a_chip_with_a_price_and_all_precisions():
  assert {name for name, _ in devices.MACHINES.values()} <= set(devices.CHIPS)
  assert set(devices.PRICES) == set(devices.CHIPS)
  for chip in devices.CHIPS.values():
    peaks = [chip.peak[name] for name in PRECISIONS]
    assert sorted(peaks) == peaks and peaks[-1] <= chip.bfloat16


def test_flops_agree_with_the_compilers_count():
  x = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
  params, y = mnist_cnn().init(jax.random.key(3), x[0]), np.arange(4)

  def logits_of(params, x):
    return jax.vmap(mnist_cnn().apply, (None, 0))(params, x)

  def gradient(params, x, y):
    def loss(x, y):
      return cross_entropy(mnist_cnn().apply(params, x), y)

    return jax.vmap(jax.grad(loss))(x, y)

  forward = jax.jit(logits_of).lower(params, x).cost_analysis()['flops']
  both = jax.jit(gradient).lower(params, x, y).cost_analysis()['flops']
  count = costs.mnist_cnn_flops()
  # The compiler also counts biases, pooling and the softmax.
  assert count < forward / 4 < 1.03 * count
  assert 2 * count < both / 4 < 2 * 1.03 * count

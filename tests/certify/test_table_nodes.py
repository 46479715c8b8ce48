"""What float32 may lose of sums in another order, through tables of nodes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.certify import table_nodes
from rdefense.certify.layers import layered

# One by one from the left 2^24; from the right 2^24 + 4.
ORDER = np.float32([2.0**24, 1.0, 1.0, 1.0])


def examined(apply, params, shape):
  codes = np.stack([np.ones(shape[2]), np.zeros(shape[2])]).astype(np.float32)
  allowed = np.zeros((*shape[:2], 2), bool)
  allowed[..., 0] = True  # one image, all of it 1
  network = layered(functools.partial(apply, params), jnp.zeros(shape))
  looked = table_nodes.examine(apply, params, network, codes, allowed, 0, 64)
  return float(looked.lower.min())


def dense(params, x):
  hidden = jnp.matmul(x.reshape(-1), params[0])
  return jnp.matmul(hidden, params[1]) + params[2]


def relu_dense(params, x):
  hidden = jax.nn.relu(jnp.matmul(x.reshape(-1), params[0]))
  return jnp.matmul(hidden, params[1]) + params[2]


def convolved(params, x):
  x = jax.lax.conv_general_dilated(
    x[None], params[0], (1, 1), 'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )[0]  # fmt: skip
  hidden = jnp.matmul(jax.nn.relu(x - 2.0**24).reshape(-1), params[1])
  return jnp.matmul(hidden, params[2]) + params[3]


def test_equal_sums_may_differ_by_their_orders():
  """margin = h_1 - h_2 + 2, each h from 2^24 to 2^24 + 4: -2 at worst."""
  first = np.stack([ORDER, ORDER], 1)
  second = np.float32([[1, 0], [-1, 0]])
  params = [first, second, np.float32([2, 0])]
  assert examined(dense, params, (2, 2, 1)) <= -2
  assert examined(relu_dense, params, (2, 2, 1)) <= -2


def test_a_relu_is_off_only_beyond_what_is_lost():
  """h = relu(3 - 3.5), or of 4 - 3.5 in another order: 100 - 1000 / 2."""
  first = np.float32([*ORDER, -(2.0**24), -3.5])[:, None]
  params = [first, np.float32([[-1000, 0]]), np.float32([100, 0])]
  assert examined(relu_dense, params, (2, 3, 1)) <= -400


@pytest.mark.parametrize('sign, constant', [(-1, 3.5), (1, -1)])
def test_what_convolutions_lose_is_carried_to_the_dense_layer(sign, constant):
  """An entry from 0 to 4, by the order of its sum."""
  kernel = ORDER[None, None, :, None]
  params = [kernel, np.float32([[1]]), np.float32([[sign, 0]]),
            np.float32([constant, 0])]  # fmt: skip
  worst = min(sign * entry + constant for entry in (0, 4))
  assert examined(convolved, params, (1, 1, 4)) <= worst

"""Loops against closed forms: a round counts as often as it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.measuring import costs, loops
from rdefense.defenses import nearest_code
from rdefense.threats import ball

SIDE = 64
MATRIX = jax.ShapeDtypeStruct((SIDE, SIDE), np.float32)
PRODUCT = 2 * SIDE**3
# Of the operations: counters, and what is added to carry a loop's values.
CLOSE = 1e-3


def flops(fn, *shapes):
  return loops.work(jax.jit(fn).trace(*shapes)).flops


def power(x, count, **options):
  return jax.lax.fori_loop(0, count, lambda i, y: y @ x, x, **options)


@pytest.mark.parametrize('count', [1, 2, 7, 100])
def test_a_loop_of_products_counts_each(count):
  found = flops(lambda x: power(x, count), MATRIX)
  assert found == pytest.approx(count * PRODUCT, rel=CLOSE)


@pytest.mark.parametrize('unroll', [2, 3, 8, 20, 50])
def test_unrolling_changes_no_count(unroll):
  found = flops(lambda x: power(x, 20, unroll=unroll), MATRIX)
  assert found == pytest.approx(20 * PRODUCT, rel=CLOSE)


def test_nested_loops_multiply():
  def nested(x):
    def outer(i, y):
      return jax.lax.fori_loop(0, 5, lambda j, z: z @ x, y, unroll=2)

    return jax.lax.fori_loop(0, 7, outer, x)

  assert flops(nested, MATRIX) == pytest.approx(35 * PRODUCT, rel=CLOSE)


def test_what_a_loop_is_given_is_read_in_parts():
  """Each round reads a product's matrix and its own; not those of others."""
  many = jax.ShapeDtypeStruct((50, SIDE, SIDE), np.float32)

  def chain(x, each):
    return jax.lax.scan(lambda y, a: (y @ a, None), x, each)[0]

  found = loops.work(jax.jit(chain).trace(MATRIX, many))
  assert found.flops == pytest.approx(50 * PRODUCT, rel=CLOSE)
  least = 4 * 50 * 3 * SIDE**2
  assert least <= found.bytes < 3 * least  # slices may be copied first


def ten_products(x):
  return power(x, 10).sum()


def with_rule(x):
  fn = jax.custom_jvp(ten_products)
  fn.defjvp(lambda primals, tangents: (fn(*primals), tangents[0].sum()))
  return fn(x)


def one_of_two(x):
  return jax.lax.cond(x.sum() > 0, ten_products, lambda x: power(x, 3).sum(), x)


@pytest.mark.parametrize(
  'fn, num_images, products',
  [
    (jax.jit(ten_products), None, 10),
    (jax.vmap(ten_products), 3, 30),
    (jax.grad(ten_products), None, 30),  # two more for each in the derivative
    (jax.checkpoint(ten_products), None, 10),
    (with_rule, None, 10),
    (one_of_two, None, 10),  # the branch that does more, as XLA counts
  ],
  ids=['jit', 'vmap', 'grad', 'checkpoint', 'custom_jvp', 'cond'],
)
def test_loops_are_found_wherever_they_are(fn, num_images, products):
  lead = () if num_images is None else (num_images,)
  x = jax.ShapeDtypeStruct((*lead, SIDE, SIDE), np.float32)
  # Sums of matrices are added as well, 1 / SIDE of a product each.
  assert flops(fn, x) == pytest.approx(products * PRODUCT, rel=2 / SIDE)


def test_a_loop_whose_result_nobody_uses_costs_nothing():
  def fn(x):
    power(x, 100)
    return x @ x

  assert flops(fn, MATRIX) == pytest.approx(PRODUCT, rel=CLOSE)


def test_a_program_without_loops_is_what_xla_counts():
  traced = jax.jit(lambda x: jnp.tanh(x @ x).sum()).trace(MATRIX)
  assert loops.work(traced) == costs.work(traced.lower().compile())


def test_a_loop_of_unknown_length_is_refused():
  def fn(x, count):
    return power(x, count)

  count = jax.ShapeDtypeStruct((), np.int32)
  with pytest.raises(ValueError, match='while loop cannot be counted.*static'):
    flops(fn, MATRIX, count)


def test_300_codes_cost_a_hundred_times_3():
  """All at once below 16 codes, one after another above."""

  def transform(codes, x):
    return nearest_code(codes).apply(jax.random.key(0), x)

  x = jax.ShapeDtypeStruct((32, 32, 3), np.float32)
  few, many = (
    flops(transform, jax.ShapeDtypeStruct((k, 3), np.float32), x)
    for k in (3, 300)
  )
  assert many == pytest.approx(100 * few, rel=0.5)
  more = flops(transform, jax.ShapeDtypeStruct((600, 3), np.float32), x)
  assert more == pytest.approx(2 * many, rel=0.02)


def test_the_bisections_of_an_l1_ball_count():
  """Two dozen and more passes over the image; one would be 10 a pixel."""
  x = jax.ShapeDtypeStruct((16, 16, 1), np.float32)
  threat = ball('l1', 1.0)
  found = flops(threat.project, x, x)
  assert found > 24 * 2 * 16 * 16

"""Layers, tables and what is decided with them, against trying everything."""

import functools
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense.certify import decide as d
from rdefense.certify import table_nodes, tables
from rdefense.certify.elimination import least_sum
from rdefense.certify.layers import layered
from rdefense.certify.reachable import reachable
from rdefense.models import digits_cnn, mnist_cnn
from tests.certify.networks import residual


def strided(params, x):
  """No bias before the means, a stride, maxima that overlap, one at the end."""
  numbers = ('NHWC', 'HWIO', 'NHWC')
  x = (x - 0.2) / 0.3
  x = jax.lax.conv_general_dilated(
    x[None], params[0], (2, 2), 'SAME', dimension_numbers=numbers
  )[0]
  x = jnp.maximum(jnp.roll(x, 1, 0), jnp.maximum(x, 0.1))
  x = x.reshape(2, 2, 2, 2, -1).mean((1, 3))
  x = jnp.maximum(x.max(0), -1.0)
  x = jnp.matmul(x.reshape(-1), params[1])
  return jnp.matmul(jax.nn.relu(x), params[2])


def dense(params, x):
  hidden = jax.nn.relu(jnp.matmul(x.reshape(-1), params[0]))
  return jnp.matmul(hidden, params[1])


def _normal(*shapes, seed=0):
  rng = np.random.default_rng(seed)
  return [rng.normal(0, 0.6, s).astype(np.float32) for s in shapes]


@functools.cache
def network(name):
  """`(apply, params, shape, layered)`."""
  if name == 'strided':
    apply, shape = strided, (8, 8, 1)
    params = _normal((3, 3, 1, 3), (6, 7), (7, 3))
  elif name == 'dense':
    apply, shape = dense, (4, 4, 1)
    params = _normal((16, 9), (9, 3))
  else:
    digits = name == 'digits'
    shape = (8, 8, 1) if digits else (6, 6, 3)  # 6: a map of 3x3 is pooled
    net = digits_cnn(3, 3) if digits else mnist_cnn(3, (3, 4), 12, 'he')
    apply = net.apply
    params = net.init(jax.random.key(3), jnp.zeros(shape))
  return (
    apply,
    params,
    shape,
    layered(lambda x: apply(params, x), jnp.zeros(shape)),
  )


NAMES = ('colour', 'digits', 'strided', 'dense')


def a_node(name, seed, num_codes=2, free=7):
  """Codes, and an image of which some neighbouring pixels are free."""
  shape = network(name)[2]
  rng = np.random.default_rng(seed)
  codes = rng.random((num_codes, shape[2]), np.float32)
  chosen = rng.integers(num_codes, size=shape[:2])
  allowed = chosen[..., None] == np.arange(num_codes)
  for _ in range(free):
    row, column = rng.integers(1, shape[0] - 1, 2)
    allowed[row, column, rng.integers(num_codes)] = True
  return codes, allowed


@functools.cache
def _batch(apply):
  return jax.jit(jax.vmap(apply, (None, 0)))


def images_of(codes, allowed):
  choices = [np.flatnonzero(a) for a in allowed.reshape(-1, len(codes))]
  every = np.array([*itertools.product(*choices)])
  return codes[every].reshape(-1, *allowed.shape[:2], codes.shape[1])


def least_margin(name, codes, allowed, label):
  apply, params = network(name)[:2]
  z = images_of(codes, allowed)
  with jax.default_matmul_precision('highest'):
    parts = [
      _batch(apply)(params, np.resize(z[i : i + 128], (128, *z.shape[1:])))
      for i in range(0, len(z), 128)
    ]
  logits = np.concatenate(parts)
  others = np.delete(logits, label, 1)
  return float((logits[:, label] - others.max(1)).min())


@pytest.mark.parametrize('name', NAMES)
def test_layers_are_the_network(name):
  apply, params, shape, found = network(name)
  assert len(found.layers) == (0 if name == 'dense' else 2)
  for x in np.random.default_rng(1).random((2, *shape), np.float32):
    values = list(x.reshape(-1, shape[2]))
    for layer in found.layers:
      values = [
        np.maximum(group.floor, (group.bias + sum(
          values[r] @ matrix
          for r, matrix in zip(group.sources, group.matrices, strict=True)
        )).reshape(group.windows.shape).max(0))
        for group in layer
      ]  # fmt: skip
    sums = found.sums.bias.copy()
    for value, (entries, matrix) in zip(values, found.sums.blocks, strict=True):
      sums[entries] += value @ matrix
    np.testing.assert_allclose(
      found.head(sums), apply(params, x), rtol=1e-4, atol=1e-4
    )


def test_groups_depend_on_few_pixels():
  first, second = network('digits')[3].layers
  assert [len(first), len(second)] == [8 * 8, 4 * 4]
  # 3x3 convolutions, the second pooled over 2x2; fewer at the border.
  assert sorted({len(group.sources) for group in first}) == [4, 6, 9]
  assert sorted({len(group.sources) for group in second}) == [9, 12, 16]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('max_patterns', [1, 4, 4096])
def test_sums_of_every_image_lie_between_those_of_the_tables(
  name, max_patterns
):
  found = network(name)[3]
  codes, allowed = a_node(name, 5, 3 if name == 'colour' else 2)
  (*_, made) = tables.tabulated(found, codes, allowed, max_patterns)
  if found.layers:
    assert max(table.rows for table in made) <= max_patterns
  low, high = tables.ranges(found.sums, made)
  for z in images_of(codes, allowed)[::5]:
    single = (z[..., None, :] == codes).all(-1)
    (*_, one) = tables.tabulated(found, codes, single, 1)
    sums = tables.summed(found.sums, one).low
    assert (low - 1e-4 <= sums).all() and (sums <= high + 1e-4).all()
  closed = all(table.high is table.low for table in made)
  assert closed == (max_patterns == 4096 or name == 'dense')
  if not closed:
    with pytest.raises(ValueError, match='tables hold intervals'):
      tables.summed(found.sums, made)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('max_patterns', [1, 4096])
def test_what_is_lost_covers_the_network_itself(name, max_patterns):
  found = network(name)[3]
  codes, allowed = a_node(name, 5, 3 if name == 'colour' else 2)
  made, losses = table_nodes._tabulated(found, codes, allowed, max_patterns)
  low, high = tables.ranges(found.sums, made)
  seen = 0.0
  for z in images_of(codes, allowed)[::9]:
    single = (z[..., None, :] == codes).all(-1)
    exact, lost = table_nodes._tabulated(found, codes, single, 1)
    sums = tables.summed(found.sums, exact).low
    values = z.reshape(-1)
    for step in found.steps:
      values = step.fn(values)
    off = np.abs(np.asarray(values) - sums)
    assert (off <= lost.whole).all() and (lost.own <= lost.whole).all()
    assert (lost.whole <= losses.whole * (1 + 1e-5)).all()
    assert (low - losses.whole <= values).all()
    assert (values <= high + losses.whole).all()
    seen = max(seen, off.max())
  assert 0 < seen and losses.whole.max() < 1e-3


def test_roundings_are_counted_along_blocks():
  # Entries of a block, blocks, and a bias.
  counts = [step.again for step in network('digits')[3].steps]
  assert counts == [1 + 9 + 1, 3 + 16 + 1, 6 + 16 + 1]
  # Dividing, 9 products and means are within the blocks of the first layer.
  first, *_ = network('strided')[3].steps
  assert first.again > 1 + 15 + 9


@pytest.mark.parametrize('name', NAMES)
def test_bounds_of_nodes_are_below_every_image_and_not_far_below(name):
  apply, params, _, found = network(name)
  gaps = []
  for seed in range(9):
    num_codes = 3 if name == 'colour' else 2
    codes, allowed = a_node(name, seed, num_codes)
    truth = least_margin(name, codes, allowed, seed % 3)
    for max_patterns in (1, 8, 64):
      looked = table_nodes.examine(
        apply, params, found, codes, allowed, seed % 3, max_patterns
      )
      assert looked.lower.min() <= truth
      first, second = np.asarray(looked.halves)
      split = (first != second).any(-1)
      assert split.sum() == 1 and not (first & second)[split].any()
      np.testing.assert_array_equal(first | second, allowed)
      assert first.any(-1).all() and second.any(-1).all()
      if looked.lower.min() <= 0:
        own = np.take_along_axis(
          allowed, np.asarray(looked.tried.codes)[..., None], -1
        )
        assert own.all() and looked.tried.margin >= truth - 1e-5
    gaps.append(truth - float(looked.lower.min()))
    if truth <= 0 and tables.num_images(allowed) <= max_patterns:
      # Enumerated: the least margin but for rounding, whose image it is.
      assert 0 < gaps[-1] < 5e-3
      assert looked.tried.margin == pytest.approx(truth, abs=1e-4)
  assert np.median(gaps) < 0.3


@pytest.mark.parametrize('name, num_codes', [
  ('digits', 2), ('colour', 3), ('strided', 4)
])  # fmt: skip
def test_decisions_agree_with_trying_everything(name, num_codes, monkeypatch):
  monkeypatch.setattr(d, '_FIRST_PATTERNS', 1)  # in colour roots are seen twice
  apply, params, shape, found = network(name)
  rng = np.random.default_rng(num_codes)
  codes = rng.random((num_codes, shape[2]), np.float32)
  images = rng.random((12, *shape), np.float32)
  # Nodes of any shape, around what each image is turned into.
  allowed = np.stack([np.asarray(reachable(x, codes, 0.0)) for x in images])
  for own, x in zip(allowed, images, strict=True):
    wide = np.asarray(reachable(x, codes, 0.3))
    some = rng.permutation(shape[0] * shape[1])[:7]
    rows, columns = np.unravel_index(some, shape[:2])
    own[rows, columns] = wide[rows, columns]
  z = codes[allowed.argmax(-1)]
  labels = np.asarray(_batch(apply)(params, z)).argmax(1)
  labels[::4] = (labels[::4] + 1) % 3
  truth = np.array(
    [
      least_margin(name, codes, *pair)
      for pair in zip(allowed, labels, strict=True)
    ]
  )
  decided = d.decide(
    apply,
    params,
    codes,
    images,
    labels,
    0.3,
    allowed=allowed,
    batch_size=1,
    leaf_size=1,
    max_nodes=500,
    network=found,
    max_patterns=1 if shape[2] == 1 else 9,
  )
  assert (truth[decided.status == d.CERTIFIED] > 0).all()
  assert (truth[decided.status == d.REFUTED] <= 1e-4).all()
  assert (decided.lower <= truth + 1e-4).all()
  left = decided.status == d.UNDECIDED
  if shape[2] == 1:
    assert (np.abs(truth[left]) <= 1e-3).all()
  assert (decided.status == d.CERTIFIED).sum() >= 3
  assert (decided.status == d.REFUTED).sum() >= 3
  if name != 'strided':
    assert decided.nodes.max() > 1


def test_above_the_threshold_only_the_root_is_looked_at():
  apply, params, shape, found = network('digits')
  codes, allowed = a_node('digits', 2, free=9)
  image, label = codes[allowed.argmax(-1)][None], np.array([0])
  label[0] = _batch(apply)(params, image)[0].argmax()
  ambiguous = int((allowed.sum(-1) > 1).sum())

  def nodes(threshold):
    return d.decide(
      apply, params, codes, image, label, 0.0, allowed=allowed[None],
      max_patterns=1, leaf_size=1, batch_size=1, network=found,
      max_ambiguous=threshold,
    ).nodes[0]  # fmt: skip

  assert nodes(ambiguous - 1) == 1 < nodes(ambiguous) == nodes(None)


def test_a_root_that_few_rows_leave_open_is_looked_at_again(monkeypatch):
  apply, params, shape, found = network('digits')
  codes, allowed = a_node('digits', 8, free=9)
  image, label = codes[allowed.argmax(-1)][None], np.array([0])
  label[0] = _batch(apply)(params, image)[0].argmax()

  def decided(first, most, budget):
    monkeypatch.setattr(d, '_FIRST_PATTERNS', first)
    return d.decide(
      apply, params, codes, image, label, 0.0, allowed=allowed[None],
      max_patterns=most, leaf_size=1, batch_size=1, network=found,
      max_nodes=budget, max_ambiguous=0,
    )  # fmt: skip

  poor, rich = decided(1, 1, 9), decided(512, 512, 9)
  assert poor.nodes == rich.nodes == 1 and poor.lower < rich.lower
  assert (poor.status, rich.status) == (d.UNDECIDED, d.CERTIFIED)
  both = decided(1, 512, 9)
  assert both.nodes == 2 and both.status == rich.status
  np.testing.assert_array_equal(both.lower, rich.lower)
  assert decided(1, 512, 1).status == d.UNDECIDED


def test_networks_that_branch_are_refused_by_name():
  fn, shape = residual()
  with pytest.raises(ValueError, match="layer 'add.*' joins values"):
    layered(fn, jnp.zeros(shape))
  smooth = lambda x: jnp.matmul(jnp.tanh(x).reshape(-1), jnp.ones((4, 2)))
  with pytest.raises(ValueError, match="'tanh'.* neither affine nor"):
    layered(smooth, jnp.zeros((2, 2, 1)))


@st.composite
def sums(draw):
  sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
  rng = np.random.default_rng(draw(st.integers(0, 2**16)))
  terms = []
  for _ in range(draw(st.integers(1, 7))):
    variables = tuple(np.flatnonzero(rng.random(len(sizes)) < 0.5).tolist())
    table = rng.integers(-9, 9, [sizes[v] for v in variables]).astype(float)
    terms.append((variables, table))
  return sizes, terms


@settings(max_examples=200)
@given(sums(), st.sampled_from([1, 4, 1000]))
def test_least_sums_against_all_values(problem, max_entries):
  sizes, terms = problem
  truth, every = np.inf, {}
  for z in itertools.product(*map(range, sizes)):
    value = sum(float(t[tuple(z[v] for v in vs)]) for vs, t in terms)
    truth, every[z] = min(truth, value), value
  found = least_sum(terms, max_entries)
  assert found.bound <= truth
  if max_entries == 1000:
    assert found.exact
  if found.exact:
    z = tuple(found.choice.get(v, 0) for v in range(len(sizes)))
    assert found.bound == truth == every[z]


def test_many_buckets_still_bound_a_ring():
  rng = np.random.default_rng(0)
  pairs = [tuple(sorted((i, (i + 1) % 12))) for i in range(12)]
  terms = [(pair, rng.integers(-9, 9, (2, 2)).astype(float)) for pair in pairs]
  loose, tight = least_sum(terms, 4), least_sum(terms, 8)
  assert tight.exact and not loose.exact and loose.bound <= tight.bound

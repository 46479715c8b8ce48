"""Decisions against exhaustive search, and what they promise of witnesses."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import api, deployed
from rdefense.certify import decide as d
from rdefense.certify import nodes
from rdefense.certify.layers import layered
from rdefense.certify.reachable import reachable
from rdefense.defenses.discretize import nearest_code

SHAPE = (3, 3, 1)
reached = jax.jit(jax.vmap(reachable, (0, None, None)))


def dense(params, z):
  """A network of one hidden layer, its first channel repeated."""
  first, second, bias = params
  hidden = jax.nn.relu(jnp.matmul(z.reshape(-1), first) + bias)
  return jnp.matmul(hidden, second)


def a_problem(seed, num_codes=2, channels=1, count=4):
  rng = np.random.default_rng(seed)
  size = 9 * channels
  params = [
    rng.normal(0, 1, (size, 6)), rng.normal(0, 1, (6, 3)),
    rng.normal(0, 0.5, 6),
  ]  # fmt: skip
  params = jax.tree.map(np.float32, params)
  codes = rng.random((num_codes, channels), np.float32)
  images = rng.random((count, 3, 3, channels), np.float32)
  z = jax.vmap(lambda x: nearest_code(codes).apply(jax.random.key(0), x))(
    images
  )
  labels = np.asarray(jax.vmap(dense, (None, 0))(params, z).argmax(1))
  return params, codes, images, labels


def solve(params, codes, images, labels, eps, **options):
  allowed = np.asarray(reached(images, codes, eps))
  arguments = {'batch_size': 16, 'leaf_size': 4, 'max_nodes': 5000} | options
  return allowed, d.decide(
    dense, params, codes, images, labels, eps, **arguments
  )


def images_of(codes, allowed):
  """All images of a product of sets."""
  choices = [np.flatnonzero(a) for a in allowed.reshape(-1, len(codes))]
  return codes[np.array([*itertools.product(*choices)])]


def least_margin(params, codes, allowed, label):
  """Over all images of a product of sets, one by one."""
  z = images_of(codes, allowed)
  first, second, bias = map(np.float64, params)
  flat = z.reshape(len(z), -1)
  logits = np.maximum(flat @ first + bias, 0) @ second
  others = np.delete(logits, label, 1)
  return (logits[:, label] - others.max(1)).min()


def check(problem, eps, allowed, found):
  params, codes, images, labels = problem
  channels = images.shape[-1]
  for i, status in enumerate(found.status):
    truth = least_margin(params, codes, allowed[i], labels[i])
    assert found.lower[i] <= truth + 1e-4
    if status == d.CERTIFIED:
      assert truth > 0
    elif status == d.REFUTED:
      assert truth <= 1e-4
      x = found.witness[i]
      assert np.abs(x - images[i]).max() <= eps + 1e-6
      assert 0 <= x.min() and x.max() <= 1
      z = nearest_code(codes).apply(jax.random.key(0), x)
      assert dense(params, z).argmax() != labels[i]
    else:  # in colour, codes of the set that no point was found for
      assert abs(truth) <= 1e-4 or channels > 1 and truth < 0


@pytest.mark.parametrize(
  'seeds',
  [
    pytest.param(range(150), id='150'),
    pytest.param(range(150, 1000), id='850', marks=pytest.mark.slow),
  ],
)
def test_a_thousand_random_networks_are_never_contradicted(seeds):
  counts, branched = np.zeros(3, int), 0
  for seed in seeds:
    problem = a_problem(seed, count=1)
    eps, leaf_size = ((0.1, 4), (0.25, 1), (0.4, 1))[seed % 3]
    allowed, found = solve(*problem, eps, leaf_size=leaf_size)
    check(problem, eps, allowed, found)
    counts += np.bincount(found.status, minlength=3)
    branched += found.nodes[0] > 1
  undecided, certified, refuted = counts / len(seeds)
  assert undecided <= 0.02 and certified >= 0.2 and refuted >= 0.2
  assert branched >= 0.05 * len(seeds)


@pytest.mark.parametrize(
  'seeds',
  [range(4), pytest.param(range(4, 8), marks=pytest.mark.slow)],
  ids=['first', 'others'],
)
@pytest.mark.parametrize('num_codes, channels', [(3, 1), (3, 3), (5, 1)])
def test_more_codes_and_channels(num_codes, channels, seeds):
  for seed in seeds:
    problem = a_problem(seed, num_codes, channels)
    allowed, found = solve(*problem, 0.08)
    check(problem, 0.08, allowed, found)


def test_enumeration_is_exhaustive():
  params, codes, images, labels = a_problem(3, count=1)
  allowed = np.asarray(reachable(images[0], codes, 0.3))
  count = int(allowed.sum(-1).prod())
  size = 1 << (count - 1).bit_length()
  found = nodes.enumerated(dense, params, codes, allowed, labels[0], size)
  truth = least_margin(params, codes, allowed, labels[0])
  assert float(found.tried.margin) == pytest.approx(truth, abs=1e-4)
  assert truth - 1e-4 <= found.lower <= truth
  assert np.take_along_axis(allowed, found.tried.codes[..., None], -1).all()


examine = jax.jit(functools.partial(nodes.examine, dense))


@pytest.mark.parametrize('seed', range(4))
def test_halves_are_a_partition(seed):
  params, codes, images, labels = a_problem(seed, num_codes=4, count=1)
  allowed = np.asarray(reachable(images[0], codes, 0.3))
  looked = examine(params, codes, allowed, labels[0], jnp.full(3, -jnp.inf))
  first, second = looked.halves
  split = np.asarray((first != second).any(-1))
  assert split.sum() == 1 and not (first & second)[split].any()
  np.testing.assert_array_equal(first | second, allowed)
  assert first.any(-1).all() and second.any(-1).all()
  assert looked.lower.min() <= looked.tried.margin + 1e-5


def test_the_attack_in_code_space_finds_what_one_flip_does():
  codes = np.float32([[0.0], [1.0]])
  params = 1.0
  apply = lambda p, z: jnp.stack([p - 3 * z[0, 0, 0], 0.0 * z[0, 0, 0]])
  allowed = np.ones((*SHAPE[:2], 2), bool)
  start = np.zeros(SHAPE[:2], np.int32)
  tried = nodes.flipped(apply, params, codes, allowed, 0, start)
  assert tried.margin == -2.0 and tried.codes[0, 0] == 1


@pytest.mark.parametrize('scale', [2.0**-30, 2.0**30])
def test_the_unit_of_logits_does_not_matter(scale):
  for seed in range(12):
    params, codes, images, labels = a_problem(seed)
    _, found = solve(params, codes, images, labels, 0.25)
    scaled = [params[0] * scale, params[1], params[2] * scale]
    scaled = [np.float32(a) for a in scaled]
    _, again = solve(scaled, codes, images, labels, 0.25)
    np.testing.assert_array_equal(again.status, found.status)
    # Dead networks have margin 0, and what is added for tiny numbers stays.
    np.testing.assert_allclose(
      again.lower / scale, found.lower, rtol=1e-6, atol=1e-20
    )


def shifted(params, z):
  *network, last = params
  return dense(network, z) + last


def a_close_call(seed, scale, lead):
  """Nine free pixels; the least margin of all images is about `lead`."""
  params, codes, images, labels = a_problem(seed, count=1)
  allowed = np.ones((1, 3, 3, 2), bool)
  params = [
    np.float32(scale) * params[0],
    params[1],
    np.float32(scale) * params[2],
  ]
  least = least_margin(params, codes, allowed[0], labels[0])
  last = np.zeros(3, np.float32)
  last[labels[0]] = lead - least
  truth = least + np.float64(last[labels[0]])
  return [*params, last], codes, images, labels, allowed, truth


def behind(codes, alpha):
  return nearest_code(codes, alpha)


@pytest.mark.parametrize(
  'scale, by_tables',
  [
    (1.0, False),
    (1e2, False),
    (1e6, False),
    (1e2, True),
    pytest.param(1.0, True, marks=pytest.mark.slow),
    pytest.param(1e6, True, marks=pytest.mark.slow),
  ],
)
def test_what_is_certified_is_so_in_float32_and_in_float64(scale, by_tables):
  """Images whose margins are of the order of what float32 rounds."""
  wrong = certified = 0
  # Of tables, which compile once an image, half as many.
  seeds = range(8) if by_tables else range(16)
  leads = {i: (-1) ** i * 10.0 ** -(i // 2 + 1) for i in seeds}
  for seed, lead in (leads | dict.fromkeys((18, 25, 51, 53, 55), 1e-8)).items():
    *problem, allowed, truth = a_close_call(seed, scale, scale * lead)
    params, codes, images, labels = problem
    network = layered(
      functools.partial(shifted, params), jnp.zeros(images.shape[1:])
    )
    found = d.decide(
      shifted, *problem, 1.0, allowed=allowed, batch_size=8,
      leaf_size=1 if by_tables else 16, network=network if by_tables else None,
    )  # fmt: skip
    z = images_of(codes, allowed[0]).reshape(-1, *images.shape[1:])
    target = deployed.Target(shifted, behind, params, codes)
    key, index = jax.random.key(0), np.arange(len(z))
    judged, _ = deployed.judge(target, key, index, z, labels.repeat(len(z)))
    right = (judged == labels).all()
    wrong += not right
    assert found.lower <= truth
    if found.status == d.CERTIFIED:
      certified += 1
      predict = api.predict(
        functools.partial(shifted, params), nearest_code(codes)
      )
      predicted = predict(jax.random.key(0), z)
      assert right and truth > 0 and (predicted == labels).all()
    elif found.status == d.REFUTED:  # on some device, where it is that close
      assert not right or abs(truth) < 1e-6 * scale
    else:
      assert abs(truth) < 3e-5 * scale
  assert wrong >= (4 if by_tables else 5) and certified >= 4


def test_results_do_not_depend_on_the_batch():
  problem = a_problem(11, count=6)
  _, together = solve(*problem, 0.2, batch_size=64)
  for i in range(6):
    alone = tuple(a if a is problem[0] or a is problem[1] else a[i : i + 1]
                  for a in problem)  # fmt: skip
    _, one = solve(*alone, 0.2, batch_size=8)
    assert one.status[0] == together.status[i]


@pytest.mark.parametrize('leaf_size', [1, 16])
@pytest.mark.parametrize('by_tables', [False, True], ids=['linear', 'tables'])
def test_numbers_beyond_float32_prove_nothing(by_tables, leaf_size):
  params, codes, images, labels = a_problem(5)
  params = [np.float32(1e20) * a for a in params]
  network = layered(functools.partial(dense, params), jnp.zeros((3, 3, 1)))
  _, found = solve(
    params, codes, images, labels, 0.15, max_nodes=10, leaf_size=leaf_size,
    network=network if by_tables else None,
  )  # fmt: skip
  assert (found.status != d.CERTIFIED).all()
  assert not np.isnan(found.lower).any() and (found.lower <= 0).all()


def test_bounds_that_are_not_a_number_become_none_at_all():
  params, codes, images, labels = a_problem(3, count=1)
  allowed = np.asarray(reachable(images[0], codes, 0.3))
  params[1][0, 0] = np.nan
  looked = examine(params, codes, allowed, labels[0], jnp.full(3, -jnp.inf))
  assert (np.delete(looked.lower, labels[0]) == -np.inf).all()
  found = nodes.enumerated(dense, params, codes, allowed, labels[0], 16)
  assert found.lower == -np.inf and np.isnan(found.tried.margin)


def cancelling(params, z):
  """Class 1 by 1, until two pixels of 1 overflow: then infinity - infinity."""
  hidden = jnp.matmul(z.reshape(-1), params)
  return jnp.stack([hidden[0] - hidden[1] - 1, hidden[2]])


def test_an_image_without_a_class_is_no_witness():
  params = np.zeros((9, 3), np.float32)
  params[:2, :2] = 3e38
  codes = np.float32([[0.0], [1.0]])
  images = np.full((1, 3, 3, 1), 0.1, np.float32)
  images[0, 0, :2] = 0.45
  for leaf_size in (1, 4):  # as a corner that a bound fears, and as a leaf
    found = d.decide(
      cancelling, params, codes, images, np.array([1]), 0.1,
      leaf_size=leaf_size,
    )  # fmt: skip
    assert found.status == d.UNDECIDED
    np.testing.assert_array_equal(found.witness, images)


def test_a_clean_image_without_a_class_is_told():
  params, codes = np.full((9, 3), 3e38, np.float32), np.float32([[0.0], [1.0]])
  images = np.full((2, 3, 3, 1), 0.1, np.float32)
  images[1] = 0.9
  for label in (0, 1):  # what argmax makes of NaN, and another class
    labels = np.full(2, label)
    with pytest.raises(ValueError, match='logits of image 1 are NaN'):
      d.decide(cancelling, params, codes, images, labels, 0.1)


def test_a_spent_budget_is_undecided():
  for seed in range(20):
    problem = a_problem(seed)
    _, full = solve(*problem, 0.4, leaf_size=1)
    if full.nodes.max() > 1:
      break
  _, poor = solve(*problem, 0.4, leaf_size=1, max_nodes=1)
  assert (poor.nodes <= 1).all() and full.nodes.max() > 1
  changed = poor.status != full.status
  assert changed.any() and (poor.status[changed] == d.UNDECIDED).all()


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'eps': -0.1}, 'eps=-0.1 must be at least 0'),
    ({'max_nodes': 0}, 'max_nodes=0 must be at least 1'),
    ({'leaf_size': 3}, 'leaf_size=3 must be a power of two'),
    ({'images': np.full((4, 3, 3, 1), 99.0)}, 'divide by 255'),
    ({'images': np.zeros((0, 3, 3, 1))}, 'empty batch'),
    ({'labels': np.array([0, 1, 2, 3])}, 'label'),
    ({'labels': np.array([0, 1])}, 'label'),
    ({'codes': np.float32([[0.0], [2.0]])}, 'code'),
    ({'codes': np.zeros((2, 3), np.float32)}, 'code'),
    ({'codes': np.float32([[0.0], [0.5], [1.0]])}, 'of another codebook'),
    ({'allowed': np.zeros((4, 3, 3, 2), bool)}, '36 pixels without any code'),
    ({'allowed': np.ones((4, 3, 3, 2), int)}, 'allowed has dtype int'),
    (
      {'params': [np.full((9, 6), np.nan), np.ones((6, 3)), np.zeros(6)]},
      'params hold NaN or infinite numbers in 1 of 3 arrays.*diverge',
    ),
    ({'apply': lambda p, z: jnp.tanh(z.reshape(-1)[:3])}, "layer 'tanh'"),
  ],
)
def test_mistakes_are_one_sentence(changes, words):
  params, codes, images, labels = a_problem(0)
  allowed = np.ones((4, 3, 3, 2), bool)
  arguments = {
    'apply': dense, 'params': params, 'codes': codes, 'images': images,
    'labels': labels, 'eps': 0.1, 'allowed': allowed, 'leaf_size': 1,
  }  # fmt: skip
  with pytest.raises(ValueError, match=words):
    d.decide(**(arguments | changes))


def test_float64_mixed_into_float32_is_told():
  params, codes, images, labels = a_problem(0)
  with jax.enable_x64(), pytest.raises(ValueError, match='jax_enable_x64'):
    d.decide(dense, params, codes, images, labels, 0.1)

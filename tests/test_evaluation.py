"""Rows, cascades of recipes, judging and resumption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rdefense import deployed, evaluation, losses, records, threats
from rdefense.attacks import assemble, recipes, run, sign
from rdefense.attacks.assembly import Recipe
from rdefense.data import Arrays, batches, to_unit
from rdefense.defenses import Defense, gaussian, nearest_code
from rdefense.parallel import layout

NUM, SHAPE, EPS, NUM_CLASSES = 50, (4, 4, 1), 0.12, 3
_RNG = np.random.default_rng(2)
PARAMS = _RNG.normal(size=(NUM_CLASSES, 16)).astype(np.float32)
CODES = np.linspace(0, 1, 4, dtype=np.float32)[:, None]


def apply(params, x):
  return params @ x.ravel()


def defend(codes, alpha):
  return nearest_code(codes, alpha)


def make_arrays():
  """Labels are the deployed predictions, except for every fifth example."""
  images = _RNG.integers(0, 256, (NUM, *SHAPE), np.uint8)
  apply = nearest_code(CODES).apply
  deployed = jax.vmap(lambda x: apply(None, x))(to_unit(images))
  labels = (np.asarray(deployed).reshape(NUM, -1) @ PARAMS.T).argmax(-1)
  labels[::5] = (labels[::5] + 1) % NUM_CLASSES
  return Arrays(images, labels.astype(np.int32), NUM_CLASSES, 'toy')


ARRAYS = make_arrays()
TARGET = deployed.Target(apply, defend, PARAMS, CODES)
WRONG = np.arange(NUM) % 5 == 0  # without any attack
KEY = jax.random.key(3)

CORNER = Recipe('corner', losses.margin, sign, 0.03, 1, 'lower', 'identity')
RANDOM = Recipe('random', losses.margin, sign, 0.03, 4, 'random')
UPPER = RANDOM._replace(name='upper', start='upper', alpha=4.0)
(LAST,) = recipes.paper_a(num_steps=5, step_size=0.03)
(OTHER,) = recipes.paper_a(num_steps=2, step_size=0.05)
OTHER = OTHER._replace(name='other', start='upper')


def evaluate(directory, chosen, eps=EPS, batch_size=25, **options):
  return evaluation.evaluate(
    TARGET,
    options.pop('arrays', ARRAYS),
    chosen,
    'linf',
    eps,
    KEY,
    directory,
    batch_size,
    **options,
  )


def wrong(rows):
  return rows['verdict/predicted'] != rows['label']


def assert_same_rows(mine, theirs, exact=True):
  assert mine.keys() == theirs.keys()
  for name in mine.keys() - {'verdict/seconds'}:
    if exact or name != 'verdict/margin':
      np.testing.assert_array_equal(mine[name], theirs[name], name)
    else:  # another batch size may sum in another order
      np.testing.assert_allclose(mine[name], theirs[name], atol=1e-5)


def test_rows_are_as_promised(tmp_path):
  rows = evaluate(tmp_path, (CORNER, RANDOM))
  kinds = {
    'index': 'int64',
    'label': 'int32',
    'verdict/predicted': 'int32',
    'verdict/margin': 'float32',
    'verdict/gradients': 'int32',
    'verdict/broken_by': 'int32',
    'verdict/seconds': 'float32',
  }
  assert {name: str(column.dtype) for name, column in rows.items()} == kinds
  np.testing.assert_array_equal(rows['index'], np.arange(NUM))
  np.testing.assert_array_equal(rows['label'], ARRAYS.labels)
  assert (rows['verdict/seconds'] > 0).all()
  np.testing.assert_array_equal(wrong(rows), rows['verdict/margin'] < 0)
  for name, column in records.read(tmp_path).items():
    np.testing.assert_array_equal(column, rows[name])


def test_no_recipe_at_all_means_clean_accuracy(tmp_path):
  rows = evaluate(tmp_path, (), eps=0.0)
  np.testing.assert_array_equal(wrong(rows), WRONG)
  assert not rows['verdict/gradients'].any()
  assert (rows['verdict/broken_by'] == -1).all()


def test_only_the_first_examples_are_evaluated(tmp_path):
  rows = evaluate(tmp_path, (), 0.0, batch_size=20, num_examples=33)
  np.testing.assert_array_equal(rows['index'], np.arange(33))
  assert len(records.completed(tmp_path)) == 2


def test_what_is_misclassified_is_not_attacked(tmp_path):
  rows = evaluate(tmp_path, (CORNER, RANDOM))
  assert not rows['verdict/gradients'][WRONG].any()
  assert (rows['verdict/broken_by'][WRONG] == -1).all()
  assert wrong(rows)[WRONG].all()
  assert (rows['verdict/gradients'][~WRONG] > 0).all()


def test_a_cascade_is_the_worst_case_of_its_recipes(tmp_path):
  ensemble = (CORNER, RANDOM, UPPER)
  rows = evaluate(tmp_path / 'all', ensemble)
  alone = np.stack([wrong(evaluate(tmp_path / r.name, (r,))) for r in ensemble])
  np.testing.assert_array_equal(wrong(rows), alone.any(0))
  first = np.where(alone.any(0) & ~WRONG, alone.argmax(0), -1)
  np.testing.assert_array_equal(rows['verdict/broken_by'], first)
  # Some fall to each of two recipes, some survive: the test sees the order.
  assert len(np.unique(first)) >= 3


def test_the_order_of_recipes_changes_no_verdict(tmp_path):
  there = evaluate(tmp_path / 'there', (CORNER, RANDOM))
  back = evaluate(tmp_path / 'back', (RANDOM, CORNER))
  np.testing.assert_array_equal(wrong(there), wrong(back))


@pytest.mark.parametrize(
  'ensemble',
  [(RANDOM, LAST), (LAST, RANDOM), (LAST, OTHER)],
  ids=['best_last', 'last_best', 'last_last'],
)
def test_a_later_recipe_undoes_no_success(tmp_path, ensemble):
  rows = evaluate(tmp_path / 'all', ensemble)
  alone = [wrong(evaluate(tmp_path / r.name, (r,))) for r in ensemble]
  np.testing.assert_array_equal(wrong(rows), np.any(alone, 0))
  # A recipe misses what another one beats: there is something to undo.
  assert (alone[0] != alone[1]).any()


def test_paper_a_attacks_every_example_and_judges_last_iterates(tmp_path):
  rows = evaluate(tmp_path, (LAST,))
  assert (rows['verdict/gradients'] > 0).all()
  x, y = to_unit(ARRAYS.images), ARRAYS.labels
  key = jax.random.key(0)  # nothing random in it

  def submissions(recipe):
    attack = assemble(
      recipe,
      lambda x: apply(PARAMS, x),
      defend(CODES, LAST.alpha),
      threats.linf(EPS),
    )
    one = lambda x, y: run(attack, LAST.num_steps)(key, x, y)[0].z
    return jax.jit(jax.vmap(one))(x, y)

  last, best = (
    deployed.judge(TARGET, key, np.arange(NUM), submissions(recipe), y)
    for recipe in (LAST, LAST._replace(keep='best'))
  )
  np.testing.assert_array_equal(rows['verdict/predicted'], last[0][:, 0])
  np.testing.assert_allclose(rows['verdict/margin'], last[1], atol=1e-5)
  assert not np.allclose(best[1], last[1], atol=1e-3)


def test_restarts_are_paid_for(tmp_path):
  one = Recipe('one', losses.margin, sign, 0.03, 0, 'clean')
  three = one._replace(name='three', num_restarts=3)
  rows = [evaluate(tmp_path / r.name, (r,)) for r in (one, three)]
  for row, cost in zip(rows, (1, 3)):
    np.testing.assert_array_equal(row['verdict/gradients'], cost * ~WRONG)


def test_submissions_are_inside_the_ball_and_judged_as_stored():
  (batch,) = batches(ARRAYS, 56)
  verdicts = evaluation.attack(TARGET, (CORNER, LAST), 'linf', EPS, KEY, batch)
  assert np.abs(verdicts.z - batch.image).max() <= EPS + 6e-8
  assert verdicts.z.min() >= 0 and verdicts.z.max() <= 1
  predicted, margin = deployed.judge(
    TARGET, KEY, batch.index, verdicts.z, batch.label
  )
  np.testing.assert_array_equal(verdicts.draws, predicted)
  np.testing.assert_array_equal(verdicts.predicted, predicted[:, 0])
  np.testing.assert_allclose(verdicts.margin, margin, atol=1e-5)
  padding = ~batch.mask
  np.testing.assert_array_equal(verdicts.z[padding], batch.image[padding])
  assert padding.any() and not verdicts.gradients[padding].any()


@pytest.mark.parametrize('batch_size', [7, 50])
def test_the_batch_size_changes_no_verdict(tmp_path, batch_size):
  expected = evaluate(tmp_path / 'expected', (CORNER, RANDOM))
  rows = evaluate(tmp_path / 'rows', (CORNER, RANDOM), batch_size=batch_size)
  assert_same_rows(rows, expected, exact=False)


def test_a_resumed_run_computes_only_what_is_missing(tmp_path):
  expected = evaluate(tmp_path, (CORNER, RANDOM), batch_size=10)
  lost = records.shard_path(tmp_path, 1)
  lost.unlink()
  kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*.npz')}
  assert len(kept) == 4
  resumed = evaluate(tmp_path, (CORNER, RANDOM), batch_size=10)
  assert_same_rows(resumed, expected)
  assert lost.exists()
  for path, time in kept.items():
    assert path.stat().st_mtime_ns == time


def test_a_truncated_shard_is_named(tmp_path):
  evaluate(tmp_path, (), 0.0)
  path = records.shard_path(tmp_path, 1)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError) as caught:
    evaluate(tmp_path, (), 0.0)
  message = str(caught.value)
  assert str(path) in message and 'truncated' in message
  assert '\n' not in message
  path.unlink()
  evaluate(tmp_path, (), 0.0)


def test_an_attack_is_judged_on_draws_it_has_not_seen(tmp_path):
  """Behind loud noise each attack sees itself win; the judge disagrees."""

  def loud(codes, alpha):
    def fn(key, x):
      return x + 3 * jax.random.normal(key, x.shape)

    return Defense(fn, fn)

  target = TARGET._replace(defend=loud, codes=None)
  (batch,) = batches(ARRAYS, NUM)
  recipe = RANDOM._replace(num_steps=12)
  verdicts = evaluation.attack(target, (recipe,), 'linf', 0.0, KEY, batch)
  attacked = verdicts.gradients > 0
  # Twelve draws: fooled in its own eyes but for a few, and rightly so.
  assert (verdicts.gradients[attacked] < 13).mean() > 0.9
  # An empty ball: what was right under the judge's draw still is.
  assert (verdicts.predicted == batch.label)[attacked].all()


@pytest.mark.parametrize('eps', [-0.1, float('nan')], ids=['negative', 'nan'])
def test_a_radius_below_zero_is_an_error(tmp_path, eps):
  with pytest.raises(ValueError, match='eps=.* must be at least 0'):
    evaluate(tmp_path, (CORNER,), eps=eps)
  assert not list(tmp_path.iterdir())


def test_batches_of_nothing_are_refused(tmp_path):
  with pytest.raises(ValueError, match='batch_size=0 must be at least 1'):
    evaluate(tmp_path, (), batch_size=0)


@pytest.mark.parametrize('label', [-1, NUM_CLASSES])
def test_labels_out_of_range_are_an_error(tmp_path, label):
  labels = ARRAYS.labels.copy()
  labels[7] = label
  with pytest.raises(ValueError, match='labels span .* classes 0 to 2'):
    evaluate(tmp_path, (), arrays=ARRAYS._replace(labels=labels))


def test_other_parameters_and_radii_are_not_compiled_again():
  (batch,) = batches(ARRAYS, NUM)
  traces = []

  def counted(params, x):
    traces.append(None)
    return apply(params, x)

  target = TARGET._replace(apply=counted)
  results = []
  for params, codes, eps, recipe in (
    (PARAMS, CODES, 0.05, RANDOM),
    (-PARAMS, CODES, 0.05, RANDOM),
    (PARAMS, CODES * 0.5, 0.1, UPPER),
  ):
    # All examples, wrong ones too: another number would be another shape.
    recipe = recipe._replace(every_example=True)
    results.append(
      evaluation.attack(
        target._replace(params=jnp.asarray(params), codes=codes),
        (recipe,),
        'linf',
        eps,
        jax.random.fold_in(KEY, len(results)),
        batch,
        compact=False,
      )
    )
    if len(results) == 1:
      first = len(traces)
  assert len(traces) == first > 0
  assert not np.array_equal(results[0].margin, results[1].margin)


BY_MARGIN = RANDOM._replace(name='by margin')
BY_ENTROPY = RANDOM._replace(name='by entropy', loss=losses.cross_entropy)


def test_recipes_that_differ_in_loss_share_what_is_compiled():
  (batch,) = batches(ARRAYS, NUM)

  def num_traces(*chosen):
    traces = []

    def counted(params, x):
      traces.append(None)
      return apply(params, x)

    # At radius 0 nothing is beaten: fewer examples would be another shape.
    evaluation.attack(
      TARGET._replace(apply=counted), chosen, 'linf', 0.0, KEY, batch
    )
    return len(traces)

  assert num_traces(BY_MARGIN, BY_ENTROPY) == num_traces(BY_MARGIN) > 0


def test_recipes_that_differ_in_loss_do_what_each_does_alone():
  (batch,) = batches(ARRAYS, NUM)

  def attacked(*chosen):
    return evaluation.attack(TARGET, chosen, 'linf', EPS / 2, KEY, batch)

  alone = [attacked(recipe) for recipe in (BY_ENTROPY, BY_MARGIN)]
  both = attacked(BY_ENTROPY, BY_MARGIN)
  assert (alone[0].z != alone[1].z).any()
  by_first, by_second = (np.all(both.z == its.z, (1, 2, 3)) for its in alone)
  assert (by_first | by_second).all()
  assert by_first.any() and not by_first.all()
  least = np.minimum(*(its.margin for its in alone))
  stands = least > 0
  assert stands.any()
  np.testing.assert_array_equal(both.margin[stands], least[stands])


# ------------------------------------------------------- randomised defenses


EOT = Recipe(
  'eot',
  losses.cross_entropy,
  sign,
  0.02,
  3,
  num_draws=4,
  num_restarts=3,
  every_example=True,
)


def shift(codes, alpha):
  """Noise that decides what is near the threshold."""
  del codes, alpha

  def fn(key, x):
    return x + 0.2 * jax.random.normal(key, x.shape)

  return Defense(fn, fn)


def linear(params, x):
  return params @ x.ravel()


def noisy_rows(directory, seed=0, batch_size=25, where=None):
  target = deployed.Target(linear, shift, PARAMS, None, num_draws=9)
  return evaluation.evaluate(
    target,
    ARRAYS,
    (EOT._replace(chunk=2),),
    'linf',
    EPS,
    jax.random.key(seed),
    directory,
    batch_size,
    where=where,
  )


def test_noise_gives_the_same_draws_whatever_the_batch_and_devices(tmp_path):
  reference = noisy_rows(tmp_path / 'reference')
  assert len(np.unique(reference['verdict/draws'])) == NUM_CLASSES
  small = noisy_rows(tmp_path / 'small', batch_size=16)
  single = noisy_rows(tmp_path / 'single', where=layout(jax.devices()[:1]))
  assert_same_rows(small, reference, exact=False)
  assert_same_rows(single, reference, exact=False)


def test_an_unlucky_draw_does_not_spare_an_image_the_attack(tmp_path):
  """Judged by one query, an image is wrong by chance one time in some."""
  target = deployed.Target(linear, shift, PARAMS, None, num_draws=1)
  recipe = EOT._replace(every_example=False)
  (batch,) = batches(ARRAYS, NUM)
  clean, attacked = (
    evaluation.attack(target, chosen, 'linf', EPS, KEY, batch)
    for chosen in ((), (recipe, recipe._replace(name='again')))
  )
  assert clean.draws.shape == attacked.draws.shape == (NUM, 1)
  by_chance = ~WRONG & (clean.draws[:, 0] != ARRAYS.labels)
  assert by_chance.sum() >= 5
  assert attacked.gradients[~WRONG].all()


def test_another_root_key_draws_other_noise(tmp_path):
  one, other = (noisy_rows(tmp_path / str(seed), seed) for seed in (0, 1))
  assert (one['verdict/draws'] != other['verdict/draws']).any()


def test_no_attack_has_seen_the_keys_it_is_judged_with():
  """Noise of its own for optimising, choosing and judging."""
  seen = []

  def spying(codes, alpha):
    del codes, alpha

    def fn(key, x):
      noise = jax.random.normal(key, x.shape)
      jax.debug.callback(lambda n: seen.append(float(n.ravel()[0])), noise)
      return x + noise

    return Defense(fn, fn)

  target = deployed.Target(linear, spying, PARAMS, None, num_draws=3)
  one = Arrays(np.full((1, 2, 2, 1), 51, np.uint8), np.array([0]), 2, 'one')
  (batch,) = batches(one, 1)
  recipe = EOT._replace(num_restarts=1, num_steps=2, num_draws=2)
  where = layout(jax.devices()[:1])
  target = target._replace(params=PARAMS[:, :4])
  evaluation.attack(
    target, (recipe,), 'linf', 0.1, jax.random.key(0), batch, where
  )
  jax.effects_barrier()
  attacked = 3 * 2  # the start and two steps, two draws each
  # Both choices, before and after the recipe, see the same twenty draws.
  assert len(set(seen)) == attacked + 20 + 3


def test_what_is_beaten_is_not_attacked_again():
  target = deployed.Target(
    apply,
    lambda c, a: nearest_code(c, a),
    PARAMS,
    np.linspace(0, 1, 9, dtype='f')[:, None],
  )
  deployed_labels = deployed.judge(
    target,
    jax.random.key(0),
    np.arange(NUM),
    to_unit(ARRAYS.images),
    ARRAYS.labels,
  )[0][:, 0]
  (batch,) = batches(ARRAYS._replace(labels=deployed_labels), NUM)
  one = Recipe('one', losses.margin, sign, 0.05, 4, 'lower', 'identity')
  two = one._replace(name='two', start='upper')
  key = jax.random.key(1)
  run = lambda *r: evaluation.attack(target, r, 'linf', 0.12, key, batch)
  alone, both = run(one), run(one, two)
  beaten = alone.broken_by == 0
  assert 0 < beaten.sum() < NUM
  np.testing.assert_array_equal(both.gradients[beaten], alone.gradients[beaten])
  assert (both.gradients > alone.gradients)[~beaten].all()


def test_gradients_are_counted_draw_by_draw():
  target = deployed.Target(
    apply, lambda c, a: gaussian(0.2), PARAMS, None, num_draws=3
  )
  (batch,) = batches(ARRAYS, NUM)
  for chunk in (1, 2, 6):
    recipe = Recipe(
      'eot',
      losses.cross_entropy,
      sign,
      0.02,
      3,
      num_draws=6,
      num_restarts=2,
      every_example=True,
      chunk=chunk,
    )
    found = evaluation.attack(
      target, (recipe,), 'linf', 0.1, jax.random.key(0), batch
    )
    np.testing.assert_array_equal(found.gradients, (3 + 1) * 6 * 2)


def test_the_name_of_a_recipe_seeds_its_starts():
  target = deployed.Target(
    apply, lambda c, a: nearest_code(c, a), PARAMS, np.float32([[0.0], [1.0]])
  )
  (batch,) = batches(ARRAYS, NUM)
  one = Recipe(
    'one',
    losses.margin,
    sign,
    0.05,
    0,
    'random',
    keep='last',
    every_example=True,
  )
  found = [
    evaluation.attack(target, (r,), 'linf', 0.1, jax.random.key(1), batch).z
    for r in (one, one, one._replace(name='two'))
  ]
  np.testing.assert_array_equal(found[0], found[1])
  assert (found[0] != found[2]).all((1, 2, 3)).mean() > 0.5


@pytest.mark.parametrize('keep', ['best', 'last'])
def test_what_does_less_harm_than_nothing_is_not_submitted(keep):
  """Behind noise, of images mostly wrong; unless it is what an attack does."""
  target = deployed.Target(
    lambda params, x: 20 * jnp.stack([x.mean() - 0.5, 0.5 - x.mean()]),
    lambda codes, alpha: gaussian(0.05), (), None, 100,
  )  # fmt: skip
  images = np.full((16, 1, 1, 1), round(255 * 0.46), np.uint8)
  arrays = Arrays(images, np.zeros(16, np.int32), 2, 'grey')
  (batch,) = batches(arrays, 16)
  useless = Recipe(
    'useless', losses.margin, sign, 0.0, 1, 'upper', keep=keep, num_draws=4,
    every_example=True,
  )  # fmt: skip
  right = [
    (evaluation.attack(target, chosen, 'linf', 0.2, KEY, batch).draws == 0)
    for chosen in ((), (useless,))
  ]
  clean, attacked = (share.mean() for share in right)
  assert 0.1 < clean < 0.4
  assert attacked == clean if keep == 'best' else attacked > 0.9


def test_two_recipes_of_one_name_are_refused():
  (batch,) = batches(ARRAYS, NUM)
  with pytest.raises(ValueError, match='random, random: each needs a name'):
    evaluation.attack(TARGET, (RANDOM, RANDOM), 'linf', EPS, KEY, batch)

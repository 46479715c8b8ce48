"""Every config, with every word it takes, is plain data that builds."""

import importlib
import itertools
import json
from pathlib import Path

import ml_collections
import optax
import pytest

from configs import mnist, parts, study
from configs.paper import figure_2, table_4
from experiments.running import study_flags
from experiments.studies import conditions
from experiments.studies.workdir import model_config
from rdefense import build
from rdefense.data.sources import NAMES

FOLDER = Path(__file__).parents[1] / 'configs'
PRESETS = {
  'digits': ('small', 'smoke'),
  'mnist': ('small', 'paper', 'smoke'),
  'fashion_mnist': ('small', 'paper', 'smoke'),
  'cifar10': ('small', 'paper,k50', 'smoke,binning,k8', 'k50,train'),
  'gtsrb': ('small', 'paper', 'smoke,medoids'),
  'imagenet': ('small', 'paper,k10', 'smoke,adversarial', 'paper,curve'),
  'certified_mnist': ('small', 'paper', 'smoke'),
  'paper.knowledge': ('small', 'paper,gtsrb', 'smoke,cifar10'),
  'paper.figure_2': ('small', 'paper', 'smoke'),
  'paper.table_2a': ('small', 'paper', 'smoke'),
  'paper.table_2b': ('small', 'paper', 'smoke'),
  'paper.table_4': ('small', 'paper', 'smoke'),
  'paper.figure_3': ('small', 'paper', 'smoke'),
  'paper.figure_4': ('small', 'paper', 'smoke'),
  'paper.ablations': ('small', 'paper', 'smoke'),
}
SIX_SETTINGS = ('digits', 'mnist', 'fashion_mnist')
MEMBERS = (
  [
    (name, f'{preset},{codebook}')
    for name in SIX_SETTINGS
    for preset, codebook in itertools.product(PRESETS[name], parts.CODEBOOKS)
  ]
  + [
    (name, preset)
    for name, presets in PRESETS.items()
    if name not in SIX_SETTINGS
    for preset in presets
  ]
  + [
    ('paper.figure_2', 'adv'),
    ('paper.figure_2', 'paper,adv'),
    ('paper.figure_4', 'b'),
    ('paper.figure_4', 'c,smoke'),
    ('paper.figure_4', 'd'),
    ('paper.figure_4', 'd,smoke'),
  ]
)


def module(name):
  return importlib.import_module(f'configs.{name}')


@pytest.fixture(params=MEMBERS, ids=lambda member: ':'.join(member))
def config(request):
  name, words = request.param
  return module(name).get_config(words)


def test_the_list_above_is_complete():
  found = {
    '.'.join(path.relative_to(FOLDER).with_suffix('').parts)
    for path in FOLDER.rglob('*.py')
    if 'def get_config' in path.read_text()
  }
  assert found == set(PRESETS)


def test_it_is_plain_data(config):
  """JSON gives it back, but for tuples, and nothing is left to resolve."""
  plain = config.to_dict()
  assert json.loads(json.dumps(plain)) == json.loads(
    json.dumps(ml_collections.ConfigDict(plain).to_dict())
  )

  def leaves(value):
    if isinstance(value, dict):
      return [leaf for v in value.values() for leaf in leaves(v)]
    if isinstance(value, tuple):
      return [leaf for v in value for leaf in leaves(v)]
    return [value]

  assert {type(leaf) for leaf in leaves(plain)} <= {str, int, float, bool}


def test_everything_it_names_builds(config):
  study_flags.check_radii(config)
  assert config.data.name in NAMES
  for network in ('', *config.networks):
    about = model_config(config, network)
    assert build.classifier(about, 10).num_classes == 10
  if not config.runs:
    assert build.weights_path(config.model.weights)
  for defense in config.defenses.values():
    assert build.defend(defense.to_dict())
    assert build.kind(defense) in parts.KINDS
  for run in config.runs.values():
    tx = build.optimizer(run.to_dict())
    assert isinstance(tx, optax.GradientTransformation)
    recipe = build.training_recipe(run.attack.to_dict())
    assert run.method in ('natural', 'adversarial', 'certified')
    if run.method == 'adversarial':
      assert recipe.num_steps >= 1 and recipe.step_size > 0
  for attack in config.attacks.values():
    assert attack.source in ('', *config.settings)
    assert attack.on and set(attack.on) <= set(parts.KINDS)
  for name, setting in config.settings.items():
    kind = build.kind(config.defenses[setting.defense])
    clean, *attacked = conditions.conditions(config, kind, name)
    assert not clean.recipes
    assert all(condition.recipes or condition.given for condition in attacked)


def test_every_run_comes_after_the_one_it_begins_from(config):
  order = study.in_order(config.runs)
  assert sorted(order) == sorted(config.runs)
  for name, run in config.runs.items():
    assert run.reduction in ('mean', 'sum')
    if run.begin:
      assert order.index(run.begin) < order.index(name)


def test_runs_in_a_circle_are_refused():
  with pytest.raises(ValueError, match='begin from no run'):
    study.in_order({'a': {'begin': 'b'}, 'b': {'begin': 'a'}})


def test_settings_have_their_models_and_are_attacked(config):
  for setting in config.settings.values():
    network = model_config(config, setting.network)
    assert setting.model in config.runs or build.has_weights(network)
    kind = build.kind(config.defenses[setting.defense])
    assert [a for a in config.attacks.values() if kind in a.on]
  assert config.strip.attack in config.attacks


def test_words_are_remembered(config):
  assert config.preset in ('small', 'paper', 'smoke')
  if config.codebook_name:
    name, _, num_codes = config.codebook_name.partition('_k')
    chosen = parts.CODEBOOKS[name] | {'num_codes': int(num_codes or 2)}
    assert chosen.items() <= config.codebook.to_dict().items()


def test_presets_and_codebooks_make_different_configs():
  for name in SIX_SETTINGS:
    presets = PRESETS[name]
    made = [module(name).get_config(word) for word in presets]
    made += [module(name).get_config('medoids')]
    texts = {json.dumps(each.to_dict(), sort_keys=True) for each in made}
    assert len(texts) == len(presets) + 1


@pytest.mark.parametrize('name', SIX_SETTINGS)
def test_the_first_word_of_each_choice_is_the_default(name):
  expected = module(name).get_config('small,density')
  for arg in (None, '', 'density', 'density,small'):
    assert module(name).get_config(arg) == expected


@pytest.mark.parametrize('name', PRESETS)
def test_smoke_is_small(name):
  config = module(name).get_config('smoke')
  assert all(run.num_steps <= 20 for run in config.runs.values())
  assert 0 < config.data.test_examples <= 100
  assert 0 < config.data.train_examples <= 1000


@pytest.mark.parametrize('name', PRESETS)
def test_an_unknown_word_lists_the_words(name):
  with pytest.raises(ValueError, match="'nonsense'; choose of: .*small, "):
    module(name).get_config('smoke,nonsense')


@pytest.mark.parametrize('base', ['natural', 'adversarial'])
def test_paper_judges_imagenet_on_other_images_than_those_of_its_codes(base):
  config = module('imagenet').get_config(f'paper,{base}')
  assert (config.codebook.split, config.data.judged_on) == ('test', 'final')
  assert config.data.test_examples == 1000  # PROTOCOL A6
  assert {run.num_examples for run in config.attacks.values()} == {0}
  for preset in ('small', 'smoke'):
    config = module('imagenet').get_config(f'{preset},{base}')
    assert config.codebook.split == config.data.judged_on == 'test'


def test_one_budget_is_the_same_number_of_gradients():
  found = parts.honest_randomness(800, 20, num_examples=5, alpha=40.0, eps=0.1)
  many, few = found['eot1x800'], found['eot20x40']
  for run in (many, few):
    (recipe,) = build.attack_recipes(run, 0.1, 'randomized')
    assert recipe.num_steps * recipe.num_draws == 800
  assert many['num_steps'] != few['num_steps']
  with pytest.raises(ValueError, match='budget=801 is no multiple of num_'):
    parts.honest_randomness(801, 20, num_examples=5, alpha=40.0, eps=0.1)


@pytest.mark.parametrize(
  'change, words',
  [
    ({'attacks.adaptive.on': ('plan',)}, "attack adaptive: on='plan' is none"),
    (
      {'attacks.paper_a.source': 'nope'},
      "paper_a: source='nope' is none of: .*nat_pre",
    ),
    ({'settings.nat_pre.model': 'natt'}, "setting nat_pre: model='natt'"),
    ({'strip.attack': 'nope'}, "strip.attack='nope' is none of: .*paper_a"),
    ({'threat.unit': 0}, 'threat.unit=0 must be positive'),
    ({'radii_of': {'nat_prex': (0.1,)}}, "radii_of='nat_prex' is none of"),
  ],
  ids=['kind', 'source', 'model', 'strip', 'unit', 'radii'],
)
def test_names_that_point_to_nothing_are_refused(change, words):
  config = importlib.import_module('configs.digits').get_config('smoke')
  study.check_settings(config, ())
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=words):
    study.check_settings(config, ())


@pytest.mark.parametrize('preset', ['small', 'paper'])
def test_paper_bs_adversarial_base_is_trained_as_paper_as(preset):
  config = figure_2.get_config(f'{preset},adv')
  trained = mnist.get_config(preset)
  assert config.threat.eps == trained.threat.eps == 0.3
  assert config.attacks.paper_b.radii == (0.1, 0.3)
  assert 'adv' in config.runs and 'nat' not in config.runs
  for name, run in config.runs.items():
    assert run.to_dict() == trained.runs[name].to_dict(), name
  assert config.data.train_examples == trained.data.train_examples


def test_curves_of_grey_images_are_whole_in_paper():
  for preset, count in (('small', 200), ('paper', 0)):
    for config in (mnist.get_config(preset), table_4.get_config(preset)):
      for name in ('pgd100', 'paper_a'):
        assert config.attacks[name].curve_examples == count

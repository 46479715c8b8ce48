"""From a config of plain data to the objects it names.

The only module that reads configs; every choice is an explicit `match` whose
error lists what there is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from rdefense import defenses, losses, models
from rdefense.attacks import eot, recipes
from rdefense.attacks.recipes import Recipe
from rdefense.certify import randomized
from rdefense.certify.randomized import Certifier
from rdefense.data.sources import Arrays, data_directory, load
from rdefense.defenses import base, centers, codebooks, density, medoids
from rdefense.defenses.codebooks import Codebook
from rdefense.models import Classifier
from rdefense.pooling import max_pool_valid
from rdefense.precision import HIGHEST, PRECISIONS
from rdefense.types import Key, PyTree

__all__ = [
  'WITH_CODEBOOK',
  'attack_recipes',
  'certifier',
  'classifier',
  'codebook',
  'dataset',
  'defend',
  'has_weights',
  'kind',
  'optimizer',
  'pretrained',
  'training_recipe',
  'weights_path',
]

_CODEBOOKS = ('density', 'medoids', 'means', 'grid')
WITH_CODEBOOK = ('nearest_code',)
_RANDOMIZED = (
  'gaussian',
  'rand_disc',
  'rand_mix',
  'rand_disc_steep',
  'rand_disc_fixed',
  'rand_mix_fixed',
  'resize_padding',
)
_DEFENSES = (
  'identity',
  *WITH_CODEBOOK,
  'binning',
  'thermometer',
  'bit_depth',
  'bit_depth_steep',
  'jpeg',
  'jpeg_as_coded',
  'total_variation',
  *_RANDOMIZED,
)
_PRETRAINED = (
  'mobilenet_v2',
  'mobilenet_v1',
  'mobilenet_edgetpu',
  'inception_resnet_v2',
)
_MODELS = (
  'mnist_cnn',
  'digits_cnn',
  'gowal_cnn',
  'wide_resnet',
  'ensemble',
  *_PRETRAINED,
)
_ATTACKS = (
  'paper_a',
  'pgd',
  'pgd_falling',
  'fgsm',
  'mi_fgsm',
  'adaptive',
  'paper_b',
  'paper_b_imagenet',
  'paper_b_cw',
  'eot',
  'strongest',
)


def _unknown(what: str, name: Any, choices) -> ValueError:
  listed = ', '.join(choices)
  return ValueError(f'unknown {what} {name!r} in the config; choose: {listed}.')


def dataset(config: Mapping[str, Any], split: str) -> Arrays:
  """The first `config.<split>_examples` (0: all) of `config.name`."""
  arrays = load(config['name'], split)
  count = config[f'{split}_examples'] or len(arrays.images)
  return arrays._replace(
    images=arrays.images[:count], labels=arrays.labels[:count]
  )


def classifier(config: Mapping[str, Any], num_classes: int) -> Classifier:
  """The network `config.name` with the config's other entries as arguments.

  `weights`, where the parameters come from a file, are read by `pretrained`.
  """
  arguments = {k: v for k, v in config.items() if k not in ('name', 'weights')}
  match config['name']:
    case 'mnist_cnn':
      return models.mnist_cnn(num_classes, **arguments)
    case 'digits_cnn':
      return models.digits_cnn(num_classes, **arguments)
    case 'gowal_cnn':
      return models.gowal_cnn(num_classes, **arguments)
    case 'wide_resnet':
      return models.wide_resnet(num_classes, **arguments)
    case 'mobilenet_v2' | 'mobilenet_v1' | 'mobilenet_edgetpu' as name:
      return getattr(models, name)(num_classes, **arguments)
    case 'inception_resnet_v2':
      return models.inception_resnet_v2(num_classes, **arguments)
    case 'ensemble':
      return models.ensemble(
        *(classifier(member, num_classes) for member in _members(config))
      )
  raise _unknown('model', config['name'], _MODELS)


def pretrained(config: Mapping[str, Any], num_classes: int) -> PyTree:
  """Parameters of `config.name` from the file `config.weights`.

  Those of an ensemble come from the files of its members.
  """
  if config['name'] == 'ensemble':
    return tuple(pretrained(member, num_classes) for member in _members(config))
  path = weights_path(config['weights'])
  match config['name']:
    case 'mobilenet_v2' | 'mobilenet_v1' | 'mobilenet_edgetpu' as name:
      net = getattr(models, name.upper())
      return models.load_mobilenet(path, net, num_classes)
    case 'inception_resnet_v2':
      return models.load_inception_resnet_v2(path, num_classes)
  raise _unknown('model with weights', config['name'], _PRETRAINED)


def _members(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  members = config.get('members', {})
  return [members[name] for name in sorted(members)]


def has_weights(config: Mapping[str, Any]) -> bool:
  """Whether a model is `pretrained` from files, rather than trained here."""
  return config['name'] in (*_PRETRAINED, 'ensemble')


def weights_path(name: str) -> Path:
  """A file of weights; a bare name lies in `weights` beside the datasets."""
  path = Path(name).expanduser()
  if path.parent != Path('.'):
    return path
  return data_directory().parent / 'weights' / path


def codebook(config: Mapping[str, Any], images: np.ndarray) -> Codebook:
  """Fits the codebook `config.name` to uint8 images `[N, H, W, C]`."""
  match config['name']:
    case 'density':
      return density.density(
        images, config['num_codes'], config['radius'], config['kernel']
      )
    case 'medoids':
      key = jax.random.key(config['seed'])
      return medoids.medoids(key, images, config['num_codes'], config['norm'])
    case 'means':
      key = jax.random.key(config['seed'])
      return medoids.means(key, images, config['num_codes'])
    case 'grid':
      return codebooks.grid(config['num_codes'], images.shape[-1])
  raise _unknown('codebook', config['name'], _CODEBOOKS)


def kind(config: Mapping[str, Any]) -> str:
  """Of a defense: `plain` (none), `transformed` or `randomized`."""
  name = config['name']
  if name in _RANDOMIZED:
    return 'randomized'
  return 'plain' if name == 'identity' else 'transformed'


def defend(config: Mapping[str, Any]) -> Callable:
  """`(codes, alpha) -> Defense` for `config.name`.

  `alpha` is what the attacker chooses, the steepness of the surrogate; what is
  deployed stands in the config, and so do the surrogates of the filters, which
  have steepnesses of their own. `codes` is None, or ignored, where the defense
  is not one `WITH_CODEBOOK`. With an entry `pooling` (`window`, `stride` and
  `size`) an image is max-pooled before the defense, and resized after it.
  """
  name = config['name']
  options = {k: v for k, v in config.items() if k not in ('name', 'pooling')}
  if pooling := config.get('pooling'):
    inner = defend({'name': name} | options)
    before = defenses.max_pooling(pooling['window'], pooling['stride'])
    after = defenses.resize(pooling['size'])
    return lambda codes, alpha: defenses.chain(
      before, inner(codes, alpha), after
    )
  match name:
    case 'identity':
      return _identity
    case 'nearest_code':
      return lambda codes, alpha: defenses.nearest_code(codes, alpha, **options)
    case 'binning' | 'rand_disc' | 'rand_disc_steep' | 'rand_disc_fixed':
      make = getattr(defenses, name)
      return lambda codes, alpha: make(alpha=alpha, **options)
    case 'rand_mix' | 'rand_mix_fixed':
      make = getattr(defenses, name)
      return lambda codes, alpha: make(surrogate_alpha=alpha, **options)
  if name in _DEFENSES:
    make = getattr(defenses, name)
    return lambda codes, alpha: make(**options)
  raise _unknown('defense', name, _DEFENSES)


def _identity(codes, alpha) -> base.Defense:
  del codes, alpha
  return base.identity()


def certifier(
  config: Mapping[str, Any], key: Key, delta: float
) -> tuple[Callable[[np.ndarray], np.ndarray], Certifier]:
  """What the noise of a defense meets, and what can be proved of it.

  Args:
    config: of a randomised defense, as for `defend`.
    key: of draws of adaptive centres.
    delta: probability that what these say is wrong.

  Returns:
    `(see, certify)`: from images `[N, H, W, C]` to those the noise is added to,
    and the certificate of these.

  Raises:
    ValueError: on a defense that has no such certificate.
  """
  found = _certifier(config, key, delta)
  pooling = config.get('pooling')
  if not pooling:
    return np.asarray, found
  pool = jax.jit(
    jax.vmap(lambda x: max_pool_valid(x, pooling['window'], pooling['stride']))
  )
  return lambda images: np.asarray(pool(images)), found


def _certifier(config: Mapping[str, Any], key: Key, delta: float) -> Certifier:
  match config['name']:
    # A mixture is a function of the noisy image, whose noise alone counts.
    case 'gaussian' | 'rand_mix_fixed':
      return randomized.gaussian(config['sigma'])
    case 'rand_disc_fixed':
      return randomized.fixed_codes(np.array(config['codes']), config['sigma'])
    case 'rand_disc':
      find = centers.sampled(
        centers.adaptive(config['num_centers'], config['gamma']),
        config['num_samples'],
        config['tau'],
      )
      return randomized.adaptive(
        find,
        config['sigma'],
        config['tau'],
        config['num_samples'],
        key,
        delta=delta,
      )
  listed = 'gaussian, rand_disc_fixed, rand_mix_fixed, rand_disc'
  raise ValueError(
    f'there is no certificate of the defense {config["name"]!r}; of these '
    f'there is one: {listed}, and, behind codes, {", ".join(WITH_CODEBOOK)}.'
  )


def attack_recipes(
  config: Mapping[str, Any], eps: float, kind: str
) -> tuple[Recipe, ...]:
  """The ensemble `config.name` at radius `eps` on one kind of setting.

  Without a defense `adaptive` is `undefended`; only a randomised one is drawn
  several times. Of the attacks of paper A `at_most_eps` limits a step to a
  multiple of the radius. All recipes have the precision of the config.
  """
  precision = config.get('precision', HIGHEST)
  if precision not in PRECISIONS:
    raise _unknown('precision', precision, PRECISIONS)
  chosen = _attack_recipes(config, eps, kind)
  return tuple(recipe._replace(precision=precision) for recipe in chosen)


def _attack_recipes(
  config: Mapping[str, Any], eps: float, kind: str
) -> tuple[Recipe, ...]:
  named = {*recipes.Recipe._fields, 'alphas'} - {'name', 'precision'}
  arguments = {k: v for k, v in config.items() if k in named}
  if kind != 'randomized' and 'num_draws' in arguments:
    arguments['num_draws'] = 0
  if limit := config.get('at_most_eps'):
    arguments['step_size'] = min(arguments['step_size'], limit * eps)
  match config['name']:
    case 'paper_a':
      return recipes.paper_a(**arguments)
    case 'pgd':
      return recipes.pgd_madry(**arguments)
    case 'pgd_falling':
      return recipes.pgd_falling(eps, **arguments)
    case 'fgsm':
      return recipes.fgsm(eps)
    case 'mi_fgsm':
      return recipes.mi_fgsm(eps, **arguments)
    case 'adaptive':
      if kind == 'plain':
        arguments.pop('alphas', None)
        return recipes.undefended(eps, **arguments)
      return recipes.adaptive(eps, **arguments)
    case 'paper_b' | 'paper_b_imagenet' | 'paper_b_cw' | 'eot' | 'strongest':
      return getattr(eot, config['name'])(eps, **arguments)
  raise _unknown('attack', config['name'], _ATTACKS)


def training_recipe(config: Mapping[str, Any]) -> Recipe:
  """The attack of adversarial training; `step_size` is a multiple of eps.

  Its precision is the device's default, as that of the training step is.
  """
  if config['name'] == 'paper_a':
    (recipe,) = recipes.paper_a(config['num_steps'], config['step_size'])
    return recipe._replace(precision='default')
  if config['name'] != 'pgd':
    raise _unknown('training attack', config['name'], ('pgd', 'paper_a'))
  return Recipe(
    'training',
    losses.cross_entropy,
    recipes.sign,
    config['step_size'],
    config['num_steps'],
    alpha=config['alpha'],
    keep='last',
    every_example=True,
    precision='default',
  )


def optimizer(config: Mapping[str, Any]) -> optax.GradientTransformation:
  """`config.optimizer`, `adam` or `momentum` (0.9), at scheduled rates.

  `config.schedule` is constant, warm-up and cosine, or steps: a tenth from each
  of `config.boundaries` on. Gradients are clipped to the global norm
  `config.clip_norm` where it is not 0; then `config.weight_decay` times a
  kernel is added to its gradient, as that of half its square would be.
  """
  rate = config['learning_rate']
  match config['schedule']:
    case 'constant':
      schedule = optax.constant_schedule(rate)
    case 'cosine':
      steps = config['num_steps']
      schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, max(1, steps // 10), steps
      )
    case 'steps':
      schedule = optax.piecewise_constant_schedule(
        rate, dict.fromkeys(config['boundaries'], 0.1)
      )
    case other:
      raise _unknown('schedule', other, ('constant', 'cosine', 'steps'))
  match config.get('optimizer', 'adam'):
    case 'adam':
      found = optax.adam(schedule)
    case 'momentum':
      found = optax.sgd(schedule, momentum=0.9)
    case other:
      raise _unknown('optimizer', other, ('adam', 'momentum'))
  if decay := config.get('weight_decay', 0.0):
    found = optax.chain(optax.add_decayed_weights(decay, _kernels), found)
  if not config['clip_norm']:
    return found
  return optax.chain(optax.clip_by_global_norm(config['clip_norm']), found)


def _kernels(params: PyTree) -> PyTree:
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key == 'kernel', params
  )

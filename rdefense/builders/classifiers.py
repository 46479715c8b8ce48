"""Networks, and their files of weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdefense import models
from rdefense.builders.choices import unknown
from rdefense.data.sources import data_directory
from rdefense.models import Classifier
from rdefense.types import PyTree

__all__ = ['classifier', 'has_weights', 'pretrained', 'weights_path']

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
  raise unknown('model', config['name'], _MODELS)


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
  raise unknown('model with weights', config['name'], _PRETRAINED)


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

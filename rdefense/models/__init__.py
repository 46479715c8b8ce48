"""Networks behind `Classifier`; the only importers of Flax."""

from rdefense.models.base import (
  Classifier,
  classifier,
  max_pool,
  num_params,
  train_batch,
)
from rdefense.models.digits_cnn import digits_cnn
from rdefense.models.ensemble import ensemble
from rdefense.models.gowal_cnn import gowal_cnn
from rdefense.models.inception_resnet_v2 import inception_resnet_v2
from rdefense.models.keras_weights import load_inception_resnet_v2
from rdefense.models.mnist_cnn import mnist_cnn
from rdefense.models.mobilenet import (
  load_mobilenet,
  mobilenet,
  mobilenet_edgetpu,
  mobilenet_v1,
  mobilenet_v2,
)
from rdefense.models.mobilenet_tables import (
  MOBILENET_EDGETPU,
  MOBILENET_V1,
  MOBILENET_V2,
)
from rdefense.models.wide_resnet import wide_resnet

__all__ = [
  'MOBILENET_EDGETPU',
  'MOBILENET_V1',
  'MOBILENET_V2',
  'Classifier',
  'classifier',
  'digits_cnn',
  'ensemble',
  'gowal_cnn',
  'inception_resnet_v2',
  'load_inception_resnet_v2',
  'load_mobilenet',
  'max_pool',
  'mnist_cnn',
  'mobilenet',
  'mobilenet_edgetpu',
  'mobilenet_v1',
  'mobilenet_v2',
  'num_params',
  'train_batch',
  'wide_resnet',
]

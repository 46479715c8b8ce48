"""Networks behind `Classifier(init, apply)`; the only importers of Flax."""

from rdefense.models.base import Classifier, classifier, max_pool, num_params
from rdefense.models.digits_cnn import digits_cnn
from rdefense.models.mnist_cnn import mnist_cnn

__all__ = [
  'Classifier',
  'classifier',
  'digits_cnn',
  'max_pool',
  'mnist_cnn',
  'num_params',
]

"""Paper A's six settings on Fashion-MNIST at eps 0.1 (Tables I-III, k = 2).

  python -m experiments.train \
    --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist
  python -m experiments.evaluate \
    --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist

Words after a colon as in `configs/mnist.py`.
"""

import ml_collections

from configs import mnist


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke, and density, medoids or binning."""
  config = mnist.mnist_like(
    arg, 'fashion_mnist', eps=0.1, radius=0.2, train_steps=20
  )
  if config.preset == 'small':
    config.runs.adv_fast.num_steps = 2000  # eps 0.1 is learnt sooner
  return config

"""Paper A's six settings on German traffic signs (Tables I, II and III).

  python -m experiments.train --config=configs/gtsrb.py --workdir=runs/gtsrb
  python -m experiments.evaluate --config=configs/gtsrb.py --workdir=runs/gtsrb

All models are attacked at eps 8/255. Words after a colon, and presets, as in
`configs/cifar10.py`.
"""

import ml_collections

from configs import cifar10

_NUM_TEST = 8900  # of all that are light enough, the first so many


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: a preset, a codebook, a number of codes, and `train`."""
  config = cifar10.color_like(arg, 'gtsrb', natural_eps=8 / 255, num_steps=1500)
  config.attacks.apgd.num_targets = 0  # nine of 42 would be any nine
  if config.preset == 'paper':
    config.data.test_examples = _NUM_TEST
    for run in config.runs.values():
      run.num_steps = 80_001 if not run.begin else 90_001
  return config

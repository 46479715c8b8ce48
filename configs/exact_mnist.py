"""MNIST behind two codes, trained on attacks for a small radius, then decided.

  python -m experiments.train \
    --config=configs/exact_mnist.py --workdir=runs/exact_mnist
  python -m experiments.evaluate \
    --config=configs/exact_mnist.py --workdir=runs/exact_mnist
  python -m experiments.certify \
    --config=configs/exact_mnist.py --workdir=runs/exact_mnist

At eps 0.1 some 17 pixels of an image have a choice of codes: few enough that
branch and bound on tables decides almost any image of almost any network. So
nothing is asked of training but to be robust: the network is paper A's with
fewer hidden units, attacked behind its codes at a somewhat larger eps. It is
not asked to be bounded well, as those of `configs/certified_mnist.py` are,
which costs them accuracy. Presets: `small` trains in some 45 minutes of one CPU
core and decides all 10,000 test images; `smoke` only shows that it runs.
"""

import ml_collections

from configs import study

_EPS, _TRAINED_AT = 0.1, 0.15


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small or smoke."""
  preset = study.words(arg, preset=('small', 'smoke'))['preset']
  run = study.model_run(
    'adversarial',
    defense='discretized',
    eps=_TRAINED_AT,
    num_steps=5500,
    learning_rate=2e-3,
    eps_ramp=0.3,
    augment={'padding': 1, 'flip': False},
    attack={'num_steps': 2, 'step_size': 0.7},
  )
  config = study.of_defenses(
    'exact_mnist',
    'mnist',
    {'name': 'mnist_cnn', 'widths': (32, 64), 'hidden': 256, 'init': 'he'},
    _EPS,
    runs={'adversarial_01': run},
    defenses=study.six_defenses(),
    settings={
      'adversarial_01': study.setting(
        'adversarial_01',
        'discretized',
        f'trained on attacks at {_TRAINED_AT:g}',
      )
    },
    attacks={
      'adaptive': study.attack_run(
        'adaptive', num_examples=1000, num_steps=16, alphas=(4.0, 10.0)
      )
    },
  )
  config.title = 'MNIST behind two codes, decided exactly at small radii'
  config.preset = preset
  study.with_codebook(config, 'density', 0.6)
  config.certify = study.certification(
    radii=(0.05, _EPS),
    bounds='tables',
    max_nodes=1023,
    leaf_size=1,
    batch_size=16,
  )
  if preset == 'smoke':
    study.smoke(config)
    config.model.widths, config.model.hidden = (4, 8), 32
    config.certify.radii, config.certify.num_examples = (_EPS,), 4
    config.certify.max_nodes, config.certify.max_patterns = 2, 16
    for training in config.runs.values():
      training.num_steps, training.batch_size = 4, 16
      training.augment.padding = 0
  return config

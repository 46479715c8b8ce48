"""MNIST behind two codes, trained on interval bounds, then decided.

  python -m experiments.train \
    --config=configs/certified_mnist.py --workdir=runs/certified_mnist
  python -m experiments.certify \
    --config=configs/certified_mnist.py --workdir=runs/certified_mnist

Three networks of Gowal et al., `small`, trained for eps 0.1, 0.2 and 0.3. The
first two see shifted images, and most of their loss is that of attacked codes.
At 0.3 that leaves more images undecided: half of the loss is that of the codes
of the image itself, and a tenth in a short second stage, which leaves fewer.

The last 5,000 training images are held out: a model is certified on them, to
choose constants by, with

  --config.data.judged_on=held_out --config.pretrained=runs/certified_mnist

Presets: `small` takes some 50 minutes of one CPU core a network; `paper` trains
the 7-layer network for 250 epochs (a GPU); `smoke` only shows that it runs.
"""

import ml_collections

from configs import parts, study

# Radius -> weight of the loss without bounds.
_WEIGHTS = {0.1: 0.98, 0.2: 0.9, 0.3: 0.5}
_LAST_WEIGHT = 0.1  # at radius 0.3, where a short second stage follows
_NUM_TRAINING = 55_000


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke."""
  chosen = study.words(arg, preset=('small', 'paper', 'smoke'))
  preset = chosen['preset']
  size, epochs, last_steps = {
    'small': ('small', 45, 3000),
    'paper': ('large', 250, 16_000),
    'smoke': ('tiny', 0, 4),
  }[preset]
  run = parts.model_run(
    'certified',
    defense='discretized',
    batch_size=128,
    num_steps=epochs * _NUM_TRAINING // 128 or 4,
    learning_rate=5e-3,
    clip_norm=10.0,
    eps_start=0.02,
    eps_ramp=0.5,
    attacked=True,
    augment={'padding': 2 if preset != 'smoke' else 1, 'flip': False},
  )
  names = {f'certified_{10 * eps:02.0f}': eps for eps in _WEIGHTS}
  runs = {
    name: run | {'eps': eps, 'natural_weight': _WEIGHTS[eps]}
    for name, eps in names.items()
  }
  runs['certified_03_first'] = runs['certified_03'] | {
    'attacked': False,
    'augment': {'padding': 0, 'flip': False},
  }
  runs['certified_03'] = runs['certified_03_first'] | {
    'begin': 'certified_03_first',
    'natural_weight': _LAST_WEIGHT,
    'num_steps': last_steps,
    'learning_rate': 1e-3,
    'eps_start': 0.0,
    'eps_ramp': 0.0,
  }
  config = study.of_defenses(
    'certified_mnist',
    'mnist',
    {'name': 'gowal_cnn', 'size': size, 'init': 'interval'},
    eps=max(_WEIGHTS),
    runs=runs,
    defenses={
      'none': {'name': 'identity'},
      'discretized': {'name': 'nearest_code', 'norm': 'linf'},
    },
    settings={
      name: parts.setting(name, 'discretized', f'trained for eps {eps:g}')
      for name, eps in names.items()
    },
    attacks={
      'adaptive': parts.attack_run(
        'adaptive',
        num_examples=1000,
        num_steps=16,
        alphas=(4.0, 10.0),
        radii=tuple(_WEIGHTS),
      )
    },
  )
  config.title = 'MNIST behind two codes, certified training'
  config.preset = preset
  config.data.train_examples = _NUM_TRAINING
  study.with_codebook(config, 'density', 0.6)
  config.certify = parts.certification(
    max_nodes=10_000, leaf_size=4, batch_size=32
  )
  if preset == 'smoke':
    study.smoke(config)
    config.certify.radii, config.only = (0.1, 0.3), ('certified_01',)
    config.certify.max_nodes = 500
  return config

"""Paper A's six settings on scikit-learn's digits: the demonstration.

  python -m experiments.train \
    --config=configs/digits.py --workdir=runs/digits
  python -m experiments.evaluate \
    --config=configs/digits.py --workdir=runs/digits

8x8 images, nothing to download; `:smoke` only shows that it runs. Not in the
paper: there is no published figure to compare with. `experiments.launch` sweeps
over seeds and the radius of training and attack.
"""

import ml_collections

from configs import parts, study


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: `small` (default) or `smoke`, and density, medoids or binning."""
  chosen = study.words(
    arg, preset=('small', 'smoke'), codebook=tuple(parts.CODEBOOKS)
  )
  steps = 10 if chosen['preset'] == 'smoke' else 400
  curve = (0.05, 0.1, 0.15)
  pgd = {'num_steps': 5, 'step_size': 0.4}
  re_pgd = pgd | {'alpha': 4.0}
  config = study.six_settings(
    'digits',
    {'name': 'digits_cnn', 'width': 16},
    eps=0.2,
    runs={
      'nat': parts.model_run('natural', num_steps=steps),
      'adv': parts.model_run(
        'adversarial', num_steps=2 * steps, eps_ramp=0.4, attack=pgd
      ),
      'nat_re': parts.model_run(
        'natural', begin='nat', defense='discretized', num_steps=steps
      ),
      'adv_re': parts.model_run(
        'adversarial',
        begin='adv',
        defense='discretized',
        num_steps=steps,
        attack=re_pgd,
      ),
    },
    attacks={
      'pgd100': parts.attack_run(
        'pgd', ('plain',), curve=curve, step_size=0.01
      ),
      'paper_a': parts.attack_run(
        'paper_a', ('transformed',), curve=curve, step_size=0.01, alpha=10.0
      ),
      'adaptive': parts.attack_run(
        'adaptive', num_examples=200, num_steps=20, alphas=(4.0, 10.0)
      ),
      'apgd': parts.attack_run(
        'apgd', num_examples=200, num_steps=30, num_targets=9
      ),
      'square': parts.attack_run('square', num_examples=200, num_steps=300),
    },
  )
  config.preset = chosen['preset']
  study.with_codebook(config, chosen['codebook'], radius=0.3)
  if chosen['preset'] == 'smoke':
    study.smoke(config)
    config.data.test_examples = 40
  return config


def sweep():
  """Four seeds at three radii: what is due to the randomness of training."""
  for eps in (0.1, 0.15, 0.2):
    for seed in range(4):
      yield {'seed': seed, 'threat.eps': eps}

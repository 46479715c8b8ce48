"""Paper A's six settings on MNIST at eps 0.3 (Tables I, II and III, k = 2).

  python -m experiments.train --config=configs/mnist.py --workdir=runs/mnist
  python -m experiments.evaluate --config=configs/mnist.py --workdir=runs/mnist

The codebook word picks the table: `binning` I, `density` II (default),
`medoids` III. Presets: `small` trains in some 40 minutes of one CPU core and
attacks all 10,000 test images with the published attacks and 1,000 with the
adaptive one and Auto-PGD (200 behind codebooks other than `density`); `paper`
has the hyper-parameters of PROTOCOL A6-A8 (100,000 steps of adversarial
training: a GPU); `smoke` only shows that it runs. Another codebook may take the
undefended models of a finished workdir:

  --config=configs/mnist.py:medoids --config.pretrained=runs/mnist

and so may each run of the sweep over the attacker's surrogate:

  python -m experiments.launch --config=configs/mnist.py --program=evaluate \
    --config.pretrained=runs/mnist --root=runs/mnist_alpha --no-dry_run
"""

import ml_collections

from configs import parts, study


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke, and density, medoids or binning."""
  return mnist_like(arg, 'mnist', eps=0.3, radius=0.6, train_steps=40)


def mnist_like(
  arg: str | None, dataset: str, eps: float, radius: float, train_steps: int
) -> ml_collections.ConfigDict:
  """MNIST and Fashion-MNIST differ in eps, radius and training attack."""
  chosen = study.words(
    arg,
    preset=('small', 'paper', 'smoke'),
    codebook=('density', 'medoids', 'binning'),
  )
  few = 1000 if chosen['codebook'] == 'density' else 200
  drawn = 0 if chosen['preset'] == 'paper' else 200
  make_runs = {'small': _small, 'paper': _paper, 'smoke': _smoke}
  curve = tuple(round(eps * i / 3, 4) for i in (1, 2))
  config = study.six_settings(
    dataset,
    {
      'name': 'mnist_cnn',
      'widths': (32, 64),
      'hidden': 1024,
      'init': 'paper' if chosen['preset'] == 'paper' else 'he',
    },
    eps,
    runs=make_runs[chosen['preset']](eps, train_steps),
    attacks={
      'pgd100': parts.attack_run(
        'pgd', ('plain',), curve=curve, curve_examples=drawn, step_size=0.01
      ),
      'paper_a': parts.attack_run(
        'paper_a',
        ('transformed',),
        curve=curve,
        curve_examples=drawn,
        step_size=0.01,
        alpha=10.0,
      ),
      'adaptive': parts.attack_run(
        'adaptive', num_examples=few, num_steps=16, alphas=(4.0, 10.0)
      ),
      'apgd': parts.attack_run(
        'apgd', num_examples=few, num_steps=30, num_targets=9
      ),
    },
  )
  config.preset = chosen['preset']
  study.with_codebook(config, chosen['codebook'], radius)
  if chosen['preset'] == 'paper':
    config.data.train_examples = 55_000  # tfds order: not the paper's 55,000
  if chosen['preset'] == 'smoke':
    study.smoke(config)
    config.model.widths, config.model.hidden = (4, 8), 32
  return config


def _small(eps: float, train_steps: int) -> dict:
  """Two large steps under an eps ramp, then five; re-training is short."""
  del eps, train_steps
  pgd = {'num_steps': 2, 'step_size': 0.7}
  pgd5 = {'num_steps': 5, 'step_size': 0.3}
  adversarial = {'batch_size': 100, 'learning_rate': 2e-3, 'attack': pgd}
  return {
    'nat': parts.model_run('natural', num_steps=2000),
    'adv_fast': parts.model_run(
      'adversarial', num_steps=3000, eps_ramp=0.4, **adversarial
    ),
    'adv': parts.model_run(
      'adversarial',
      begin='adv_fast',
      num_steps=1500,
      batch_size=100,
      learning_rate=1e-3,
      attack=pgd5,
    ),
    'nat_re': parts.model_run(
      'natural',
      begin='nat',
      defense='discretized',
      num_steps=600,
      learning_rate=5e-4,
    ),
    'adv_re': parts.model_run(
      'adversarial',
      begin='adv',
      defense='discretized',
      num_steps=800,
      eps_ramp=0.25,
      **adversarial | {'learning_rate': 5e-4},
    ),
  }


def _paper(eps: float, train_steps: int) -> dict:
  """PROTOCOL A7; re-training goes on for about 10,000 steps, slots kept."""
  adam = {
    'learning_rate': 1e-4,
    'schedule': 'constant',
    'batch_size': 50,
    'reduction': 'sum',
  }
  pgd = {'num_steps': train_steps, 'step_size': 0.01 / eps}
  again = adam | {'defense': 'discretized', 'keep_optimizer': True}
  return {
    'nat': parts.model_run('natural', num_steps=25_000, **adam),
    'adv': parts.model_run(
      'adversarial', num_steps=100_000, attack=pgd, **adam
    ),
    'nat_re': parts.model_run(
      'natural', begin='nat', num_steps=35_000, **again
    ),
    'adv_re': parts.model_run(
      'adversarial',
      begin='adv',
      num_steps=110_000,
      attack=pgd | {'name': 'paper_a'},
      **again,
    ),
  }


def _smoke(eps: float, train_steps: int) -> dict:
  runs = _small(eps, train_steps)
  for run in runs.values():
    run['num_steps'], run['batch_size'] = 3, 16
  return runs


def sweep():
  """How steep the surrogate of paper A's attack is: 10 is the published one.

  Too flat, and it follows the codes badly; too steep, and gradients vanish.
  """
  for alpha in (1.0, 3.0, 10.0, 30.0, 100.0):
    yield {'attacks.paper_a.alpha': alpha}

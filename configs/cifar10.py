"""Paper A's six settings on CIFAR-10 (Tables I, II and III, any k).

  python -m experiments.train --config=configs/cifar10.py --workdir=runs/cifar10
  python -m experiments.evaluate \
    --config=configs/cifar10.py --workdir=runs/cifar10

Natural models are attacked at eps 2/255, adversarial ones at 8/255, in 40
steps. Words after a colon: a codebook (`density`, the default, `medoids` or
`binning`), its number of codes (`k300` by default; Table II has k2, k5, k10,
k50, k100, k300 and k500, Table I k2, k8, k16 and k32), `train` to attack the
re-trained adversarial model on the images it was trained on (Figure 3b), and a
preset. `small` has a residual network of 8 layers, trained in 3,000 steps, and
1,000 test images; `paper` the hyper-parameters of the paper (a GPU), but for
batch statistics: the attack of adversarial training sees the running ones, and
leaves them alone, where the authors' takes those of its batch and adds each of
its steps to the running ones; `smoke` only shows that it runs. Another codebook
may take the undefended models of a finished workdir:

  --config=configs/cifar10.py:k50 --config.pretrained=runs/cifar10
"""

import ml_collections

from configs import parts, study

# Algorithm 1's r in grey levels, by the number of codes (Table II).
RADII = {
  2: 64,
  5: 64,
  10: 64,
  50: 48,
  100: 16,
  200: 16,
  300: 16,
  500: 16,
  8: 64,
  16: 64,
  32: 48,  # not in the paper
}
# Codes whose accuracy is drawn against eps: Figures 2 and 3, and a study's own.
_DRAWN = (50, 300)
# Words of all studies of colour images.
CHOICES = {
  'preset': ('small', 'paper', 'smoke'),
  'codebook': tuple(parts.CODEBOOKS),
  'k': ('k300', *(f'k{k}' for k in RADII if k != 300)),
}
ALPHA = 25.5  # of the surrogate: 0.1 a grey level


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: a preset, a codebook, a number of codes, and `train`."""
  return color_like(arg, 'cifar10', natural_eps=2 / 255, num_steps=3000)


def color_like(
  arg: str | None, dataset: str, natural_eps: float, num_steps: int
) -> ml_collections.ConfigDict:
  """CIFAR-10 and GTSRB differ in the eps of natural models, and in size.

  Args:
    arg: as for `get_config`.
    dataset: name of the data.
    natural_eps: at which natural models are attacked.
    num_steps: of training a model in `small`.
  """
  chosen = study.words(arg, **CHOICES, split=('test', 'train'))
  preset, num_codes = chosen['preset'], int(chosen['k'][1:])
  eps = 8 / 255
  paper = preset == 'paper'
  drawn = chosen['codebook'] == 'density' and num_codes in _DRAWN
  curve = tuple(e / 255 for e in (1, 2, 4, 6)) if drawn else ()
  few = 0 if paper else 200
  steps = {
    'num_steps': 40,
    'step_size': 2 / 255,
    'at_most_eps': 0.5,
    'curve': curve,
    'curve_examples': few,
  }
  runs = _paper(eps) if paper else _small(num_steps)
  config = study.six_settings(
    dataset,
    {
      'name': 'wide_resnet',
      'width': 10 if paper else 1,
      'units': 5 if paper else 1,
    },
    eps,
    runs=runs,
    attacks={
      'pgd40': parts.attack_run('pgd', ('plain',), **steps),
      'paper_a': parts.attack_run(
        'paper_a', ('transformed',), alpha=ALPHA, **steps
      ),
      'adaptive': parts.attack_run(
        'adaptive',
        num_examples=few if drawn else few // 2,
        num_steps=16,
        alphas=(10.0, ALPHA),
      ),
      'apgd': parts.attack_run(
        'apgd',
        num_examples=few if drawn else few // 2,
        num_steps=30,
        num_targets=9,
        alpha=ALPHA,
      ),
    },
  )
  config.title = f'{dataset}: six settings, {num_codes} codes'
  config.preset = preset
  config.threat.unit = 255
  config.radii_of = {name: (natural_eps,) for name in study.NATURAL}
  config.batch_size = 100
  with_codes(config, chosen['codebook'], num_codes)
  if preset == 'small':
    config.data.test_examples = 1000
  if chosen['split'] == 'train':
    config.name, config.data.judged_on = f'{dataset}_train', 'train'
    config.only = ('disc_adv_re',)
    config.attacks.paper_a.num_examples = 0 if paper else 1000
  if preset == 'smoke':
    study.smoke(config)
    config.data.test_examples, config.batch_size = 8, 4
    for run in config.runs.values():
      run.num_steps, run.batch_size = 2, 16
  return config


def with_codes(config, codebook: str, num_codes: int) -> None:
  """Sets the codebook of colour pixels; Algorithm 1's r is that of `RADII`."""
  radius = RADII[num_codes] / 255
  study.with_codebook(config, codebook, radius, num_codes)
  if codebook == 'binning':  # channels on their own: no codes of whole pixels
    config.defenses.discretized = ml_collections.ConfigDict(
      {'name': 'binning', 'num_levels': num_codes}
    )


def _small(num_steps: int) -> dict:
  """Two large steps under an eps ramp; re-training is short."""
  momentum = {
    'optimizer': 'momentum',
    'learning_rate': 0.1,
    'weight_decay': 5e-4,
    'augment': {'padding': 2, 'flip': True},
  }
  pgd = {'num_steps': 2, 'step_size': 0.6, 'alpha': ALPHA}
  again = momentum | {
    'learning_rate': 0.02,
    'defense': 'discretized',
    'num_steps': num_steps // 8,
  }
  return {
    'nat': parts.model_run('natural', num_steps=num_steps, **momentum),
    'adv': parts.model_run(
      'adversarial', num_steps=num_steps, eps_ramp=0.3, attack=pgd, **momentum
    ),
    'nat_re': parts.model_run('natural', begin='nat', **again),
    'adv_re': parts.model_run('adversarial', begin='adv', attack=pgd, **again),
  }


def _paper(eps: float) -> dict:
  """PROTOCOL A7; re-training goes on for about 10,000 steps, slots kept."""
  momentum = {
    'optimizer': 'momentum',
    'learning_rate': 0.1,
    'weight_decay': 2e-4,
    'schedule': 'steps',
    'boundaries': (40_000, 60_000),
    'batch_size': 128,
    'augment': {'padding': 2, 'flip': True},
  }
  pgd = {'num_steps': 7, 'step_size': 2 / 255 / eps, 'alpha': ALPHA}
  again = momentum | {
    'defense': 'discretized',
    'keep_optimizer': True,
    'num_steps': 80_001,
  }
  return {
    'nat': parts.model_run('natural', num_steps=70_000, **momentum),
    'adv': parts.model_run(
      'adversarial', num_steps=70_000, attack=pgd, **momentum
    ),
    'nat_re': parts.model_run('natural', begin='nat', **again),
    'adv_re': parts.model_run(
      'adversarial', begin='adv', attack=pgd | {'name': 'paper_a'}, **again
    ),
  }

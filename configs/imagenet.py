"""Paper A's settings without re-training on ImageNet (Tables I, II and III).

  python -m experiments.evaluate \
    --config=configs/imagenet.py --workdir=runs/imagenet

A natural network on the NIPS-2017 images, at eps 1/255, with nothing in front
of it and behind codes fitted to the development images. `paper` is judged on
the first 1,000 images of the final round, as the paper is; `small`, having no
others, on those the codes were fitted to. The published attack takes one step.
Words after a colon: codebook and number of codes as in `configs/cifar10.py`,
and a preset: `small` has MobileNetV2 and attacks 50 images, `paper`
Inception-ResNet-v2 and all, `smoke` only shows that it runs. The word `curve`
is for Figure 2(b): ten steps at several radii. The word `adversarial` is for
the weights of an ensemble-adversarially trained Inception-ResNet-v2, which are
not published in the format read here: eps 4/255, 10 steps.
"""

import ml_collections

from configs import cifar10, parts, study
from configs.paper import table_2a

_ADVERSARIAL = 'ens_adv_inception_resnet_v2.h5'
_RADII = tuple(level / 255 for level in (0.5, 1, 2, 4, 8))


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: a preset, codebook, number of codes, base, and table or curve."""
  chosen = study.words(
    arg,
    **cifar10.CHOICES,
    base=('natural', 'adversarial'),
    shown=('table', 'curve'),
  )
  preset, num_codes = chosen['preset'], int(chosen['k'][1:])
  paper, natural = preset == 'paper', chosen['base'] == 'natural'
  eps, num_steps = (1 / 255, 1) if natural else (4 / 255, 10)
  curve = chosen['shown'] == 'curve'
  num_steps = 10 if curve else num_steps
  model = table_2a.MODELS['paper' if paper or not natural else 'small']
  if not natural:
    model = model | {'weights': _ADVERSARIAL}
  few = 0 if paper else 50
  steps = {
    'num_steps': num_steps,
    'step_size': 1 / 255,
    'num_examples': few,
    'radii': _RADII if curve else (),
  }
  base = 'nat' if natural else 'adv'
  config = study.of_defenses(
    'nips17',
    'nips17',
    model,
    eps,
    runs={},
    defenses=study.six_defenses(),
    settings={
      name: parts.setting('', *study.SIX_SETTINGS[name][1:])
      for name in (f'{base}_pre', f'disc_{base}_pre')
    },
    attacks={
      f'pgd{num_steps}': parts.attack_run('pgd', ('plain',), **steps),
      'paper_a': parts.attack_run(
        'paper_a', ('transformed',), alpha=cifar10.ALPHA, **steps
      ),
      'adaptive': parts.attack_run(
        'adaptive',
        num_examples=few and 20,
        num_steps=10,
        alphas=(cifar10.ALPHA,),
      ),
    },
  )
  config.title = f'ImageNet: {num_codes} codes, no re-training'
  if curve:
    config.name = 'nips17_curve'
    del config.attacks['adaptive']
  config.preset, config.threat.unit, config.batch_size = preset, 255, 10
  config.strip.attack = 'paper_a'
  cifar10.with_codes(config, chosen['codebook'], num_codes)
  config.codebook.split = 'test'  # the development images
  if paper:
    config.data.judged_on, config.data.test_examples = 'final', 1000
  if preset == 'smoke':
    study.smoke(config)
    config.data.test_examples, config.batch_size = 2, 2
  return config

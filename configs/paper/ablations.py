"""Paper B's ablations in prose: fixed centres, and CW with kappa 50.

  python -m experiments.evaluate \
    --config=configs/paper/ablations.py --workdir=runs/ablations

ImageNet at eps 1, 2 and 4 of 255: RandMix with centres from the image, with
the eight centres {64, 192}^3 of all images, and attacked by CW with kappa 50
as well. An adversarially trained base is in `configs/paper/figure_2.py:adv`,
on MNIST. Presets as in `configs/paper/table_2a.py`.
"""

import ml_collections

from configs import study
from configs.paper import table_2a


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke."""
  chosen = study.words(arg, preset=('small', 'paper', 'smoke'))
  config = table_2a.imagenet(
    chosen['preset'],
    {
      'randmix': table_2a.DEFENSES['randmix'],
      'randmix_fixed': (
        {'name': 'rand_mix_fixed', 'alpha': 40.0} | table_2a.FIXED,
        'mixture of 8 centres, the same for all images',
      ),
      'randdisc_fixed': (
        {'name': 'rand_disc_fixed'} | table_2a.FIXED,
        'nearest of 8 centres, the same for all images',
      ),
    },
    (1 / 255, 2 / 255, 4 / 255),
    title='Paper B: fixed centres, and CW with kappa 50',
  )
  config.attacks.paper_b_cw = config.attacks.paper_b.to_dict() | {
    'name': 'paper_b_cw',
    'on': ('randomized',),
  }
  if chosen['preset'] == 'smoke':
    config.only = ('randmix_fixed',)
  return config

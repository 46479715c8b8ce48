"""Paper B's ablations: fixed centres, CW with kappa 50, text against code.

  python -m experiments.evaluate \
    --config=configs/paper/ablations.py --workdir=runs/ablations

ImageNet at eps 1, 2 and 4 of 255: RandMix with centres from the image, with the
eight centres {64, 192}^3 of all images, and attacked by CW with kappa 50 as
well; RandDisc and bit depth as the authors' code evaluates them, as steep
mixtures and sigmoids instead of argmin and steps. An adversarially trained base
is in `configs/paper/figure_2.py:adv`, on MNIST. Presets as in
`configs/paper/table_2a.py`.
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
      'randdisc_steep': (
        table_2a.DEFENSES['randdisc'][0] | {'name': 'rand_disc_steep'},
        'steep mixture of 5 centres, as in the code',
      ),
      'bitdepth_steep': (
        table_2a.DEFENSES['bitdepth'][0] | {'name': 'bit_depth_steep'},
        '4 levels a channel, steep sigmoids as in the code',
      ),
    },
    (1 / 255, 2 / 255, 4 / 255),
    title='Paper B: fixed centres, CW, and text against code',
  )
  config.attacks.paper_b_cw = config.attacks.paper_b.to_dict() | {
    'name': 'paper_b_cw',
    'on': ('randomized',),
  }
  if chosen['preset'] == 'smoke':
    config.only = ('randmix_fixed',)
  return config

"""Paper B's Figure 4: what noise, centres and copies do, and what is proved.

  python -m experiments.evaluate \
    --config=configs/paper/figure_4.py:a --workdir=runs/figure_4a

ImageNet at eps 1/255, clean and attacked, against (a) the noise, of Gaussian
and RandMix; (b) the number of centres of RandMix; (c) the number of gradients
averaged at each step. Words: a (default), b, c or d, and small, paper or smoke,
as in `configs/paper/table_2a.py`. Part (d) is certified accuracy at small
fractions of a grey level, of Gaussian and of RandDisc with the eight centres
{64, 192}^3 of all images:

  python -m experiments.certify \
    --config=configs/paper/figure_4.py:d --workdir=runs/figure_4d
"""

import ml_collections

from configs import parts, study
from configs.paper import table_2a

_NOISES = (4, 8, 16, 32, 48, 64)  # of 255; at 0 both are no defense
_NOISE = 32 / 255  # sigma = tau
NUM_CENTERS = (2, 3, 5, 10, 20)
NUM_DRAWS = (1, 3, 10, 30, 100)
_CERTIFIED = tuple(
  level / 255
  for level in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2)
)


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: a, b, c or d, and small, paper or smoke."""
  chosen = study.words(
    arg, part=('a', 'b', 'c', 'd'), preset=('small', 'paper', 'smoke')
  )
  make = {'a': _noises, 'b': _centers, 'c': _copies, 'd': _certified}
  defenses = make[chosen['part']]()
  config = table_2a.imagenet(
    chosen['preset'],
    defenses,
    (1 / 255,),
    title=f'Paper B, Figure 4({chosen["part"]}): RandMix on ImageNet',
  )
  if chosen['part'] == 'c':
    attack = config.attacks.paper_b.to_dict()
    smoke = chosen['preset'] == 'smoke'
    config.attacks = ml_collections.ConfigDict(
      {
        f'copies{n}': attack | {'num_draws': min(n, 2) if smoke else n}
        for n in (NUM_DRAWS[:2] if smoke else NUM_DRAWS)
      }
    )
    config.strip.attack = 'copies1'
  if chosen['part'] == 'd':
    small = chosen['preset'] != 'paper'
    config.certify = ml_collections.ConfigDict(
      parts.certification(
        radii=_CERTIFIED,
        num_examples=60 if small else 0,
        num_votes=300 if small else 1000,
        shard_size=10,
        curves={'Gaussian': ('gaussian',), 'RandDisc': ('randdisc_fixed',)},
      )
    )
    if chosen['preset'] == 'smoke':
      config.certify.num_votes, config.certify.radii = 12, _CERTIFIED[:1]
  if chosen['preset'] == 'smoke':
    config.only = tuple(config.settings)[:1]
  return config


def _noises() -> dict:
  found = {'base': ({'name': 'identity'}, 'no defense')}
  for noise in _NOISES:
    text = f'sigma = {noise} of 255'
    for name in ('gaussian', 'randmix'):
      defense, _ = table_2a.randomized(noise / 255, 5)[name]
      found[f'{name}_sigma{noise}'] = defense, text
  return found


def _centers() -> dict:
  return {
    f'randmix_k{k}': (
      table_2a.randomized(_NOISE, k)['randmix'][0],
      f'{k} centres',
    )
    for k in NUM_CENTERS
  }


def _certified() -> dict:
  gaussian, _ = table_2a.DEFENSES['gaussian']
  fixed = {'name': 'rand_disc_fixed'} | table_2a.FIXED
  return {
    'gaussian': (gaussian, 'noise of 32 of 255'),
    'randdisc_fixed': (fixed, 'nearest of 8 centres, noise of 32 of 255'),
  }


def _copies() -> dict:
  return {'randmix': table_2a.DEFENSES['randmix']}

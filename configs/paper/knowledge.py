"""Paper A's three levels of knowledge: black, gray and white box.

  python -m experiments.train --config=configs/paper/knowledge.py \
    --config.pretrained=runs/mnist --only=twin --workdir=runs/knowledge_mnist
  python -m experiments.evaluate --config=configs/paper/knowledge.py \
    --config.pretrained=runs/mnist --workdir=runs/knowledge_mnist

The natural model behind T, unchanged and re-trained, under images made on a
twin, trained alike with another seed (black box); on the undefended model
itself (gray); and on the defended one (white): the published attacks. Words
after a colon: a data set, `mnist` (default), `fashion_mnist`, `cifar10` or
`gtsrb`, and a preset. The models but for the twin are those of that data set's
study.
"""

import importlib

import ml_collections

from configs import parts, study


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: mnist, fashion_mnist, cifar10 or gtsrb; small, paper or smoke."""
  chosen = study.words(
    arg,
    dataset=('mnist', 'fashion_mnist', 'cifar10', 'gtsrb'),
    preset=('small', 'paper', 'smoke'),
  )
  dataset, preset = chosen['dataset'], chosen['preset']
  config = importlib.import_module(f'configs.{dataset}').get_config(preset)
  config.title = f'{dataset}: three levels of knowledge'
  natural = config.runs.nat.to_dict()
  config.runs.twin = ml_collections.ConfigDict(natural | {'seed': 1})
  for name in ('adv', 'adv_fast', 'adv_re'):
    if name in config.runs:
      del config.runs[name]
  config.settings = {
    n: parts.setting(*study.SIX_SETTINGS[n]) for n in study.NATURAL
  }
  config.settings.twin = ml_collections.ConfigDict(
    parts.setting('twin', 'none', 'trained alike, with another seed')
  )
  (plain,) = (name for name in config.attacks if name.startswith('pgd'))
  on_others = config.attacks[plain].to_dict() | {
    'on': parts.KINDS,
    'curve': (),
    'keep': 'last',
    'num_examples': 0,
  }
  config.attacks = ml_collections.ConfigDict(
    {
      'black': on_others | {'source': 'twin'},
      'gray': on_others | {'source': 'nat_pre'},
      'white': config.attacks.paper_a.to_dict()
      | {'on': ('transformed',), 'curve': ()},
    }
  )
  config.strip.attack = 'black'
  if config.radii_of:
    config.radii_of.twin = config.radii_of.nat_pre
  return config

"""Paper B's Table 2(b): defenses of ImageNet under transferred attacks.

  python -m experiments.evaluate \
    --config=configs/paper/table_2b.py --workdir=runs/table_2b

The paper submits the images of the three best teams of the NIPS-2017 contest,
at eps 8/255. We have not got them: MI-FGSM, the method of the first of them, is
computed on an ensemble of other networks than the one defended, and handed to
each defense. The row `ensemble` is the attack on the networks it was computed
on. Presets as in `configs/paper/table_2a.py`. Who has the teams' images, in
folders of `<ImageId>.png`, adds the word `contest`:

  python -m experiments.evaluate --workdir=runs/table_2b_contest \
    --config=configs/paper/table_2b.py:small,contest \
    --config.attacks.transfer_1st.path=FOLDER \
    --config.attacks.transfer_2nd.path=FOLDER \
    --config.attacks.transfer_3rd.path=FOLDER
"""

import ml_collections

from configs import parts, study
from configs.paper import table_2a
from configs.paper.published import CONTEST

_RADIUS = 8 / 255
_NOISE = 16 / 255  # sigma = tau, PROTOCOL B6
_SOURCES = {
  'mobilenet_v1': 'mobilenet_v1_0.75_192.npz',
  'mobilenet_edgetpu': 'mobilenet_edgetpu_0.75_224.npz',
}
DEFENSES = {
  name: table_2a.DEFENSES[name] for name in ('base', 'bitdepth', 'jpeg', 'tvm')
} | table_2a.randomized(_NOISE, 10)


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke; ensemble or contest."""
  chosen = study.words(
    arg, preset=('small', 'paper', 'smoke'), images=('ensemble', 'contest')
  )
  config = table_2a.imagenet(
    chosen['preset'],
    DEFENSES,
    (_RADIUS,),
    title='Paper B, Table 2(b): transferred MI-FGSM on ImageNet',
  )
  # Its noise is not that of Table 2(a), nor are its clean figures.
  config.name = 'nips17_transfer'
  if chosen['images'] == 'contest':
    config.title = "Paper B, Table 2(b): the contest's attacks on ImageNet"
    config.attacks = {
      name: parts.attack_run('given', path='') for name in CONTEST
    }
    config.strip.attack = CONTEST[0]
  else:
    _on_ensemble(config)
  if chosen['preset'] == 'smoke':
    table_2a.smoke(config)
    for network in config.networks.values():
      for member in network.members.values():
        member.size = config.model.size
    config.only = (*config.networks, 'randmix')
  return config


def _on_ensemble(config) -> None:
  config.networks = {
    'ensemble': {
      'name': 'ensemble',
      'members': {
        name: {'name': name, 'weights': weights}
        for name, weights in _SOURCES.items()
      },
    }
  }
  config.settings.ensemble = parts.setting(
    '', 'base', 'the networks it was computed on', network='ensemble'
  )
  config.attacks = {
    'transfer': parts.attack_run(
      'mi_fgsm', source='ensemble', num_examples=0, num_steps=10, keep='last'
    )
  }
  config.strip.attack = 'transfer'

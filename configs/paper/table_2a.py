"""Paper B's Table 2(a): eight defenses of ImageNet under whitebox PGD.

  python -m experiments.evaluate \
    --config=configs/paper/table_2a.py --workdir=runs/table_2a

NIPS-2017 development images behind each defense, attacked by PGD on averaged
gradients; radii in 255ths. Presets: `small` has MobileNetV2, 50 images, 10
steps of 10 copies; `paper` Inception-ResNet-v2 with the public Keras weights,
all images, 10 steps of 100 copies; `smoke` only shows that it runs. The paper
smooths the deterministic filters with one alpha, its code as here. RandDisc
takes the nearest centre, as in the text; the authors' figures are of a steep
mixture, which `configs/paper/ablations.py` has.
"""

import itertools

import ml_collections

from configs import parts, study

_NOISE = 32 / 255  # sigma = tau, PROTOCOL B1
_RADII = (1 / 255, 2 / 255, 4 / 255)
_SMOKE_SIZE = 64
# Of all images: the eight centres {64, 192}^3.
FIXED = {
  'sigma': _NOISE,
  'codes': tuple(
    tuple(level / 255 for level in color)
    for color in itertools.product((64, 192), repeat=3)
  ),
}


def randomized(noise: float, num_centers: int) -> dict:
  """Paper B's defenses at sigma = tau = `noise`, with their descriptions."""
  centers = {
    'sigma': noise,
    'tau': noise,
    'num_centers': num_centers,
    'num_samples': 100,
    'gamma': 40.0,
  }
  return {
    'gaussian': ({'name': 'gaussian', 'sigma': noise}, 'noise alone'),
    'randdisc': (
      {'name': 'rand_disc'} | centers,
      f'nearest of {num_centers} centres',
    ),
    'randmix': (
      {'name': 'rand_mix', 'alpha': 40.0} | centers,
      f'mixture of {num_centers} centres',
    ),
  }


MODELS = {
  'small': {'name': 'mobilenet_v2', 'weights': 'mobilenet_v2_1.0_224.npz'},
  'paper': {
    'name': 'inception_resnet_v2',
    'weights': 'inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5',
  },
}
DEFENSES = {
  'base': ({'name': 'identity'}, 'no defense'),
  'bitdepth': ({'name': 'bit_depth', 'num_levels': 4}, '4 levels a channel'),
  'jpeg': ({'name': 'jpeg_as_coded', 'scale': 4.0}, 'tables times 4'),
  'tvm': ({'name': 'total_variation'}, 'total variation minimisation'),
  'resizepadding': (
    {'name': 'resize_padding', 'low': 310, 'high': 331, 'side': 331},
    'random size and place',
  ),
} | randomized(_NOISE, 5)


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke."""
  chosen = study.words(arg, preset=('small', 'paper', 'smoke'))
  config = imagenet(
    chosen['preset'],
    DEFENSES,
    _RADII,
    title='Paper B, Table 2(a): whitebox PGD on ImageNet',
  )
  if chosen['preset'] == 'smoke':
    config.only = ('base', 'randmix')
  return config


def imagenet(
  preset: str, defenses: dict, radii: tuple[float, ...], title: str
) -> ml_collections.ConfigDict:
  """NIPS-2017 images, one network, each defense attacked as in Table 2(a).

  Args:
    preset: small, paper or smoke.
    defenses: setting -> (defense, description).
    radii: in [0, 1] pixel units.
    title: of the report.
  """
  paper = preset == 'paper'
  config = study.of_defenses(
    'nips17',
    'nips17',
    MODELS['paper' if paper else 'small'],
    eps=max(radii),
    runs={},
    defenses={name: defense for name, (defense, _) in defenses.items()},
    settings={
      name: parts.setting('', name, text)
      for name, (_, text) in defenses.items()
    },
    attacks={
      'paper_b': parts.attack_run(
        'paper_b_imagenet',
        num_examples=0 if paper else 50,
        radii=radii,
        num_steps=10,
        num_draws=100 if paper else 10,
        alpha=40.0,
      ),
    },
  )
  config.title = title
  config.preset = preset
  config.threat.unit = 255
  config.batch_size = 10
  if preset == 'smoke':
    smoke(config)
  return config


def smoke(config) -> None:
  """Two images, and networks that see them small."""
  study.smoke(config)
  config.data.test_examples, config.batch_size = 2, 2
  config.model.size = _SMOKE_SIZE

"""Paper A's Table IV and Figure 4: certificates of an adversarial MNIST model.

  python -m experiments.evaluate --config=configs/paper/table_4.py \
    --config.pretrained=runs/mnist --workdir=runs/table_4
  python -m experiments.certify --config=configs/paper/table_4.py \
    --config.pretrained=runs/mnist --workdir=runs/table_4

The first line attacks the model, and the natural one without a defense, for the
curves of Figure 4; without it, they are certificates alone.

The paper enumerates all images that two codes can make of one, and gives up
above 2^25 to 2^30 of them, a threshold for each radius. Here they are decided
by branch and bound on tables (`rdefense.certify.tables`), with one threshold
for all radii: images with more than 30 ambiguous pixels, the largest of the
paper's thresholds, are looked at once only. Of up to 16 the budget is enough
whatever the bounds say (1024 (127 + 1) / 2 = 2^16). Presets: `small` decides
the first 1,000 test images, `paper` all 10,000; `smoke` only shows that it
runs.
"""

import ml_collections

from configs import mnist, parts, study

_RADII = (0.05, 0.1, 0.15, 0.2, 0.25)  # and that of the threat, 0.3


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """`arg`: small, paper or smoke."""
  chosen = study.words(arg, preset=('small', 'paper', 'smoke'))
  preset = chosen['preset']
  config = mnist.get_config(preset)
  config.title = 'Paper A, Table IV: an adversarial model behind two codes'
  config.only = ('nat_pre', 'disc_adv_pre')
  few = 0 if preset == 'paper' else 200
  for name in ('pgd100', 'paper_a'):
    config.attacks[name].curve = _RADII
    config.attacks[name].num_examples = few
  config.attacks.adaptive.on = ('transformed',)
  config.attacks.adaptive.radii = _RADII[1::2] + (config.threat.eps,)
  config.certify = parts.certification(
    num_examples=0 if preset == 'paper' else 1000,
    bounds='tables',
    max_nodes=127,
    max_patterns=1024,
    max_ambiguous=30,
    leaf_size=1,
    batch_size=16,
    table_iv=True,
  )
  if preset == 'smoke':
    study.smoke(config)
    config.certify.radii, config.certify.num_examples = (0.05,), 4
    config.certify.max_nodes, config.certify.max_patterns = 2, 16
  return config

"""Figures printed by the papers.

A: Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
Discretization Against Adversarial Attacks, EuroS&P 2019, arXiv 1805.07816:
Tables I, II and III, which stand in `tables`, and IV.
B: Zhang, Liang, Defending against Whitebox Adversarial Attacks via Randomized
Discretization, AISTATS 2019, arXiv 1903.10586: MNIST in prose, Tables 2(a) and
2(b).

`PUBLISHED` maps a key to `(percent, table)`. Keys are built as

  <dataset>/<setting>/<condition>             without discretization
  <dataset>/<codebook>/<setting>/<condition>  with it

from a dataset, a codebook (`binning` Table I, `density` Table II, `medoids`
Table III, followed by `_k<number>` for more than two codes), one of the six
settings and a condition: `clean`, or `eps<radius>/<attack>`, the radius in
[0, 1] pixel units of grey images and in 255ths of colour ones. The attack is
`pgd<steps>` without discretization (PGD on cross-entropy from a random start)
and `paper_a` with it (BPDA, margin loss, Adam on signs, from the lower corner),
judged on their last iterate. The paper's own test images, one training run; its
ImageNet networks are others than ours.
Paper B's keys are `<dataset>/<setting>/<condition>`; `nips17` counts radii in
255ths, on 1,000 images and Inception-ResNet-v2, in 10 steps of 100 copies.

>>> PUBLISHED['mnist/density/disc_adv_pre/eps0.3/paper_a']
(97.24, 'Table II')
>>> TABLE_IV[0.1].certified
96.43
"""

from typing import NamedTuple

from configs.paper.tables import TABLES

__all__ = [
  'CONTEST',
  'PAPER_A',
  'PAPER_B',
  'PRINTED',
  'PUBLISHED',
  'TABLE_IV',
  'TRANSFERRED',
  'WINNERS',
  'Certificates',
  'adaptive_key',
  'codebook_key',
  'row_conditions',
  'row_keys',
]


class Certificates(NamedTuple):
  """A row of Table IV, in percent of 10,000 test images."""

  threshold: int  # b: an image with more ambiguous pixels is given up
  undecided: float  # "unable"
  certified: float  # s-hat
  refuted: float  # "fail"
  bound: float  # s-hat-star, (1 - a) s-hat


# By radius: certificates of MNIST, codes of Algorithm 1. The base model is not
# stated; the clean value fits only the one of `disc_adv_pre`.
TABLE_IV = {
  0.0: Certificates(0, 0.00, 98.10, 1.90, 96.61),
  0.05: Certificates(30, 0.43, 97.43, 2.14, 95.95),
  0.1: Certificates(30, 1.30, 96.43, 2.27, 94.97),
  0.15: Certificates(26, 29.18, 69.01, 1.81, 67.96),
  0.2: Certificates(25, 74.38, 24.96, 0.66, 24.58),
  0.25: Certificates(25, 89.48, 10.37, 0.15, 10.21),
  0.3: Certificates(25, 95.67, 4.31, 0.02, 4.24),
}

# Tables I to III: keys of the codes' names and, by data set and base, of the
# radius in the units of its study and of the steps of the undefended attack.
_CODEBOOKS = {
  'Table I': 'binning',
  'Table II': 'density',
  'Table III': 'medoids',
}
_ATTACKS = {
  'mnist': {'nat': ('eps0.3', 100), 'adv': ('eps0.3', 100)},
  'fashion_mnist': {'nat': ('eps0.1', 100), 'adv': ('eps0.1', 100)},
  'cifar10': {'nat': ('eps2', 40), 'adv': ('eps8', 40)},
  'gtsrb': {'nat': ('eps8', 40), 'adv': ('eps8', 40)},
  'nips17': {'nat': ('eps1', 1), 'adv': ('eps4', 10)},
}


def codebook_key(table: str, num_codes: int) -> str:
  """Part of the keys of Table I, II or III with so many codes.

  >>> codebook_key('Table II', 300), codebook_key('Table III', 2)
  ('density_k300', 'medoids')
  """
  name = _CODEBOOKS[table]
  return name if num_codes == 2 else f'{name}_k{num_codes}'


def adaptive_key(key: str) -> str:
  """Of the same under our `adaptive` instead of the paper's attack.

  >>> adaptive_key('mnist/nat_pre/eps0.3/pgd100')
  'mnist/nat_pre/eps0.3/adaptive'
  """
  return f'{key.rpartition("/")[0]}/adaptive'


def row_conditions(
  dataset: str, base: str, num_codes: int
) -> list[tuple[str, str]]:
  """Setting and condition of the figures of a row, in its order.

  >>> row_conditions('cifar10', 'nat', 0)
  [('nat_pre', 'clean'), ('nat_pre', 'eps2/pgd40')]
  """
  eps, steps = _ATTACKS[dataset][base]
  if not num_codes:
    return [(f'{base}_pre', 'clean'), (f'{base}_pre', f'{eps}/pgd{steps}')]
  return [
    (f'disc_{base}_{when}', condition)
    for when in ('pre', 're')
    for condition in ('clean', f'{eps}/paper_a')
  ]


def row_keys(table: str, dataset: str, base: str, num_codes: int) -> list[str]:
  """Keys of the figures of a row of Table I, II or III, in its order.

  >>> row_keys('Table II', 'cifar10', 'nat', 0)
  ['cifar10/nat_pre/clean', 'cifar10/nat_pre/eps2/pgd40']
  >>> row_keys('Table II', 'mnist', 'adv', 2)[1]
  'mnist/density/disc_adv_pre/eps0.3/paper_a'
  """
  codebook = f'/{codebook_key(table, num_codes)}' if num_codes else ''
  return [
    f'{dataset}{codebook}/{setting}/{condition}'
    for setting, condition in row_conditions(dataset, base, num_codes)
  ]


# Without discretization Table II repeats Table I.
PAPER_A = {
  key: (value, table)
  for table, datasets in reversed(TABLES.items())
  for dataset, bases in datasets.items()
  for base, rows in bases.items()
  for num_codes, values in rows.items()
  for key, value in zip(
    row_keys(table, dataset, base, num_codes), values, strict=False
  )
}

PAPER_B = {
  # MNIST, prose: k = 2, sigma = tau = 0.15.
  'mnist/base/clean': (99.2, 'B, prose'),
  'mnist/base/eps0.1/paper_b': (12.0, 'B, prose'),
  'mnist/randdisc/eps0.1/paper_b': (94.4, 'B, prose'),
  'mnist_adv/base/eps0.3/paper_b': (92.7, 'B, prose'),
  # Table 2(a): k = 5, sigma = tau = 32/255.
  'nips17/base/clean': (99.3, 'B, Table 2(a)'),
  'nips17/base/eps1/paper_b': (16.0, 'B, Table 2(a)'),
  'nips17/base/eps2/paper_b': (6.0, 'B, Table 2(a)'),
  'nips17/base/eps4/paper_b': (2.3, 'B, Table 2(a)'),
  'nips17/bitdepth/eps1/paper_b': (20.4, 'B, Table 2(a)'),
  'nips17/bitdepth/eps2/paper_b': (8.7, 'B, Table 2(a)'),
  'nips17/bitdepth/eps4/paper_b': (3.4, 'B, Table 2(a)'),
  'nips17/jpeg/eps1/paper_b': (22.4, 'B, Table 2(a)'),
  'nips17/jpeg/eps2/paper_b': (9.9, 'B, Table 2(a)'),
  'nips17/jpeg/eps4/paper_b': (4.5, 'B, Table 2(a)'),
  'nips17/tvm/eps1/paper_b': (25.5, 'B, Table 2(a)'),
  'nips17/tvm/eps2/paper_b': (10.2, 'B, Table 2(a)'),
  'nips17/tvm/eps4/paper_b': (4.2, 'B, Table 2(a)'),
  'nips17/resizepadding/eps1/paper_b': (30.7, 'B, Table 2(a)'),
  'nips17/resizepadding/eps2/paper_b': (9.8, 'B, Table 2(a)'),
  'nips17/resizepadding/eps4/paper_b': (2.3, 'B, Table 2(a)'),
  'nips17/gaussian/eps1/paper_b': (57.3, 'B, Table 2(a)'),
  'nips17/gaussian/eps2/paper_b': (29.9, 'B, Table 2(a)'),
  'nips17/gaussian/eps4/paper_b': (11.4, 'B, Table 2(a)'),
  'nips17/randdisc/eps1/paper_b': (56.0, 'B, Table 2(a)'),
  'nips17/randdisc/eps2/paper_b': (46.0, 'B, Table 2(a)'),
  'nips17/randdisc/eps4/paper_b': (29.4, 'B, Table 2(a)'),
  'nips17/randmix/eps1/paper_b': (60.7, 'B, Table 2(a)'),
  'nips17/randmix/eps2/paper_b': (48.3, 'B, Table 2(a)'),
  'nips17/randmix/eps4/paper_b': (28.3, 'B, Table 2(a)'),
  # Prose: the centres {64, 192}^3 for all images; CW of kappa 50.
  'nips17/randmix_fixed/eps1/paper_b': (51.7, 'B, prose'),
  'nips17/randmix_fixed/eps2/paper_b': (33.6, 'B, prose'),
  'nips17/randmix_fixed/eps4/paper_b': (15.9, 'B, prose'),
  'nips17/randmix/eps1/paper_b_cw': (61.0, 'B, prose'),
  'nips17/randmix/eps2/paper_b_cw': (49.0, 'B, prose'),
  'nips17/randmix/eps4/paper_b_cw': (26.4, 'B, prose'),
  # Prose: an adversarially trained network, alone and behind RandMix.
  'nips17_adv/base/eps1/paper_b': (18.4, 'B, prose'),
  'nips17_adv/base/eps2/paper_b': (10.7, 'B, prose'),
  'nips17_adv/base/eps4/paper_b': (5.8, 'B, prose'),
  'nips17_adv/randmix/eps1/paper_b': (62.9, 'B, prose'),
  'nips17_adv/randmix/eps2/paper_b': (54.2, 'B, prose'),
  'nips17_adv/randmix/eps4/paper_b': (39.5, 'B, prose'),
  # Prose: k = 10, sigma = tau = 16/255, as in Table 2(b).
  'nips17_transfer/base/clean': (97.1, 'B, prose'),
  'nips17_transfer/randdisc/clean': (88.6, 'B, prose'),
  'nips17_transfer/randmix/clean': (92.7, 'B, prose'),
}

# Table 2(b): the attacks of the contest's best three, and their mean; ours,
# `transfer`, is by the method of the first, momentum on an ensemble.
CONTEST = ('transfer_1st', 'transfer_2nd', 'transfer_3rd')
TRANSFERRED = ('transfer', *CONTEST[1:])
WINNERS = ('defense_1st', 'defense_2nd', 'defense_3rd')
_TABLE_2B = {
  'defense_1st': (87.3, 44.1, 33.8, 55.1),
  'defense_2nd': (57.3, 28.3, 63.9, 49.8),
  'defense_3rd': (54.7, 27.7, 61.1, 47.8),
  'bitdepth': (61.2, 61.3, 69.9, 64.0),
  'jpeg': (65.0, 51.0, 21.3, 45.8),
  'tvm': (58.6, 52.0, 62.6, 57.7),
  'gaussian': (69.1, 66.3, 69.1, 68.2),
  'randdisc': (72.4, 69.0, 75.9, 72.4),
  'randmix': (69.8, 67.2, 76.2, 71.1),
}
PAPER_B |= {
  f'nips17_transfer/{name}/eps8/{attack}': (value, f'B, Table 2(b), {column}')
  for name, values in _TABLE_2B.items()
  for attack, column, value in zip(
    (*TRANSFERRED, 'mean'), ('1st', '2nd', '3rd', 'mean'), values, strict=True
  )
}

# What stands beside the team's own images as well, and is printed once.
_FIRST = {
  f'nips17_transfer/{name}/eps8/{CONTEST[0]}': PAPER_B[
    f'nips17_transfer/{name}/eps8/{TRANSFERRED[0]}'
  ]
  for name in _TABLE_2B
}
PUBLISHED = PAPER_A | PAPER_B | _FIRST

# Keys of all that is printed: Table IV, and what is not in percent, as well.
PRINTED = frozenset(PAPER_A | PAPER_B) | {
  'hardness/mnist/eps0.3/median',
  'hardness/cifar10/eps8/median',
  'hardness/cifar10/neighborhoods/largest',
  *(
    f'certify/mnist/disc_adv_pre/eps{eps:g}/{verdict}'
    for eps in TABLE_IV
    for verdict in Certificates._fields[1:]
  ),
}

"""Figures printed by the papers.

A: Chen, Wu, Rastogi, Liang, Jha, Towards Understanding Limitations of Pixel
Discretization Against Adversarial Attacks, EuroS&P 2019, arXiv 1805.07816:
Tables I, II and III, MNIST and Fashion-MNIST.
B: Zhang, Liang, Defending against Whitebox Adversarial Attacks via Randomized
Discretization, AISTATS 2019, arXiv 1903.10586: MNIST in prose, Table 2(a).

`PUBLISHED` maps a key to `(percent, table)`. Keys are built as

  <dataset>/<setting>/<condition>             without discretization
  <dataset>/<codebook>/<setting>/<condition>  with it

from a dataset (`mnist`, `fashion_mnist`), a codebook (`binning` Table I,
`density` Table II, `medoids` Table III; two codes each), one of the six
settings and a condition: `clean`, or `eps<radius>/<attack>` with the radius in
[0, 1] pixel units and the attack `pgd100` (without discretization: PGD on
cross-entropy from a random start) or `paper_a` (with it: BPDA, margin loss,
Adam on signs, from the lower corner), both of 100 steps of 0.01 and judged on
their last iterate. The paper's own 10,000 test images, one training run.
Paper B's keys are `<dataset>/<setting>/<condition>`; `nips17` counts radii in
255ths, on 1,000 images and Inception-ResNet-v2, in 10 steps of 100 copies.

>>> PUBLISHED['mnist/density/disc_adv_pre/eps0.3/paper_a']
(97.24, 'Table II')
>>> TABLE_IV[0.1].certified
96.43
"""

from typing import NamedTuple

__all__ = ['PAPER_A', 'PAPER_B', 'PUBLISHED', 'TABLE_IV', 'Certificates']


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

PAPER_A = {
  # k = 256, printed in Tables I and II alike.
  'mnist/nat_pre/clean': (99.17, 'Table I'),
  'mnist/nat_pre/eps0.3/pgd100': (0.00, 'Table I'),
  'mnist/adv_pre/clean': (98.40, 'Table I'),
  'mnist/adv_pre/eps0.3/pgd100': (92.72, 'Table I'),
  # Table I: colour-depth reduction, k = 2.
  'mnist/binning/disc_nat_pre/clean': (98.76, 'Table I'),
  'mnist/binning/disc_nat_pre/eps0.3/paper_a': (75.39, 'Table I'),
  'mnist/binning/disc_nat_re/clean': (99.09, 'Table I'),
  'mnist/binning/disc_nat_re/eps0.3/paper_a': (80.91, 'Table I'),
  'mnist/binning/disc_adv_pre/clean': (98.18, 'Table I'),
  'mnist/binning/disc_adv_pre/eps0.3/paper_a': (97.32, 'Table I'),
  'mnist/binning/disc_adv_re/clean': (98.49, 'Table I'),
  'mnist/binning/disc_adv_re/eps0.3/paper_a': (92.89, 'Table I'),
  # Table II: Algorithm 1, k = 2, r = 0.6.
  'mnist/density/disc_nat_pre/clean': (98.81, 'Table II'),
  'mnist/density/disc_nat_pre/eps0.3/paper_a': (75.35, 'Table II'),
  'mnist/density/disc_nat_re/clean': (99.15, 'Table II'),
  'mnist/density/disc_nat_re/eps0.3/paper_a': (80.91, 'Table II'),
  'mnist/density/disc_adv_pre/clean': (98.17, 'Table II'),
  'mnist/density/disc_adv_pre/eps0.3/paper_a': (97.24, 'Table II'),
  'mnist/density/disc_adv_re/clean': (98.56, 'Table II'),
  'mnist/density/disc_adv_re/eps0.3/paper_a': (92.80, 'Table II'),
  # Table III: k-medoids in l_1, k = 2.
  'mnist/medoids/disc_nat_pre/clean': (98.81, 'Table III'),
  'mnist/medoids/disc_nat_pre/eps0.3/paper_a': (75.43, 'Table III'),
  'mnist/medoids/disc_nat_re/clean': (98.99, 'Table III'),
  'mnist/medoids/disc_nat_re/eps0.3/paper_a': (80.66, 'Table III'),
  'mnist/medoids/disc_adv_pre/clean': (98.17, 'Table III'),
  'mnist/medoids/disc_adv_pre/eps0.3/paper_a': (97.20, 'Table III'),
  'mnist/medoids/disc_adv_re/clean': (98.50, 'Table III'),
  'mnist/medoids/disc_adv_re/eps0.3/paper_a': (92.20, 'Table III'),
  # k = 256, printed in Tables I and II alike.
  'fashion_mnist/nat_pre/clean': (91.18, 'Table I'),
  'fashion_mnist/nat_pre/eps0.1/pgd100': (0.00, 'Table I'),
  'fashion_mnist/adv_pre/clean': (86.26, 'Table I'),
  'fashion_mnist/adv_pre/eps0.1/pgd100': (71.53, 'Table I'),
  # Table I: colour-depth reduction, k = 2.
  'fashion_mnist/binning/disc_nat_pre/clean': (77.18, 'Table I'),
  'fashion_mnist/binning/disc_nat_pre/eps0.1/paper_a': (38.07, 'Table I'),
  'fashion_mnist/binning/disc_nat_re/clean': (86.44, 'Table I'),
  'fashion_mnist/binning/disc_nat_re/eps0.1/paper_a': (41.41, 'Table I'),
  'fashion_mnist/binning/disc_adv_pre/clean': (82.68, 'Table I'),
  'fashion_mnist/binning/disc_adv_pre/eps0.1/paper_a': (66.52, 'Table I'),
  'fashion_mnist/binning/disc_adv_re/clean': (86.18, 'Table I'),
  'fashion_mnist/binning/disc_adv_re/eps0.1/paper_a': (69.99, 'Table I'),
  # Table II: Algorithm 1, k = 2, r = 0.2.
  'fashion_mnist/density/disc_nat_pre/clean': (77.18, 'Table II'),
  'fashion_mnist/density/disc_nat_pre/eps0.1/paper_a': (38.07, 'Table II'),
  'fashion_mnist/density/disc_nat_re/clean': (86.74, 'Table II'),
  'fashion_mnist/density/disc_nat_re/eps0.1/paper_a': (41.75, 'Table II'),
  'fashion_mnist/density/disc_adv_pre/clean': (82.68, 'Table II'),
  'fashion_mnist/density/disc_adv_pre/eps0.1/paper_a': (66.52, 'Table II'),
  'fashion_mnist/density/disc_adv_re/clean': (86.18, 'Table II'),
  'fashion_mnist/density/disc_adv_re/eps0.1/paper_a': (70.05, 'Table II'),
  # Table III: k-medoids in l_1, k = 2.
  'fashion_mnist/medoids/disc_nat_pre/clean': (82.45, 'Table III'),
  'fashion_mnist/medoids/disc_nat_pre/eps0.1/paper_a': (48.44, 'Table III'),
  'fashion_mnist/medoids/disc_nat_re/clean': (87.86, 'Table III'),
  'fashion_mnist/medoids/disc_nat_re/eps0.1/paper_a': (51.53, 'Table III'),
  'fashion_mnist/medoids/disc_adv_pre/clean': (84.84, 'Table III'),
  'fashion_mnist/medoids/disc_adv_pre/eps0.1/paper_a': (73.63, 'Table III'),
  'fashion_mnist/medoids/disc_adv_re/clean': (87.58, 'Table III'),
  'fashion_mnist/medoids/disc_adv_re/eps0.1/paper_a': (74.32, 'Table III'),
}

PAPER_B = {
  # MNIST, prose: k = 2, sigma = tau = 0.15.
  'mnist/base/clean': (99.2, 'B, prose'),
  'mnist/base/eps0.1/paper_b': (12.0, 'B, prose'),
  'mnist/randdisc/eps0.1/paper_b': (94.4, 'B, prose'),
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
}

PUBLISHED = PAPER_A | PAPER_B

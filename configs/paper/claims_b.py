"""What paper B concludes, on MNIST and on ImageNet.

>>> [claim.margin for claim in CLAIMS if isinstance(claim, Claim)][-5:-2]
[35.0, 18.0, 0.0]
"""

from collections.abc import Iterator

from configs.paper import figure_4, published, table_2a
from configs.paper.claim_types import PUBLISHED, Claim, Side, Trend, compare

__all__ = ['CLAIMS']

_IN_THE_IMAGE = ('randdisc', 'randmix')  # with centres of the image itself


def _figures_of_mnist() -> Iterator[Claim]:
  for eps in ('0.07', '0.1'):
    for name, words in (('randdisc', 'RandDisc'), ('gaussian', 'noise')):
      yield compare(
        'mnist', f'eps {eps}: {words} in front is more robust than nothing',
        'B, Figure 2', (f'mnist/{name}/eps{eps}/paper_b',),
        (f'mnist/base/eps{eps}/paper_b',),
      )  # fmt: skip
  yield compare(
    'mnist', 'adversarial model, eps 0.3: RandDisc in front is less robust '
    'than nothing', 'B, prose', ('mnist_adv/base/eps0.3/paper_b',),
    ('mnist_adv/randdisc/eps0.3/paper_b',),
  )  # fmt: skip
  for eps in ('0.05', '0.1'):
    yield compare(
      'mnist', f'eps {eps}: down-sampled and behind RandDisc, more is '
      'certified than the bare model keeps', 'B, Figure 3',
      (f'certify/randdisc/pooled?x?/eps{eps}/best',),
      (f'mnist/base/eps{eps}/paper_b',),
    )  # fmt: skip


def _figures_of_imagenet() -> Iterator[Claim | Trend]:
  others = [name for name in table_2a.DEFENSES if name not in _IN_THE_IMAGE]
  for eps in (1, 2, 4):
    own, rest = (
      tuple(f'nips17/{name}/eps{eps}/paper_b' for name in names)
      for names in (_IN_THE_IMAGE, others)
    )
    yield compare(
      'nips17', f'eps {eps}: RandDisc or RandMix is the most robust of all',
      'B, Table 2(a)', own, rest,
    )  # fmt: skip
    yield compare(
      'nips17', f'eps {eps}: centres of the image beat fixed ones', 'B, prose',
      (f'nips17/randmix/eps{eps}/paper_b',),
      (f'nips17/randmix_fixed/eps{eps}/paper_b',),
    )  # fmt: skip
  own, rest = (
    tuple(f'nips17_transfer/{name}/eps8/transfer' for name in names)
    for names in (_IN_THE_IMAGE, others)
  )
  yield compare(
    'nips17', 'eps 8, transferred: RandDisc or RandMix is the most robust',
    'B, Table 2(b)', own, rest,
  )  # fmt: skip
  yield compare(
    'nips17', 'eps 1, each at its best noise: RandMix beats Gaussian noise',
    'B, Figure 4(a)', ('nips17/randmix_sigma*/eps1/paper_b',),
    ('nips17/gaussian_sigma*/eps1/paper_b',),
  )  # fmt: skip
  for words, condition, rise in (
    ('clean accuracy rises', 'clean', True),
    ('robustness at eps 1 falls', 'eps1/paper_b', False),
  ):
    yield Trend(
      'nips17', f'RandMix with more centres: {words}', 'B, Figure 4(b)',
      PUBLISHED,
      {k: f'nips17/randmix_k{k}/{condition}' for k in figure_4.NUM_CENTERS},
      rise,
    )  # fmt: skip
  yield Trend(
    'nips17', 'RandMix, eps 1: the more gradients averaged, the stronger the '
    'attack', 'B, Figure 4(c)', PUBLISHED,
    {n: f'nips17/randmix/eps1/copies{n}' for n in figure_4.NUM_DRAWS}, False,
  )  # fmt: skip


def _by_how_much() -> Iterator[Claim]:
  for words, conditions, margin in (
    ('at the worst of three attacks', published.TRANSFERRED, 35.0),
    ('in the mean of three attacks', ('mean',), 18.0),
  ):
    own, rest = (
      Side(
        tuple(
          f'nips17_transfer/{name}/eps8/{condition}'
          for name in names
          for condition in conditions
        ),
        worst=True,
      )
      for names in (_IN_THE_IMAGE, published.WINNERS)
    )
    yield Claim(
      'nips17', f'eps 8, transferred, {words}: RandDisc or RandMix is at least '
      f"{margin:g} points above the contest's best three", 'B, prose',
      PUBLISHED, own, rest, margin,
    )  # fmt: skip
  for eps in (1, 2, 4):
    yield compare(
      'nips17', f'eps {eps}: RandDisc is at least 3 times as robust as an '
      'adversarially trained model', 'B, prose',
      (f'nips17/randdisc/eps{eps}/paper_b',),
      (f'nips17_adv/base/eps{eps}/paper_b',),
    )._replace(times=3.0)  # fmt: skip


CLAIMS: tuple[Claim | Trend, ...] = (
  *_figures_of_mnist(),
  *_figures_of_imagenet(),
  *_by_how_much(),
)

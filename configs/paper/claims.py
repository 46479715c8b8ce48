"""What both papers conclude, each as published figures to compare.

A `Claim` says that one side is higher than the other, a `Trend` that figures
rise or fall with a number of codes, centres or copies. Keys are those of
`configs.paper.published`; those of an attack of ours end in `adaptive` where
the paper's end in its own. `experiments.conclusions` judges them.

>>> [claim.text for claim in CLAIMS if claim.dataset == 'fashion_mnist'][2]
'natural model: k-medoids codes beat density codes'
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from configs.paper import figure_4, published, table_2a
from configs.paper.catalogue import COLOR, GREY
from configs.paper.tables import BASES, TABLES

__all__ = ['CLAIMS', 'Claim', 'Side', 'Trend']

# Whose figures: the paper's own attack, the worst case over all of ours.
_PUBLISHED, _ADAPTIVE = 'published', '`adaptive`'
_IN_THE_IMAGE = ('randdisc', 'randmix')  # with centres of the image itself


class Side(NamedTuple):
  """The best of some figures, less the best of others where there are any."""

  best: tuple[str, ...]
  less: tuple[str, ...] = ()


class Claim(NamedTuple):
  """That `higher` is higher than `lower`.

  Attributes:
    dataset: it is about.
    text: in one sentence.
    source: paper, and its table or figure.
    attack: whose figures are compared.
    higher: keys.
    lower: keys.
  """

  dataset: str
  text: str
  source: str
  attack: str
  higher: Side
  lower: Side


class Trend(NamedTuple):
  """That figures rise or fall with a number.

  Attributes:
    dataset: it is about.
    text: in one sentence.
    source: paper, and its table or figure.
    attack: whose figures are compared.
    figures: number -> key.
    rise: whether they rise.
  """

  dataset: str
  text: str
  source: str
  attack: str
  figures: Mapping[int, str]
  rise: bool


def _under(attack: str, keys) -> tuple[str, ...]:
  """Keys of figures under the paper's attack, or the same under ours."""
  if attack == _PUBLISHED:
    return tuple(keys)
  return tuple(map(published.adaptive_key, keys))


def _bare(dataset: str, base: str) -> tuple[str, ...]:
  return (published.row_keys('Table II', dataset, base, 0)[1],)


def _behind(dataset: str, base: str, *tables: str) -> tuple[str, ...]:
  """Attacked, behind any codes of these tables, unchanged and re-trained."""
  return tuple(
    key
    for table in tables
    for num_codes in TABLES[table][dataset][base]
    if num_codes
    for key in published.row_keys(table, dataset, base, num_codes)[1::2]
  )


def _paper_a(base: str, attack: str) -> Iterator[Claim | Trend]:
  name = f'{BASES[base]} model'

  def gain(dataset):
    bare = _under(attack, _bare(dataset, base))
    return _under(attack, _behind(dataset, base, *TABLES)), bare

  for dataset in GREY + COLOR:
    behind, bare = gain(dataset)
    yield Claim(
      dataset, f'{name}: codes in front make it more robust',
      'A, Tables I to III', attack, Side(behind), Side(bare),
    )  # fmt: skip
  yield Claim(
    'fashion_mnist', f'{name}: k-medoids codes beat density codes',
    'A, Tables II and III', attack,
    Side(_under(attack, _behind('fashion_mnist', base, 'Table III'))),
    Side(_under(attack, _behind('fashion_mnist', base, 'Table II'))),
  )  # fmt: skip
  for dataset in COLOR:
    yield Claim(
      dataset, f'{name}: codes in front gain less than on MNIST',
      'A, Tables I to III', attack, Side(*gain('mnist')), Side(*gain(dataset)),
    )  # fmt: skip
    keys = {
      k: published.row_keys('Table II', dataset, base, k)[1]
      for k in sorted(TABLES['Table II'][dataset][base])
      if k
    }
    how = 'less' if base == 'nat' else 'more'
    yield Trend(
      dataset, f'{name} behind T, unchanged: more codes, {how} robustness',
      'A, Table II', attack,
      dict(zip(keys, _under(attack, keys.values()), strict=True)),
      base == 'adv',
    )  # fmt: skip


def _claim(dataset: str, text: str, source: str, higher, lower) -> Claim:
  return Claim(dataset, text, source, _PUBLISHED, Side(higher), Side(lower))


def _generalization_gap() -> Iterator[Claim]:
  own = 'density_k50/disc_adv_re/eps8/paper_a'
  yield _claim(
    'cifar10', 'adversarial model behind 50 codes, re-trained: more robust on '
    'the images it was trained on', 'A, Figure 3(b)', (f'cifar10_train/{own}',),
    (f'cifar10/{own}',),
  )  # fmt: skip


def _levels_of_knowledge() -> Iterator[Claim]:
  for dataset in GREY + COLOR:
    black, gray, white = (
      (f'{dataset}/*disc_nat_pre/*/{level}',)
      for level in ('black', 'gray', 'white')
    )
    for words, weaker in (('a twin', black), ('the undefended model', gray)):
      yield _claim(
        dataset, f'natural model behind T: images made on {words} fool it less '
        'than those made on itself', 'A, prose', weaker, white,
      )  # fmt: skip


def _figures_of_mnist() -> Iterator[Claim]:
  for eps in ('0.07', '0.1'):
    for name, words in (('randdisc', 'RandDisc'), ('gaussian', 'noise')):
      yield _claim(
        'mnist', f'eps {eps}: {words} in front is more robust than nothing',
        'B, Figure 2', (f'mnist/{name}/eps{eps}/paper_b',),
        (f'mnist/base/eps{eps}/paper_b',),
      )  # fmt: skip
  yield _claim(
    'mnist', 'adversarial model, eps 0.1: RandDisc in front is less robust '
    'than nothing', 'B, prose', ('mnist_adv/base/eps0.1/paper_b',),
    ('mnist_adv/randdisc/eps0.1/paper_b',),
  )  # fmt: skip
  for eps in ('0.05', '0.1'):
    yield _claim(
      'mnist', f'eps {eps}: down-sampled and behind RandDisc, more is '
      'certified than the bare model keeps', 'B, Figure 3',
      (f'certify/randdisc/pooled*/eps{eps}/best',),
      (f'mnist/base/eps{eps}/paper_b',),
    )  # fmt: skip


def _figures_of_imagenet() -> Iterator[Claim | Trend]:
  others = [name for name in table_2a.DEFENSES if name not in _IN_THE_IMAGE]
  for eps in (1, 2, 4):
    own, rest = (
      tuple(f'nips17/{name}/eps{eps}/paper_b' for name in names)
      for names in (_IN_THE_IMAGE, others)
    )
    yield _claim(
      'nips17', f'eps {eps}: RandDisc or RandMix is the most robust of all',
      'B, Table 2(a)', own, rest,
    )  # fmt: skip
    yield _claim(
      'nips17', f'eps {eps}: centres of the image beat fixed ones', 'B, prose',
      (f'nips17/randmix/eps{eps}/paper_b',),
      (f'nips17/randmix_fixed/eps{eps}/paper_b',),
    )  # fmt: skip
  own, rest = (
    tuple(f'nips17_transfer/{name}/eps8/transfer' for name in names)
    for names in (_IN_THE_IMAGE, others)
  )
  yield _claim(
    'nips17', 'eps 8, transferred: RandDisc or RandMix is the most robust',
    'B, Table 2(b)', own, rest,
  )  # fmt: skip
  yield _claim(
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
      _PUBLISHED,
      {k: f'nips17/randmix_k{k}/{condition}' for k in figure_4.NUM_CENTERS},
      rise,
    )  # fmt: skip
  yield Trend(
    'nips17', 'RandMix, eps 1: the more gradients averaged, the stronger the '
    'attack', 'B, Figure 4(c)', _PUBLISHED,
    {n: f'nips17/randmix/eps1/copies{n}' for n in figure_4.NUM_DRAWS}, False,
  )  # fmt: skip


CLAIMS: tuple[Claim | Trend, ...] = (
  *(
    claim
    for base in BASES
    # The same under one attack and under the other, side by side.
    for both in zip(
      *(_paper_a(base, attack) for attack in (_PUBLISHED, _ADAPTIVE)),
      strict=True,
    )
    for claim in both
  ),
  *_generalization_gap(),
  *_levels_of_knowledge(),
  *_figures_of_mnist(),
  *_figures_of_imagenet(),
)

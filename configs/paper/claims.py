"""What both papers conclude, each as published figures to compare.

A `Claim` says that one side is higher than the other, a `Trend` that figures
rise or fall with a number of codes, centres or copies. Keys are those of
`configs.paper.published`; those of an attack of ours end in `adaptive` where
the paper's end in its own. `experiments.published.conclusions` judges them.

>>> [claim.text for claim in CLAIMS if claim.dataset == 'fashion_mnist'][2]
'natural model: k-medoids codes beat density codes'
"""

from collections.abc import Iterator

from configs.paper import claims_b, published
from configs.paper.catalogue import COLOR, GREY
from configs.paper.claim_types import PUBLISHED, Claim, Side, Trend, compare
from configs.paper.tables import BASES, TABLES

__all__ = ['CLAIMS', 'Claim', 'Side', 'Trend']

_ADAPTIVE = '`adaptive`'  # whose figures: the worst case over all of ours


def _under(attack: str, keys) -> tuple[str, ...]:
  """Keys of figures under the paper's attack, or the same under ours."""
  if attack == PUBLISHED:
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


def _generalization_gap() -> Iterator[Claim]:
  own = 'density_k50/disc_adv_re/eps8/paper_a'
  yield compare(
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
      yield compare(
        dataset, f'natural model behind T: images made on {words} fool it less '
        'than those made on itself', 'A, prose', weaker, white,
      )  # fmt: skip


CLAIMS: tuple[Claim | Trend, ...] = (
  *(
    claim
    for base in BASES
    # The same under one attack and under the other, side by side.
    for both in zip(
      *(_paper_a(base, attack) for attack in (PUBLISHED, _ADAPTIVE)),
      strict=True,
    )
    for claim in both
  ),
  *_generalization_gap(),
  *_levels_of_knowledge(),
  *claims_b.CLAIMS,
)

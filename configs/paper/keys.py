"""Which published figures belong to which table or figure of the papers.

Keys are those of `configs.paper.published` where a paper has them, and our own
of docs/results.json where it has none; `*` stands for anything.

>>> keys('table3', 'mnist')[0]
'mnist/medoids/disc_adv_re/eps0.3/paper_a'
>>> keys('figure6', 'cifar10')
('hardness/cifar10/neighborhoods/largest', 'hardness/cifar10/neighborhoods/*')
"""

from configs.paper import published, table_2a
from configs.paper.catalogue import TABLE_OF
from configs.paper.tables import TABLES

__all__ = ['keys']

_RADIUS = {'mnist': 'eps0.3', 'cifar10': 'eps8'}  # of Figure 5


def keys(what: str, dataset: str) -> tuple[str, ...]:
  """Patterns of the keys of a table or figure, the most telling one first.

  Args:
    what: of `catalogue.CATALOGUE`.
    dataset: one of its data sets.

  Returns:
    Patterns for `fnmatch`; none for what is a picture only.
  """
  bare = tuple(f'{dataset}/{base}_pre/eps*/pgd*' for base in ('adv', 'nat'))
  match what:
    case 'table1' | 'table2' | 'table3':
      table = TABLE_OF[what]
      rows = [
        published.row_keys(table, dataset, base, num_codes)[: len(values)]
        for base in ('adv', 'nat')
        for num_codes, values in TABLES[table][dataset][base].items()
      ]
      # The longest first: behind T, re-trained, attacked.
      rows.sort(key=len, reverse=True)
      return tuple(key for row in rows for key in reversed(row))
    case 'table4':
      return (
        'certify/mnist/disc_adv_pre/eps0.1/certified',
        'certify/mnist/disc_adv_pre/*',
      )
    case 'figure1':
      book = f'{dataset}/density'
      return (f'{book}/disc_adv_re/eps*', f'{book}/disc_*/eps*/paper_a', *bare)
    case 'figure2':
      if dataset == 'nips17':
        own = 'nips17_curve'
        return (f'{own}/density_k300/disc_*/eps*/paper_a', f'{own}/*_pre/*')
      book = f'{dataset}/density_k50'
      return (f'{book}/disc_adv_*/eps*', f'{book}/disc_*/eps*/paper_a', *bare)
    case 'figure3':
      return (
        'cifar10_train/density_k50/disc_adv_re/*',
        'cifar10/density_k50/disc_*/eps*/paper_a',
      )
    case 'figure4':
      return (
        'certify/mnist/disc_adv_pre/eps*/certified',
        'mnist/density/disc_adv_pre/eps*/paper_a',
        'mnist/nat_pre/eps*/pgd*',
      )
    case 'figure5':
      own = f'hardness/{dataset}'
      return (f'{own}/{_RADIUS[dataset]}/median', f'{own}/*median*')
    case 'figure6':
      own = f'hardness/{dataset}/neighborhoods'
      return (f'{own}/largest', f'{own}/*')
    case 'knowledge':
      found = (f'{dataset}/*/{level}' for level in ('white', 'gray', 'black'))
      return tuple(found)
    case 'model':
      return ('idealized/proposition_1/independent_right', 'idealized/*')
    case 'figure7' | 'b_figure1':
      return ()
    case _:
      return _paper_b(what)


def _paper_b(what: str) -> tuple[str, ...]:
  match what:
    case 'b_table1':
      return (
        'certify/randdisc/pooled*/best',
        'certify/randdisc/pooled*',
        'figure_3/pooled*',
      )
    case 'b_table2a':
      attacked = [
        f'nips17/{name}/{condition}'
        for name in reversed(table_2a.DEFENSES)  # RandMix first
        for condition in ('eps[124]/paper_b', 'clean', '*/*_of_*', 'clean/*')
      ]
      return tuple(attacked)
    case 'b_table2b':
      return ('nips17_transfer/randmix/eps8/transfer', 'nips17_transfer/*')
    case 'b_figure2':
      names = ('randdisc', 'randmix', 'gaussian', 'base')
      return ('mnist/randdisc/eps0.1/paper_b', *(f'mnist/{n}/*' for n in names))
    case 'b_figure3':
      return (
        'certify/randdisc/plain/*/best',
        'certify/randdisc/*',
        'figure_3/*',
      )
    case 'b_figure4a':
      return ('nips17/randmix_sigma*/eps*', 'nips17/*_sigma*')
    case 'b_figure4b':
      return ('nips17/randmix_k*/eps*', 'nips17/randmix_k*')
    case 'b_figure4c':
      return ('nips17/randmix/eps*/copies*',)
    case 'b_figure4d':
      return ('certify/nips17/randdisc_fixed/*/best', 'certify/nips17/*')
    case 'b_ablations':
      return (
        'nips17/randmix_fixed/eps*/paper_b',
        'nips17/*_fixed/*',
        'nips17/*_steep/*',
        'nips17/*/paper_b_cw*',
        'mnist_adv/*',
        'nips17_adv/*',
      )
  raise ValueError(f'{what!r} is no table or figure of the papers.')

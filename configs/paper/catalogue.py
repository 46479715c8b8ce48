"""Every table and figure of both papers, and the command lines that make it.

`CATALOGUE` has them by name, paper A's without a prefix, paper B's with `b_`;
`jobs` are the programs to run, in order, for one of them. A study's models are
trained once: other codebooks of a data set take its undefended ones.

>>> [job.workdir for job in jobs('table3', 'mnist', 'small')][2:]
['mnist', 'mnist_medoids', 'mnist_medoids']
>>> print(' '.join(jobs('table3', 'mnist', 'small')[0].arguments('runs')))
--config=configs/mnist.py:small --workdir=runs/mnist --only=nat,adv_fast,adv
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from configs.paper.published import codebook_key
from configs.paper.tables import TABLES
from configs.study import SIX_SETTINGS

__all__ = [
  'CATALOGUE',
  'COLOR',
  'GREY',
  'TABLE_OF',
  'Item',
  'Job',
  'codebook_workdir',
  'jobs',
]

GREY = ('mnist', 'fashion_mnist')
COLOR = ('cifar10', 'gtsrb')
# Names of the tables of `TABLES`.
TABLE_OF = {'table1': 'Table I', 'table2': 'Table II', 'table3': 'Table III'}
# Workdir of a data set's own study: the codebook it has without words.
_OWN = {
  'mnist': ('Table II', 2),
  'fashion_mnist': ('Table II', 2),
  'cifar10': ('Table II', 300),
  'gtsrb': ('Table II', 300),
  'nips17': ('Table II', 300),
}
_CONFIG = {'nips17': 'imagenet'}
_BEHIND = tuple(name for name in SIX_SETTINGS if name.startswith('disc_'))


class Item(NamedTuple):
  """A table or figure: what it shows, and the data sets it is there for."""

  title: str
  datasets: tuple[str, ...] = ('',)


class Job(NamedTuple):
  """One run of a program.

  Attributes:
    program: of `experiments`.
    config: of `configs`, with its words; '' for a program without a study.
    workdir: below the folder of all runs.
    pretrained: workdir whose models are taken.
    options: more arguments.
  """

  program: str
  config: str
  workdir: str
  pretrained: str = ''
  options: tuple[str, ...] = ()

  def arguments(self, root: str) -> list[str]:
    """What follows the program's name, with runs in the folder `root`."""
    config = f'--config=configs/{self.config}'
    taken = f'--config.pretrained={root}/{self.pretrained}'
    return [
      *([config] if self.config else []),
      *([taken] if self.pretrained else []),
      f'--workdir={root}/{self.workdir}',
      *self.options,
    ]


CATALOGUE = {
  'table1': Item(
    'A, Table I: colour-depth reduction', (*GREY, *COLOR, 'nips17')
  ),
  'table2': Item('A, Table II: density codes', (*GREY, *COLOR, 'nips17')),
  'table3': Item('A, Table III: k-medoids', (*GREY, *COLOR, 'nips17')),
  'table4': Item('A, Table IV: certificates of MNIST'),
  'figure1': Item('A, Figure 1: six settings against eps', GREY),
  'figure2': Item(
    'A, Figure 2: GTSRB with 50 codes, ImageNet with 300', ('gtsrb', 'nips17')
  ),
  'figure3': Item(
    'A, Figure 3: CIFAR-10 with 50 codes; robustness in training and test'
  ),
  'figure4': Item('A, Figure 4: certified and attacked MNIST'),
  'figure5': Item(
    'A, Figure 5: sizes of equivalence classes', ('mnist', 'cifar10')
  ),
  'figure6': Item('A, Figure 6: neighbourhoods of colours', ('cifar10',)),
  'figure7': Item('A, Figure 7: histogram of pixels', ('mnist',)),
  'knowledge': Item('A, prose: black, gray and white box', (*GREY, *COLOR)),
  'model': Item('A, section 5: the idealised model'),
  'b_figure1': Item('B, Figure 1: colours of an image, by cluster'),
  'b_table1': Item('B, Table 1: down-sampling, one for each eps'),
  'b_table2a': Item('B, Table 2(a): ImageNet, whitebox'),
  'b_table2b': Item('B, Table 2(b): ImageNet, transferred attacks'),
  'b_figure2': Item('B, Figure 2: MNIST under attack'),
  'b_figure3': Item('B, Figure 3: certified MNIST'),
  'b_figure4a': Item('B, Figure 4(a): noise'),
  'b_figure4b': Item('B, Figure 4(b): centres'),
  'b_figure4c': Item('B, Figure 4(c): copies'),
  'b_figure4d': Item('B, Figure 4(d): certified ImageNet'),
  'b_ablations': Item('B, prose: fixed centres, CW, an adversarial base'),
}


def jobs(what: str, dataset: str, preset: str) -> list[Job]:
  """The runs that make a table or figure, each needed once.

  Args:
    what: of `CATALOGUE`.
    dataset: one of its data sets.
    preset: small, paper or smoke.

  Returns:
    Jobs in the order to run them in.
  """
  return list(dict.fromkeys(_jobs(what, dataset, preset)))


def codebook_workdir(dataset: str, table: str, num_codes: int) -> str:
  """Of a codebook of Tables I to III.

  >>> codebook_workdir('cifar10', 'Table II', 50)
  'cifar10_density_k50'
  """
  if (table, num_codes) == _OWN[dataset]:
    return dataset
  return f'{dataset}_{codebook_key(table, num_codes)}'


def _jobs(what: str, dataset: str, preset: str) -> Iterator[Job]:
  match what:
    case 'table1' | 'table2' | 'table3':
      table = TABLE_OF[what]
      yield from _codebook(dataset, *_OWN[dataset], preset)
      for num_codes in _numbers(table, dataset, preset):
        yield from _codebook(dataset, table, num_codes, preset)
    case 'figure1':
      yield from _codebook(dataset, *_OWN[dataset], preset)
    case 'figure2':
      if dataset == 'gtsrb':
        yield from _codebook(dataset, 'Table II', 50, preset)
      else:
        yield Job('evaluate', f'imagenet.py:{preset},curve', 'nips17_curve')
    case 'figure3':
      yield from _codebook('cifar10', 'Table II', 50, preset)
      own = codebook_workdir('cifar10', 'Table II', 50)
      yield Job(
        'evaluate', f'cifar10.py:{preset},k50,train', f'{own}_train', own
      )
    case 'table4' | 'figure4':
      yield from _trained('mnist', preset)
      for program in ('evaluate', 'certify'):
        yield Job(program, f'paper/table_4.py:{preset}', 'table_4', 'mnist')
    case 'figure5' | 'figure6' | 'figure7':
      images = 'digits' if preset == 'smoke' else dataset
      yield Job(
        'hardness', '', f'hardness_{images}', options=(f'--dataset={images}',)
      )
    case 'model':
      quick = ('--quick',) if preset == 'smoke' else ()
      yield Job('idealized', '', 'idealized', options=quick)
    case 'knowledge':
      yield from _knowledge(dataset, preset)
    case _:
      yield from _paper_b(what, preset)


def _numbers(table: str, dataset: str, preset: str) -> Sequence[int]:
  """Of codes; a smoke run has the fewest alone."""
  found = [k for k in TABLES[table][dataset]['nat'] if k]
  return found[:1] if preset == 'smoke' else found


def _codebook(
  dataset: str, table: str, num_codes: int, preset: str
) -> Iterator[Job]:
  """Trains what a codebook needs, and attacks all settings."""
  yield from _trained(dataset, preset)
  workdir = codebook_workdir(dataset, table, num_codes)
  name = codebook_key(table, num_codes).partition('_k')[0]
  own = workdir == dataset
  words = [preset] if own else [preset, name]
  if not own and dataset not in GREY:
    words.append(f'k{num_codes}')
  config = f'{_CONFIG.get(dataset, dataset)}.py:{",".join(words)}'
  pretrained = '' if own or dataset == 'nips17' else dataset
  # The undefended settings are there, in the data set's own study.
  options = (f'--config.only={_BEHIND!r}',) if pretrained else ()
  if dataset != 'nips17':
    yield Job(
      'train',
      config,
      workdir,
      pretrained,
      (*options, '--only=nat_re,adv_re'),
    )
  yield Job('evaluate', config, workdir, pretrained, options)


def _trained(dataset: str, preset: str) -> Iterator[Job]:
  """The undefended models."""
  if dataset != 'nips17':
    fast = 'adv_fast,' if dataset in GREY and preset != 'paper' else ''
    yield Job(
      'train',
      f'{dataset}.py:{preset}',
      dataset,
      options=(f'--only=nat,{fast}adv',),
    )


def _knowledge(dataset: str, preset: str) -> Iterator[Job]:
  yield from _codebook(dataset, *_OWN[dataset], preset)
  config = f'paper/knowledge.py:{preset},{dataset}'
  workdir = f'knowledge_{dataset}'
  yield Job('train', config, workdir, dataset, ('--only=twin',))
  yield Job('evaluate', config, workdir, dataset)


def _paper_b(what: str, preset: str) -> Iterator[Job]:
  match what:
    case 'b_figure1':
      yield Job('clusters', f'paper/table_2a.py:{preset}', 'b_figure_1')
    case 'b_table2a' | 'b_table2b':
      name = what.removeprefix('b_').replace('table', 'table_')
      yield Job('evaluate', f'paper/{name}.py:{preset}', name)
    case 'b_figure2':
      yield from _trained('mnist', preset)
      yield Job('evaluate', f'paper/figure_2.py:{preset}', 'figure_2', 'mnist')
    case 'b_figure3' | 'b_table1':
      for program in ('train', 'evaluate', 'certify'):
        yield Job(program, f'paper/figure_3.py:{preset}', 'figure_3')
    case 'b_figure4a' | 'b_figure4b' | 'b_figure4c' | 'b_figure4d':
      part = what[-1]
      program = 'certify' if part == 'd' else 'evaluate'
      yield Job(
        program, f'paper/figure_4.py:{preset},{part}', f'figure_4{part}'
      )
    case 'b_ablations':
      yield Job('evaluate', f'paper/ablations.py:{preset}', 'ablations')
      yield from _trained('mnist', preset)
      yield Job(
        'evaluate', f'paper/figure_2.py:{preset},adv', 'figure_2_adv', 'mnist'
      )

"""A published figure and its key, as docs/results.json holds them.

Keys are stable. For the six settings they mirror `configs.paper.published`,
the density codebook of two codes being the default and left out:

  mnist/disc_adv_pre/eps0.3/paper_a   against mnist/density/disc_adv_pre/...
  mnist/medoids/disc_adv_pre/clean    against the same key
  cifar10/density_k300/...            codebooks of more than two codes
  benchmark/..., codebooks/...        against the entry's own target

>>> split('mnist/disc_adv_pre/eps0.3/paper_a')
('mnist', 'density', 'disc_adv_pre', 'eps0.3/paper_a')
>>> split('hardness/mnist/eps0.3/median')  # of no setting
('hardness', '', '', 'mnist/eps0.3/median')
"""

from collections.abc import Mapping
import re
from typing import Any, NamedTuple

from rdefense.report import Published

__all__ = [
  'GAIN',
  'Entry',
  'is_discretized',
  'order',
  'prefix',
  'published_key',
  'references',
  'shortened',
  'split',
]

GAIN = 'gain/'  # before the key of a figure: what the defense buys of it
_PLAIN = ('nat_pre', 'adv_pre')
# Paper B's: models behind defenses that have no codebook.
_FILTERED = (
  'base',
  'bitdepth',
  'jpeg',
  'tvm',
  'resizepadding',
  'gaussian',
  'randdisc',
  'randmix',
  'randdisc_fixed',
  'randmix_fixed',
  'randdisc_steep',
  'bitdepth_steep',
)
_DISCRETIZED = ('disc_nat_pre', 'disc_adv_pre', 'disc_nat_re', 'disc_adv_re')
_SETTINGS = _PLAIN + _DISCRETIZED + _FILTERED
_CODEBOOK = re.compile(r'(binning|density|medoids)(_k\d+)?')
_DEFAULT = 'density'


class Entry(NamedTuple):
  """One published figure and all that is needed to make it again."""

  value: float
  low: float | None  # of the exact 95% interval, in `unit`; None without one
  high: float | None
  examples: int | None
  preset: str
  command: str
  commit: str
  device: str
  date: str
  unit: str
  target: str = ''  # what it is held against, where no paper prints a figure
  gain: Mapping[str, Any] | None = None  # of one: against, gained, lost


def shortened(commit: str) -> str:
  """Commits of an entry, each by its first twelve digits.

  >>> shortened(f'{"a" * 40}, {"b" * 40}+changes')
  'aaaaaaaaaaaa, bbbbbbbbbbbb+changes'
  """
  return re.sub(r'\b([0-9a-f]{12})[0-9a-f]{28}\b', r'\1', commit)


def prefix(dataset: str, codebook: str) -> str:
  """What the keys of an evaluation begin with.

  >>> prefix('mnist', 'medoids'), prefix('mnist', 'density')
  ('mnist/medoids', 'mnist')
  >>> prefix('nips17', '')  # no codebook at all
  'nips17'
  """
  return dataset if codebook in ('', _DEFAULT) else f'{dataset}/{codebook}'


def published_key(key: str) -> str:
  """The paper's key for one of ours, whether the paper prints it or not.

  >>> published_key('mnist/disc_adv_pre/eps0.3/paper_a')
  'mnist/density/disc_adv_pre/eps0.3/paper_a'
  >>> published_key('mnist/medoids/adv_pre/clean')
  'mnist/adv_pre/clean'
  >>> published_key('gain/mnist/disc_nat_re/clean')
  'gain/mnist/density/disc_nat_re/clean'
  """
  if key.startswith(GAIN):
    return GAIN + published_key(key.removeprefix(GAIN))
  dataset, codebook, setting, condition = split(key)
  if setting in _PLAIN + _FILTERED:
    return f'{dataset}/{setting}/{condition}'
  if setting in _DISCRETIZED:
    return f'{dataset}/{codebook}/{setting}/{condition}'
  return key


def references(
  published: Mapping[str, tuple[float, str]],
  dataset: str,
  codebook: str = _DEFAULT,
) -> dict[str, Published]:
  """The paper's figures for a report: `<setting>/<condition>` -> `Published`.

  >>> paper = {'mnist/density/disc_adv_pre/eps0.3/paper_a': (97.24, 'Table II')}
  >>> references(paper, 'mnist')['disc_adv_pre/eps0.3/paper_a']
  Published(value=97.24, source='Table II')
  """
  found = {}
  for key, figure in published.items():
    owner, book, setting, condition = split(key)
    if owner == dataset and (setting not in _DISCRETIZED or book == codebook):
      found[f'{setting}/{condition}'] = Published(*figure)
  return found


def is_discretized(setting: str) -> bool:
  """Whether a setting has a codebook."""
  return setting in _DISCRETIZED


def split(key: str) -> tuple[str, str, str, str]:
  """(data set, codebook, setting, condition); setting '' for other keys."""
  dataset, *rest = key.split('/')
  named = rest and _CODEBOOK.fullmatch(rest[0])
  codebook = rest.pop(0) if named else _DEFAULT
  certified = dataset == 'certify'  # in shapes of their own
  if certified or len(rest) < 2 or rest[0] not in _SETTINGS:
    return dataset, '', '', '/'.join(rest)
  return dataset, codebook, rest[0], '/'.join(rest[1:])


def order(key: str) -> tuple:
  """To sort keys by: settings in the order of the papers.

  A bare setting stands where its data set begins, whatever codebook it was
  measured beside.
  """
  dataset, codebook, setting, condition = split(key)
  if not is_discretized(setting):
    codebook = _DEFAULT
  rank = _SETTINGS.index(setting) if setting else len(_SETTINGS)
  return dataset, codebook != _DEFAULT, codebook, rank, condition, key

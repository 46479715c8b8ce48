"""How cost grows: with devices, with the network, with the attack.

  python -m experiments.scaling --publish
  python -m experiments.scaling --page   # prints docs/scale.md again
  python -m experiments.scaling --quick  # one small network, not published

Programs are compiled for 1, 2, 4 and 8 forced CPU devices at the same work a
device, and for the networks of the papers; none is run. XLA's account of each
gives operations, bytes and what devices send each other; a time would say more
about this machine than about the programs. `--publish` puts the figures into
docs/results.json and prints docs/scale.md from there, from the configs and from
`configs/devices.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from absl import flags
import jax

from experiments import publish
from experiments.measuring import costs, timing
from experiments.publish import Entry
from experiments.running import program
from experiments.scale import (
  cases,
  page,
  programs,
)
from experiments.scale.cases import Case
from rdefense import files, provenance
from rdefense.parallel import layout

__all__ = ['Figure', 'entries', 'measure']

_PAGE = flags.DEFINE_bool('page', False, 'Only prints docs/scale.md again.')

_MOST = programs.COUNTS[-1]


class Figure(NamedTuple):
  """One figure, and what it is held against."""

  value: float
  unit: str
  target: str = ''


def _growth(found) -> Iterator[tuple[str, Figure]]:
  """Of `programs.on_devices`."""
  for name, by_count in found.items():
    (first, _), *_ = by_count.values()
    for count, (works, sent) in by_count.items():
      key, limit = f'devices/{name}', 'within 0.01 of 1'
      if name != 'compaction':
        if count == 1:
          yield f'{key}/flops_1', Figure(first.flops, 'flops')
          yield f'{key}/bytes_1', Figure(first.bytes, 'bytes')
        else:
          for unit, now, then in zip(works._fields, works, first):
            ratio = now / then
            yield f'{key}/{unit}_{count}_over_1', Figure(ratio, 'times', limit)
      none = '' if name in ('training_update', 'compaction') else '0'
      yield f'{key}/collectives_{count}', Figure(sent.instructions, '', none)


def _network(case: Case, known: bool) -> Iterator[tuple[str, Figure]]:
  subjects = {case.defense: case.defended}
  if not known:
    params = programs.shapes(case.plain, 1).params
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    yield f'network/{case.name}/parameters', Figure(size, '')
    subjects = {'plain': case.plain} | subjects
  for word, subject in subjects.items():
    works = programs.of_network(subject, case.rows, case.batch_size)
    for name, found in works.items():
      for unit, value in found._asdict().items():
        key = f'network/{case.name}/{word}/{name}_{unit}'
        yield key, Figure(value, f'{unit} an image')


def _sent(case: Case) -> Iterator[tuple[str, Figure]]:
  """What one step of training sends, against the size of the parameters."""
  where = layout(jax.devices()[: costs.chips_for(case.batch_size, _MOST)])
  traced = programs.update(case.plain, case.batch_size, where)
  sent = costs.collectives(traced.lower().compile().as_text())
  params = programs.shapes(case.plain, 1).params
  size = sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params)
  )
  key = f'training/{case.name}'
  yield f'{key}/collectives', Figure(sent.instructions, '')
  yield f'{key}/collective_bytes', Figure(sent.bytes, 'bytes')
  yield f'{key}/bytes_over_parameters', Figure(sent.bytes / size, 'times')


def measure(chosen: Sequence[Case]) -> dict[str, Figure]:
  """All figures, by what follows `scaling/` in their keys.

  Args:
    chosen: of `cases.cases`; the first is compiled for several devices.

  Raises:
    RuntimeError: where devices exchange data in what an evaluation runs.
  """
  found = dict(_growth(programs.on_devices(chosen[0].defended)))
  for name in ('attack_step', 'attack_scan', 'judge'):
    sent = found[f'devices/{name}/collectives_{_MOST}'].value
    if sent:
      raise RuntimeError(f'{name} has {sent:.0f} collectives, and needs none.')
  for case in chosen:
    known = f'network/{case.name}/parameters' in found
    found |= dict(_network(case, known))
    if case.batch_size:
      found |= dict(_sent(case))
  for study, kind, attack, recipes in cases.recipes():
    found[f'gradients/{study}/{kind}/{attack}'] = Figure(
      costs.gradients(recipes), 'gradients an image'
    )
  return found


def entries(figures: Mapping[str, Figure]) -> dict[str, Entry]:
  """Figures with their surroundings, as docs/results.json holds them."""
  about = provenance.environment()
  return {
    f'scaling/{name}': Entry(
      figure.value, None, None, None, 'paper', program.command_line('scaling'),
      publish.commit_of(about), about['device'], about['date'], figure.unit,
      figure.target,
    )
    for name, figure in figures.items()
  }  # fmt: skip


def main(argv):
  """Measures, prints, publishes where asked to; or prints the page alone."""
  del argv
  quick = timing.quick_asked()
  path = publish.RESULTS.with_name('scale.md')
  if not _PAGE.value:
    chosen = list(cases.cases())
    figures = measure(chosen[:1] if quick else chosen)
    for name, figure in figures.items():
      print(f'{name:64}{figure.value:>20,.6g} {figure.unit}')
    if not publish.ASKED.value:
      return
    publish.publish(publish.RESULTS, entries(figures))
  text = page.page(files.read_json(publish.RESULTS))
  files.write_bytes(path, text.encode())
  print(path)


if __name__ == '__main__':
  # Of a GPU's programs XLA does not count what its libraries compute.
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', _MOST)
  program.run(main)

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

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import app, flags
import jax
import numpy as np
import optax

from configs import certified_mnist, cifar10, mnist
from configs.paper import figure_2, table_2a
from experiments import benchmark, costs, program, publish, scale_page, workload
from experiments.costs import Collectives, Work
from experiments.publish import Entry
from rdefense import build, deployed, files, provenance, training
from rdefense.attacks import Recipe, assemble, driver
from rdefense.defenses import Defense
from rdefense.gradients import through
from rdefense.models import Classifier
from rdefense.parallel import Layout, layout
from rdefense.precision import at
from rdefense.threats import ball

__all__ = [
  'Case', 'Subject', 'cases', 'entries', 'measure', 'of_network', 'on_devices',
]

_PAGE = flags.DEFINE_bool('page', False, 'Only prints docs/scale.md again.')

_COUNTS = (1, 2, 4, 8)  # of devices
_ROWS = 16  # images a device


class Subject(NamedTuple):
  """A network, what stands in front of it, and how it is attacked.

  Attributes:
    classifier: the network.
    defend: `(codes, alpha) -> Defense`.
    codes: shape `(k, C)` of the codebook, None without one.
    shape: of an image.
    recipe: of the attack, its first if there are several.
    tx: optimiser of its training; None if it is not trained here.
  """

  classifier: Classifier
  defend: Callable[..., Defense]
  codes: tuple[int, int] | None
  shape: tuple[int, int, int]
  recipe: Recipe
  tx: optax.GradientTransformation | None = None


class Case(NamedTuple):
  """A network of the papers, alone and defended.

  Attributes:
    name: as `workload.network` has it.
    plain, defended: its `Subject`s.
    defense: name of the defense.
    rows: images side by side.
    batch_size: of training, 0 if it is not trained here.
  """

  name: str
  plain: Subject
  defended: Subject
  defense: str
  rows: int
  batch_size: int = 0


def _subject(config, model, setting: str, kind: str, attack: str) -> Subject:
  data = workload.DATA[config.data.name]
  about = config.defenses[config.settings[setting].defense].to_dict()
  recipe, *_ = build.attack_recipes(
    config.attacks[attack].to_dict(), config.threat.eps, kind
  )
  codes = None
  if about['name'] in build.WITH_CODEBOOK:
    codes = config.codebook.num_codes, data.shape[-1]
  runs = list(config.runs.values())
  tx = build.optimizer(runs[0].to_dict()) if runs else None
  network = build.classifier(model, data.num_classes)
  return Subject(
    network, build.defend(about), codes, data.shape, recipe, tx
  )


def cases() -> Iterator[Case]:
  """The networks of both papers and of certified training, as configured."""

  def behind_codes(config, plain: str, attacks: Sequence[str], model=None):
    model = model or config.model.to_dict()
    defended, undefended = (
      _subject(config, model, name, kind, attack)
      for name, kind, attack in (
        ('disc_nat_pre', 'transformed', attacks[-1]),
        (plain, 'plain', attacks[0]),
      )
    )
    batch_size = next(iter(config.runs.values())).batch_size
    return Case(
      workload.network(model), undefended, defended,
      f'nearest_code_{config.codebook.num_codes}', config.batch_size,
      batch_size,
    )

  grey = mnist.get_config('paper')
  yield behind_codes(grey, 'nat_pre', ('pgd100', 'paper_a'))
  for size in ('small', 'medium', 'large'):
    model = certified_mnist.get_config('paper').model.to_dict()
    case = behind_codes(
      grey, 'nat_pre', ('pgd100', 'paper_a'), model | {'size': size}
    )
    yield case._replace(batch_size=0)
  for preset in ('small', 'paper'):
    config = cifar10.get_config(preset)
    yield behind_codes(config, 'nat_pre', ('pgd40', 'paper_a'))
  noisy = figure_2.get_config('paper')
  yield _behind_noise(noisy, noisy.model.to_dict())
  for model in table_2a.MODELS.values():
    config = table_2a.get_config('paper')
    yield _behind_noise(config, model)


def _behind_noise(config, model) -> Case:
  plain, defended = (
    _subject(config, model, setting, kind, 'paper_b')
    for setting, kind in (('base', 'plain'), ('randmix', 'randomized'))
  )
  rows = config.batch_size
  return Case(workload.network(model), plain, defended, 'rand_mix', rows)


class _Shapes(NamedTuple):
  """Arguments that are compiled for and never made."""

  params: Any
  codes: Any
  key: Any
  index: Any
  x: Any
  y: Any


def _shapes(subject: Subject, rows: int) -> _Shapes:
  def of(shape, dtype=np.float32):
    return jax.ShapeDtypeStruct(shape, dtype)

  key = jax.random.key(0)
  params = jax.eval_shape(subject.classifier.init, key, of(subject.shape))
  codes = None if subject.codes is None else of(subject.codes)
  return _Shapes(
    params, codes, key, of((rows,), np.int32), of((rows, *subject.shape)),
    of((rows,), np.int32),
  )


def _judge(subject: Subject, shapes: _Shapes, where: Layout):
  judge = deployed.judging(subject.classifier.apply, subject.defend, where)
  return judge.lower(
    shapes.key, shapes.index, shapes.x, shapes.y, shapes.params, shapes.codes
  ).compile()


def _update(subject: Subject, shapes: _Shapes, where: Layout):
  """One step of training; the codes are constants there, whatever they are."""
  rng = np.random.default_rng(0)
  codes = None if subject.codes is None else rng.random(subject.codes)
  defense, tx = subject.defend(codes, 1.0), subject.tx
  x = jax.ShapeDtypeStruct(subject.shape, np.float32)
  state = jax.eval_shape(
    lambda key, x: training.initial(
      subject.classifier, tx, key, defense.apply(key, x)
    ),
    jax.random.key(1), x,
  )
  update: Any = training.updater(subject.classifier, tx, defense, where=where)
  return update.lower(
    state, shapes.key, shapes.index, shapes.x, shapes.y
  ).compile()


def _gradient(subject: Subject, shapes: _Shapes):
  """Value and gradient of the recipe's loss, one draw on each image."""
  recipe = subject.recipe

  def gradients(params, codes, key, x, y):
    logits_fn = at(
      recipe.precision, lambda x: subject.classifier.apply(params, x)
    )
    oracle = through(
      logits_fn, subject.defend(codes, recipe.alpha), recipe.loss,
      recipe.backward, deployed_margin=recipe.keep == 'best',
    )
    keys = jax.random.split(key, len(y))
    return jax.vmap(lambda key, x, y: oracle.evaluate(key, x, y, 0))(keys, x, y)

  return jax.jit(gradients).lower(
    shapes.params, shapes.codes, shapes.key, shapes.x, shapes.y
  ).compile()


def on_devices(
  subject: Subject, counts: Sequence[int] = _COUNTS, rows: int = _ROWS
) -> dict[str, dict[int, tuple[Work, Collectives]]]:
  """Work of one device, and what devices send each other.

  Args:
    subject: deterministic, and with an optimiser.
    counts: of devices.
    rows: images a device.

  Returns:
    program -> number of devices -> work and collectives, of `attack_step` (a
    move and its evaluation), `attack_scan` (start, body and all, where it is
    one program), `judge`, `training_update` and `compaction`: what leaves rows
    out of a batch, on CPUs alone.
  """
  found: dict[str, dict[int, tuple[Work, Collectives]]] = {}
  for count in counts:
    where = layout(jax.devices()[:count])
    for name, compiled in _programs(subject, rows * count, where).items():
      works = costs.summed(costs.work(each) for each in compiled)
      text = '\n'.join(each.as_text() for each in compiled)
      found.setdefault(name, {})[count] = works, costs.collectives(text)
  return found


def _programs(subject: Subject, rows: int, where: Layout) -> dict[str, list]:
  def make_attack(operands):
    params, codes = operands
    return assemble(
      subject.recipe,
      lambda x: subject.classifier.apply(params, x),
      subject.defend(codes, subject.recipe.alpha),
      ball('linf', 0.1),
    )

  s = _shapes(subject, rows)
  operands, data = (s.params, s.codes), (s.index, s.x, s.y)
  pieces = driver.pieces(make_attack, where)
  state = jax.eval_shape(pieces.start, operands, s.key, *data)
  number = jax.ShapeDtypeStruct((), np.int32)
  stale = jax.ShapeDtypeStruct((rows,), bool)
  kept = jax.ShapeDtypeStruct((rows // 2,), np.int32)
  take, _ = driver.moves(where)
  return {
    'attack_step': [
      pieces.move.lower(
        operands, s.key, s.index, s.x, number, state
      ).compile(),
      pieces.evaluate.lower(
        operands, s.key, *data, stale, number, number, state
      ).compile(),
    ],
    'attack_scan': [pieces.scan.lower(2, 1, operands, s.key, *data).compile()],
    'judge': [_judge(subject, s, where)],
    'training_update': [_update(subject, s, where)],
    'compaction': [take.lower((data, state), kept).compile()],
  }


def of_network(
  subject: Subject, rows: int, batch_size: int = 0
) -> dict[str, Work]:
  """Work an image of one network, as a CPU's compiler arranges it.

  Args:
    subject: the network, and what stands in front of it.
    rows: images side by side.
    batch_size: of training; 0 leaves that out.

  Returns:
    `gradient` (one draw), `forward` (likewise) and, where asked for, `update`.
  """
  where = layout(jax.devices()[:1])
  shapes = _shapes(subject, rows)
  found = {
    'gradient': costs.scaled(costs.work(_gradient(subject, shapes)), 1 / rows),
    'forward': costs.scaled(
      costs.work(_judge(subject, shapes, where)), 1 / rows
    ),
  }
  if batch_size:
    compiled = _update(subject, _shapes(subject, batch_size), where)
    found['update'] = costs.scaled(costs.work(compiled), 1 / batch_size)
  return found


class Figure(NamedTuple):
  """One figure, and what it is held against."""

  value: float
  unit: str
  target: str = ''


def _growth(found) -> Iterator[tuple[str, Figure]]:
  """Of `on_devices`."""
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
    params = _shapes(case.plain, 1).params
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    yield f'network/{case.name}/parameters', Figure(size, '')
    subjects = {'plain': case.plain} | subjects
  for word, subject in subjects.items():
    works = of_network(subject, case.rows, case.batch_size)
    for name, found in works.items():
      for unit, value in found._asdict().items():
        key = f'network/{case.name}/{word}/{name}_{unit}'
        yield key, Figure(value, f'{unit} an image')


def _sent(case: Case) -> Iterator[tuple[str, Figure]]:
  """What one step of training sends, against the size of the parameters."""
  shapes = _shapes(case.plain, case.batch_size)
  where = layout(jax.devices()[: costs.chips_for(case.batch_size, 8)])
  sent = costs.collectives(_update(case.plain, shapes, where).as_text())
  size = sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes.params)
  )
  key = f'training/{case.name}'
  yield f'{key}/collectives', Figure(sent.instructions, '')
  yield f'{key}/collective_bytes', Figure(sent.bytes, 'bytes')
  yield f'{key}/bytes_over_parameters', Figure(sent.bytes / size, 'times')


def measure(chosen: Sequence[Case]) -> dict[str, Figure]:
  """All figures, by what follows `scaling/` in their keys.

  Args:
    chosen: of `cases`; the first is compiled for several devices.

  Raises:
    RuntimeError: where devices exchange data in what an evaluation runs.
  """
  found = dict(_growth(on_devices(chosen[0].defended)))
  for name in ('attack_step', 'attack_scan', 'judge'):
    sent = found[f'devices/{name}/collectives_{_COUNTS[-1]}'].value
    if sent:
      raise RuntimeError(f'{name} has {sent:.0f} collectives, and needs none.')
  for case in chosen:
    known = f'network/{case.name}/parameters' in found
    found |= dict(_network(case, known))
    if case.batch_size:
      found |= dict(_sent(case))
  for study, kind, attack, recipes in scale_page.recipes():
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
  if len(argv) > 1:
    raise app.UsageError(f'expected no arguments, got {argv[1:]}.')
  if benchmark.quick() and publish.ASKED.value:
    raise app.UsageError('--quick measures nothing worth a --publish.')
  path = publish.RESULTS.with_name('scale.md')
  if not _PAGE.value:
    chosen = list(cases())
    figures = measure(chosen[:1] if benchmark.quick() else chosen)
    for name, figure in figures.items():
      print(f'{name:64}{figure.value:>20,.6g} {figure.unit}')
    if not publish.ASKED.value:
      return
    publish.publish(publish.RESULTS, entries(figures))
  text = scale_page.page(files.read_json(publish.RESULTS))
  files.write_bytes(path, text.encode())
  print(path)


if __name__ == '__main__':
  jax.config.update('jax_num_cpu_devices', _COUNTS[-1])
  program.run(main)

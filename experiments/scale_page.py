"""docs/scale.md: what the papers' experiments cost, with the arithmetic.

Measured figures come from docs/results.json, counts from the configs, peaks and
prices from `configs/devices.py`; nothing is typed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs import devices
from configs.devices import CHIPS, MACHINES, PRICES, SHARES
from configs.paper import catalogue
from experiments import benchmark, conditions, costs, workload
from experiments.costs import Work
from experiments.workload import PARTS, Part
from rdefense import build, document

__all__ = ['STUDIES', 'needed', 'page', 'recipes', 'seconds']

_IMAGENET = 50_000  # images of its validation set
_TABLES = tuple(catalogue.TABLE_OF)
# What is priced: title -> parts.
STUDIES = {
  f'A, Tables I to III: {dataset}': [(table, dataset) for table in _TABLES]
  for dataset in ('mnist', 'fashion_mnist', 'cifar10', 'gtsrb', 'nips17')
} | {
  'B, Figure 2: mnist': [('b_figure2', '')],
  'B, Table 2(a): nips17': [('b_table2a', '')],
}
# What the gradients of attacks are told of.
_RECIPES = (
  'mnist', 'fashion_mnist', 'cifar10', 'gtsrb', 'imagenet', 'paper/figure_2',
  'paper/table_2a', 'paper/table_2b',
)
_HOUR = 3600.0


def recipes() -> Iterator[tuple[str, str, str, tuple]]:
  """Study, kind of setting, attack and its recipes, at preset `paper`.

  Radii change step sizes, not counts: the largest of each attack stands for
  all.
  """
  for name in _RECIPES:
    config = workload.load(f'{name}.py:paper')
    for kind in ('plain', 'transformed', 'randomized'):
      kinds = {build.kind(defense) for defense in config.defenses.values()}
      if kind not in kinds:
        continue
      found = {
        condition.name.rpartition('/')[2]: condition.recipes
        for condition in conditions.conditions(config, kind)
        if condition.recipes
      }
      for attack, chosen in found.items():
        yield name.rpartition('/')[2], kind, attack, chosen


def needed(part: Part, results: Mapping[str, Any]) -> Work:
  """The work of a part, from the measured work of one image.

  A defended network is that behind the defense it was measured with: codes, or
  RandMix where that is the only one.
  """
  names = ['plain']
  if part.defended:
    start = f'scaling/network/{part.network}/'
    names = sorted(
      {
        key.removeprefix(start).split('/')[0]
        for key in results
        if key.startswith(start)
      }
      - {'plain', 'parameters'}
    )
  key = f'scaling/network/{part.network}/{names[0]}/{part.program}'
  flops, moved = (
    results[f'{key}_{unit}']['value'] for unit in Work._fields
  )
  return costs.scaled(Work(flops, moved), part.num_images)


def page(results: Mapping[str, Any]) -> str:
  """Prints docs/scale.md.

  Args:
    results: as docs/results.json holds them, of `experiments.scaling` and of
      `experiments.benchmark`.

  Raises:
    ValueError: where a figure is missing.
  """
  try:
    return document.markdown(list(_blocks(results)))
  except KeyError as error:
    raise ValueError(
      f'docs/results.json holds no {error}: run experiments.scaling, or '
      'experiments.benchmark, with --publish first.'
    ) from error


def _blocks(results) -> Iterator[tuple]:
  studies = {
    title: workload.study(pairs) for title, pairs in STUDIES.items()
  } | {
    f'ImageNet, {_IMAGENET:,} images, RandMix: {network}':
      workload.imagenet(preset, _IMAGENET)
    for preset, network in (
      ('small', 'MobileNetV2'), ('paper', 'Inception-ResNet-v2')
    )
  }
  yield ('heading', 1, 'What it costs at scale')
  yield (
    'paragraph',
    'Printed by `python -m experiments.scaling`; do not edit. Operations, '
    'bytes and collectives are those of compiled programs by the account of '
    'XLA, which counts the body of a loop once; counts are those of the '
    'configs at preset `paper`. No program was run for this page, and what '
    'accelerators take is an estimate: peaks are published ones, shares of '
    'them and prices are **assumptions**, all in `configs/devices.py`.',
  )
  yield from _devices(results)
  yield from _training(results)
  yield from _gradients()
  yield from _networks(results)
  yield from _here(results)
  yield from _assumptions(results)
  yield from _prices(results, studies)
  yield from _example(results, studies)
  yield from _reduced(results, studies)


def _value(results, key: str) -> float:
  return results[f'scaling/{key}']['value']


def _devices(results) -> Iterator[tuple]:
  yield ('heading', 2, 'Work a device, 1 to 8 devices')
  rows = []
  for name in ('attack_step', 'attack_scan', 'judge', 'training_update'):
    key = f'devices/{name}'
    rows.append(
      (
        f'`{name}`',
        f'{_value(results, f"{key}/flops_1") / 1e6:,.1f}',
        f'{_value(results, f"{key}/bytes_1") / 1e6:,.1f}',
        *(
          ' / '.join(
            f'{_value(results, f"{key}/{unit}_{n}_over_1"):.4f}'
            for unit in Work._fields
          )
          for n in (2, 4, 8)
        ),
        f'{_value(results, f"{key}/collectives_8"):.0f}',
      )
    )
  header = (
    'program', 'Mflop, 1 device', 'MB, 1 device',
    *(f'{n} over 1: flops / bytes' for n in (2, 4, 8)), 'collectives',
  )
  yield ('table', header, rows)
  moved = _value(results, 'devices/compaction/collectives_8')
  yield (
    'paragraph',
    "Paper A's MNIST network behind two codes, 16 images a device. An attack "
    'and its judging hold no collective, so an evaluation scales with its '
    'examples: twice the devices take twice the examples in the same time. On '
    'CPUs alone, where the host drives the steps, examples that are done are '
    'left out of the batch, and that exchanges rows between devices '
    f'({moved:.0f} collectives); elsewhere all steps are one program.',
  )


def _training(results) -> Iterator[tuple]:
  rows = [
    (
      f'`{name}`',
      f'{_value(results, f"training/{name}/collectives"):.0f}',
      f'{_value(results, f"training/{name}/collective_bytes") / 1e6:,.2f}',
      f'{_value(results, f"training/{name}/bytes_over_parameters"):.3f}',
    )
    for name in _names(results, 'training')
  ]
  yield ('heading', 2, 'What a step of training sends')
  yield ('table', ('network', 'collectives', 'MB', 'over parameters'), rows)
  yield (
    'paragraph',
    'The gradients are added up over devices once a step; a network with '
    'running statistics adds up those of the batch as well.',
  )


def _names(results, of: str) -> list[str]:
  """What `scaling/<of>/` has keys of."""
  keys = [k.split('/') for k in results if k.startswith(f'scaling/{of}/')]
  return list(dict.fromkeys(parts[2] for parts in keys))


def _gradients() -> Iterator[tuple]:
  yield ('heading', 2, 'Gradients an example')
  rows = []
  for study, kind, attack, chosen in recipes():
    shapes = {
      f'{r.num_steps} × {max(1, r.num_draws)} × {r.num_restarts}'
      for r in chosen
    }
    ensemble = f'{len(chosen)} recipes of ' if len(chosen) > 1 else ''
    rows.append(
      (
        f'`{study}`', kind, f'`{attack}`',
        ensemble + ', '.join(sorted(shapes)),
        f'{costs.gradients(chosen):,}', f'{costs.evaluations(chosen):,}',
      )
    )
  header = (
    'study', 'setting', 'attack', 'steps × draws × restarts', 'nominal',
    'with starts',
  )
  yield ('table', header, rows)
  yield (
    'paragraph',
    'The most there can be: an example that is fooled takes no more steps of a '
    'deterministic attack, and no more recipes.',
  )


def _networks(results) -> Iterator[tuple]:
  yield ('heading', 2, 'Work an image')
  rows = []
  for name in _names(results, 'network'):
    start = f'scaling/network/{name}/'
    keys = [
      key.removeprefix(start).split('/') for key in results
      if key.startswith(start)
    ]
    size = _value(results, f'network/{name}/parameters')
    words = sorted(
      {k[0] for k in keys} - {'parameters'}, key=lambda w: (w != 'plain', w)
    )
    for word in words:
      cells = []
      for what in ('gradient', 'forward', 'update'):
        if [word, f'{what}_flops'] not in keys:
          cells.append('–')
          continue
        flops, moved = (
          _value(results, f'network/{name}/{word}/{what}_{unit}')
          for unit in Work._fields
        )
        cells.append(f'{_short(flops)} / {_short(moved)}')
      rows.append((f'`{name}`', f'{size:,.0f}', f'`{word}`', *cells))
  header = (
    'network', 'parameters', 'in front', 'gradient: flop / B',
    'forward: flop / B', 'training step: flop / B',
  )
  yield ('table', header, rows)
  yield (
    'paragraph',
    'Gradient: value, and derivative with respect to the image, of one draw; '
    'forward: one judged draw. Bytes are those of programs as a CPU fuses '
    'them, at the batch sizes of the configs; another compiler keeps more on '
    'chip, so they overstate what an accelerator moves.',
  )


def _short(value: float) -> str:
  """With three digits and a prefix.

  >>> _short(24.13e9), _short(75770)
  ('24.1 G', '75.8 k')
  """
  for power, prefix in zip(range(18, 0, -3), 'EPTGMk'):
    if value >= 10**power:
      return f'{value / 10**power:.3g} {prefix}'
  return f'{value:.3g} '


def _share(results) -> float:
  """Of a matrix product, what an attack on the MNIST network reached here."""
  rate = results['benchmark/cpu_image_steps_per_second']['value']
  matmul = results['benchmark/matmul_gflops']['value'] * 1e9
  return rate * 2 * benchmark.network_flops() / matmul


def _here(results) -> Iterator[tuple]:
  rate = results['benchmark/cpu_image_steps_per_second']
  matmul = results['benchmark/matmul_gflops']
  gradient = results['benchmark/gradient_over_matmul']['value']
  flops = 2 * benchmark.network_flops()
  yield ('heading', 2, 'What was measured')
  yield (
    'paragraph',
    f'On {rate["device"]} ({rate["date"][:10]}) an attack on the MNIST network '
    f'takes {rate["value"]:,.0f} image-steps a second; a step is '
    f'{_short(flops)}flop, so that is {rate["value"] * flops / 1e9:,.1f} '
    f'Gflop/s, {_share(results):.0%} of the {matmul["value"]:,.1f} Gflop/s of '
    f'a large matrix product there. Gradients alone, measured beside the '
    f'product, reach {gradient:.0%}. No accelerator has been measured.',
  )


def _assumptions(results) -> Iterator[tuple]:
  yield ('heading', 2, 'Chips and prices')
  rows = [
    (
      name,
      f'{chip.bfloat16 / 1e12:,.0f}',
      ' / '.join(f'{peak / 1e12:,.1f}' for peak in chip.peak.values()),
      f'{chip.bandwidth / 1e9:,.0f}', f'${PRICES[name]:.2f}', chip.source,
    )
    for name, chip in CHIPS.items()
  ]
  header = (
    'chip', 'bfloat16 Tflop/s',
    'float32 Tflop/s at highest / high / default', 'GB/s',
    f'price an hour ({devices.PRICES_OF})', 'peaks from',
  )
  yield ('table', header, rows)
  low, high = (f'{share:.0%}' for share in SHARES)
  yield (
    'paragraph',
    f'**Assumptions**: the prices; that programs reach {low} to {high} of a '
    "chip's peak and of its bandwidth (the attack on a CPU above reached "
    f'{_share(results):.0%} of a matrix product); that attacks and training '
    'run at `default` precision and judging at `highest`; that each chip has '
    'as many images side by side as the batches of the configs.',
  )


def _work(parts: Sequence[Part], results) -> Work:
  return costs.summed(needed(part, results) for part in parts)


def seconds(parts: Sequence[Part], results, machine: str, share: float):
  """Wall time of some parts, one after another, and chip-hours paid for."""
  name, count = MACHINES[machine]
  chip, wall, paid = CHIPS[name], 0.0, 0.0
  for part in parts:
    used = costs.chips_for(part.batch_size, count) if part.batch_size else count
    precision = 'highest' if part.part == 'judging' else 'default'
    found = needed(part, results)
    taken = costs.seconds(found, chip, used, share, precision)
    taken += _sending(part, results, machine)
    wall += taken
    paid += taken * used
  return wall, paid / _HOUR


def _sending(part: Part, results, machine: str) -> float:
  """Seconds of the collectives of training, if nothing hides them."""
  if not part.batch_size:
    return 0.0
  name, count = MACHINES[machine]
  used = costs.chips_for(part.batch_size, count)
  size = _value(results, f'training/{part.network}/collective_bytes')
  sent = costs.ring_bytes(size, used) * part.num_images / part.batch_size
  return sent / CHIPS[name].link


def _prices(results, studies) -> Iterator[tuple]:
  yield ('heading', 2, 'Time and price')
  slow, fast = SHARES
  rows = []
  for title, every in studies.items():
    for name in PARTS:
      parts = [part for part in every if part.part == name]
      if parts:
        rows.append(_row(title, name, parts, results))
    rows.append(_row(title, '**all**', every, results))
  header = (
    'experiment', 'part', 'flop', 'bytes',
    *(f'{machine}: hours, price' for machine in MACHINES),
  )
  yield ('table', header, rows)
  yield (
    'paragraph',
    f'From {fast:.0%} to {slow:.0%} of the peaks. Models are trained one after '
    'another, each on as many chips as its batch splits over, and only those '
    'are paid for; attacks split over all. A part takes as long as its '
    'operations or its bytes, whichever takes longer. Compiling, launching '
    'programs, waiting for data and chips that idle in between are not '
    'counted: on small networks such as that of MNIST they will take longer '
    'than all of this.',
  )


def _row(title: str, name: str, parts: list[Part], results) -> tuple:
  found = _work(parts, results)
  cells = []
  for machine, (chip, _) in MACHINES.items():
    ends = [seconds(parts, results, machine, s) for s in reversed(SHARES)]
    hours = '–'.join(_digits(wall / _HOUR) for wall, _ in ends)
    price = '–'.join(_digits(paid * PRICES[chip]) for _, paid in ends)
    cells.append(f'{hours} h, ${price}')
  return (title, name, _short(found.flops), _short(found.bytes), *cells)


def _digits(value: float) -> str:
  """Two digits, or all before the point.

  >>> _digits(0.01234), _digits(3.456), _digits(1234.5)
  ('0.012', '3.5', '1,234')
  """
  return f'{value:,.0f}' if value >= 10 else f'{value:.2g}'


def _example(results, studies) -> Iterator[tuple]:
  """One row of the table, step by step."""
  title = list(studies)[-1]
  (part,) = (p for p in studies[title] if p.program == 'gradient')
  one = needed(part._replace(num_images=1), results)
  every = needed(part, results)
  share = SHARES[0]
  lines = [
    f'{title}, {part.part}:',
    f'  gradients       {part.num_images:,} = {_IMAGENET:,} images x '
    f'{part.num_images // _IMAGENET:,} (with starts, see above)',
    f'  flop            {part.num_images:,} x {_short(one.flops)}flop = '
    f'{_short(every.flops)}flop',
    f'  bytes           {part.num_images:,} x {_short(one.bytes)}B = '
    f'{_short(every.bytes)}B',
  ]
  for machine, (name, count) in MACHINES.items():
    chip = CHIPS[name]
    peak = chip.peak['default']
    taken = costs.seconds(every, chip, count, share, 'default')
    compute, moved = every.flops / peak, every.bytes / chip.bandwidth
    lines += [
      f'{machine}:',
      f'  by operations   {_short(every.flops)}flop / ({share} x {count} x '
      f'{_short(peak)}flop/s) = {compute / share / count / _HOUR:,.2f} h',
      f'  by bytes        {_short(every.bytes)}B / ({share} x {count} x '
      f'{_short(chip.bandwidth)}B/s) = {moved / share / count / _HOUR:,.2f} h',
      f'  the longer one  {taken / _HOUR:,.2f} h x {count} x '
      f'${PRICES[name]:.2f} = ${taken / _HOUR * count * PRICES[name]:,.2f}',
    ]
  yield ('heading', 2, 'The arithmetic of one row')
  yield ('code', '\n'.join(lines), '')


def _reduced(results, studies) -> Iterator[tuple]:
  """What training sends, beside what it computes."""
  yield ('heading', 2, 'The all-reduce of training')
  rows = []
  seen = set()
  for parts in studies.values():
    for part in parts:
      if not part.batch_size or (part.network, part.batch_size) in seen:
        continue
      seen.add((part.network, part.batch_size))
      step = part._replace(num_images=part.batch_size)
      work = needed(step, results)
      for machine, (name, count) in MACHINES.items():
        used = costs.chips_for(part.batch_size, count)
        if used > 1:
          computed = costs.seconds(
            work, CHIPS[name], used, SHARES[1], 'default'
          )
          sent = _sending(step, results, machine)
          rows.append(
            (
              f'`{part.network}`, batch {part.batch_size}', machine, str(used),
              f'{1e3 * computed:.3g} ms', f'{1e3 * sent:.3g} ms',
            )
          )
  header = (
    'network', 'machine', 'chips used', 'a step computes', 'and sends'
  )
  yield ('table', header, rows)
  yield (
    'paragraph',
    f'Computing at {SHARES[1]:.0%} of the peaks. A ring of n chips sends '
    '2 (n - 1) / n times the bytes of the gradients from each; nothing of it '
    'is assumed to hide behind the computation. Where a batch leaves few '
    'images a chip, sending takes longer than computing: train several models '
    'side by side there, or with larger batches. Every chip also reads and '
    'writes all parameters in a step, which is shared out among them here. An '
    'adversarial step computes a gradient of each image more for each step of '
    'its attack, and sends no more.',
  )

"""Time and price of the papers' experiments, as docs/scale.md shows them.

Work comes from docs/results.json and counts from the configs; peaks, prices and
the shares of the peaks that are reached are those of `configs/devices.py`.
"""

from collections.abc import Iterator, Sequence

from configs import devices
from configs.devices import CHIPS, MACHINES, PRICES, SHARES
from configs.paper import catalogue
from experiments.measuring import costs
from experiments.measuring.costs import Work
from experiments.scale import workload
from experiments.scale.figures import Results, needed, reached, short, value
from experiments.scale.workload import PARTS, Part

__all__ = ['blocks', 'seconds']

_IMAGENET = 50_000  # images of its validation set
_TABLES = tuple(catalogue.TABLE_OF)
_HOUR = 3600.0
_STUDIES = {
  f'A, Tables I to III: {dataset}': [(table, dataset) for table in _TABLES]
  for dataset in ('mnist', 'fashion_mnist', 'cifar10', 'gtsrb', 'nips17')
} | {
  'B, Figure 2: mnist': [('b_figure2', '')],
  'B, Table 2(a): nips17': [('b_table2a', '')],
}


def _studies() -> dict[str, list[Part]]:
  """What is priced: title -> its parts."""
  return {title: workload.study(pairs) for title, pairs in _STUDIES.items()} | {
    f'ImageNet, {_IMAGENET:,} images, RandMix: {network}': workload.imagenet(
      preset, _IMAGENET
    )
    for preset, network in (
      ('small', 'MobileNetV2'),
      ('paper', 'Inception-ResNet-v2'),
    )
  }


def blocks(results: Results) -> Iterator[tuple]:
  """Blocks of `rdefense.document`, from the chips to what training sends."""
  priced = _studies()
  yield from _assumptions(results)
  yield from _prices(results, priced)
  yield from _example(results, priced)
  yield from _reduced(results, priced)


def _assumptions(results) -> Iterator[tuple]:
  yield ('heading', 2, 'Chips and prices')
  rows = [
    (
      name,
      f'{chip.bfloat16 / 1e12:,.0f}',
      ' / '.join(f'{peak / 1e12:,.1f}' for peak in chip.peak.values()),
      f'{chip.bandwidth / 1e9:,.0f}',
      f'${PRICES[name]:.2f}',
      chip.source,
    )
    for name, chip in CHIPS.items()
  ]
  header = (
    'chip',
    'bfloat16 Tflop/s',
    'float32 Tflop/s at highest / high / default',
    'GB/s',
    f'price an hour ({devices.PRICES_OF})',
    'peaks from',
  )
  yield ('table', header, rows)
  low, high = (f'{share:.0%}' for share in SHARES)
  yield (
    'paragraph',
    f'**Assumptions**: the prices; that programs reach {low} to {high} of a '
    "chip's peak and of its bandwidth (the attack on a CPU above reached "
    f'{reached(results):.0%} of a matrix product); that attacks and training '
    'run at `default` precision and judging at `highest`; that each chip has '
    'as many images side by side as the batches of the configs.',
  )


def _work(parts: Sequence[Part], results) -> Work:
  return costs.summed(needed(part, results) for part in parts)


def seconds(
  parts: Sequence[Part], results: Results, machine: str, share: float
) -> tuple[float, float]:
  """Wall time of some parts, one after another, and chip-hours paid for."""
  name, count = MACHINES[machine]
  chip, wall, paid = CHIPS[name], 0.0, 0.0
  for part in parts:
    used = costs.chips_for(part.batch_size, count) if part.batch_size else count
    found = needed(part, results)
    taken = costs.seconds(found, chip, used, share, part.precision)
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
  size = value(results, f'training/{part.network}/collective_bytes')
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
    'experiment',
    'part',
    'flop',
    'bytes',
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
  return (title, name, short(found.flops), short(found.bytes), *cells)


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
    f'  flop            {part.num_images:,} x {short(one.flops)}flop = '
    f'{short(every.flops)}flop',
    f'  bytes           {part.num_images:,} x {short(one.bytes)}B = '
    f'{short(every.bytes)}B',
  ]
  for machine, (name, count) in MACHINES.items():
    chip = CHIPS[name]
    peak = chip.peak[part.precision]
    taken = costs.seconds(every, chip, count, share, part.precision)
    compute, moved = every.flops / peak, every.bytes / chip.bandwidth
    lines += [
      f'{machine}:',
      f'  by operations   {short(every.flops)}flop / ({share} x {count} x '
      f'{short(peak)}flop/s) = {compute / share / count / _HOUR:,.2f} h',
      f'  by bytes        {short(every.bytes)}B / ({share} x {count} x '
      f'{short(chip.bandwidth)}B/s) = {moved / share / count / _HOUR:,.2f} h',
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
            work, CHIPS[name], used, SHARES[1], part.precision
          )
          sent = _sending(step, results, machine)
          rows.append(
            (
              f'`{part.network}`, batch {part.batch_size}',
              machine,
              str(used),
              f'{1e3 * computed:.3g} ms',
              f'{1e3 * sent:.3g} ms',
            )
          )
  header = ('network', 'machine', 'chips used', 'a step computes', 'and sends')
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

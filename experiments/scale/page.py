"""docs/scale.md: what the papers' experiments cost, with the arithmetic.

Measured figures come from docs/results.json, counts from the configs, peaks and
prices from `configs/devices.py`; nothing is typed here.
"""

from collections.abc import Iterator

from experiments.measuring import costs
from experiments.measuring.costs import Work
from experiments.scale import cases, prices
from experiments.scale.figures import Results, names_of, reached, short, value
from rdefense import document

__all__ = ['page']


def page(results: Results) -> str:
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
  yield ('heading', 1, 'What it costs at scale')
  yield (
    'paragraph',
    'Printed by `python -m experiments.scaling`; do not edit. Operations, '
    'bytes and collectives are those of compiled programs by the account of '
    'XLA, and what a loop does counts as often as it runs (but for the rounds '
    'in which a CPU makes random numbers: one of five counts); counts of '
    'steps, draws and images are those of the configs at preset `paper`. No '
    'program was run for this page, and what accelerators take is an '
    'estimate: peaks are published ones, shares of them and prices are '
    '**assumptions**, all in `configs/devices.py`.',
  )
  yield from _devices(results)
  yield from _training(results)
  yield from _gradients()
  yield from _networks(results)
  yield from _here(results)
  yield from prices.blocks(results)


def _devices(results) -> Iterator[tuple]:
  yield ('heading', 2, 'Work a device, 1 to 8 devices')
  rows = []
  for name in ('attack_step', 'attack_scan', 'judge', 'training_update'):
    key = f'devices/{name}'
    rows.append(
      (
        f'`{name}`',
        f'{value(results, f"{key}/flops_1") / 1e6:,.1f}',
        f'{value(results, f"{key}/bytes_1") / 1e6:,.1f}',
        *(
          ' / '.join(
            f'{value(results, f"{key}/{unit}_{n}_over_1"):.4f}'
            for unit in Work._fields
          )
          for n in (2, 4, 8)
        ),
        f'{value(results, f"{key}/collectives_8"):.0f}',
      )
    )
  header = (
    'program',
    'Mflop, 1 device',
    'MB, 1 device',
    *(f'{n} over 1: flops / bytes' for n in (2, 4, 8)),
    'collectives',
  )
  yield ('table', header, rows)
  moved = value(results, 'devices/compaction/collectives_8')
  yield (
    'paragraph',
    "Paper A's MNIST network behind two codes, 16 images a device. "
    '`attack_scan` is all steps as one program; here alone its loop counts '
    'once, so that it stands for the start and one step. An attack '
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
      f'{value(results, f"training/{name}/collectives"):.0f}',
      f'{value(results, f"training/{name}/collective_bytes") / 1e6:,.2f}',
      f'{value(results, f"training/{name}/bytes_over_parameters"):.3f}',
    )
    for name in names_of(results, 'training')
  ]
  yield ('heading', 2, 'What a step of training sends')
  yield ('table', ('network', 'collectives', 'MB', 'over parameters'), rows)
  yield (
    'paragraph',
    'The gradients are added up over devices once a step; a network with '
    'running statistics adds up those of the batch as well.',
  )


def _gradients() -> Iterator[tuple]:
  yield ('heading', 2, 'Gradients an example')
  rows = []
  for study, kind, attack, chosen in cases.recipes():
    shapes = {
      f'{r.num_steps} × {max(1, r.num_draws)} × {r.num_restarts}'
      for r in chosen
    }
    ensemble = f'{len(chosen)} recipes of ' if len(chosen) > 1 else ''
    rows.append(
      (
        f'`{study}`',
        kind,
        f'`{attack}`',
        ensemble + ', '.join(sorted(shapes)),
        f'{costs.gradients(chosen):,}',
        f'{costs.evaluations(chosen):,}',
      )
    )
  header = (
    'study',
    'setting',
    'attack',
    'steps × draws × restarts',
    'nominal',
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
  for name in names_of(results, 'network'):
    start = f'scaling/network/{name}/'
    keys = [
      key.removeprefix(start).split('/')
      for key in results
      if key.startswith(start)
    ]
    size = value(results, f'network/{name}/parameters')
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
          value(results, f'network/{name}/{word}/{what}_{unit}')
          for unit in Work._fields
        )
        cells.append(f'{short(flops)} / {short(moved)}')
      rows.append((f'`{name}`', f'{size:,.0f}', f'`{word}`', *cells))
  header = (
    'network',
    'parameters',
    'in front',
    'gradient: flop / B',
    'forward: flop / B',
    'training step: flop / B',
  )
  yield ('table', header, rows)
  yield (
    'paragraph',
    'Gradient: value, and derivative with respect to the image, of one draw; '
    'forward: one judged draw. Bytes are those of programs as a CPU fuses '
    'them, at the batch sizes of the configs; another compiler keeps more on '
    'chip, so they overstate what an accelerator moves.',
  )


def _here(results) -> Iterator[tuple]:
  rate = results['benchmark/cpu_image_steps_per_second']
  matmul = results['benchmark/matmul_gflops']
  gradient = results['benchmark/gradient_over_matmul']['value']
  flops = 2 * costs.mnist_cnn_flops()
  yield ('heading', 2, 'What was measured')
  yield (
    'paragraph',
    f'On {rate["device"]} ({rate["date"][:10]}) an attack on the MNIST network '
    f'takes {rate["value"]:,.0f} image-steps a second; a step is '
    f'{short(flops)}flop, so that is {rate["value"] * flops / 1e9:,.1f} '
    f'Gflop/s, {reached(results):.0%} of the {matmul["value"]:,.1f} Gflop/s of '
    f'a large matrix product there. Gradients alone, measured beside the '
    f'product, reach {gradient:.0%}. `python -m experiments.utilization` '
    'measures larger networks as well, on any device.',
  )

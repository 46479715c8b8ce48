"""The report of an audit: a line a check, and accuracy under each case."""

from collections.abc import Mapping
from typing import Any

from etils.epath import Path

from rdefense import caveats, counting, document, pages, plots
from rdefense.analysis.audit import FAIL, PASS, VERDICTS, WARN

__all__ = ['write_report']

_SIGNS = {PASS: '✓ pass', WARN: '! warn', FAIL: '✗ fail'}
_CASES = {
  'clean': 'no attack',
  'attack': 'the attack itself',
  'half': 'the attack at half the radius',
  'everything': 'the attack in the ball of all images',
  'step': 'one steepest step on the cross-entropy from the image',
  'noise': 'the worst of many random points of the ball',
  'square': 'Square attack, which takes no gradients',
  'longer': 'the attack with twice the steps',
  'starts': 'the attack from five new random starts',
  'sizes': 'the attack with steps of a quarter, and of four times the length',
  'transfer': 'the attack on the network without its defense',
}


def write_report(workdir: Path, stem: str, results: Mapping[str, Any]) -> Path:
  """Checks, then what stands under each case, and the curve over radii."""
  setting, attack = results['setting'], results['attack']
  unit = results['config']['threat']['unit']
  title = f'Audit of {attack} on {setting}'
  radii = results['radii']
  accuracy = {
    name: counting.tally_of(found)
    for name, found in results['accuracy'].items()
  }
  points = [
    (radii[name], accuracy[name])
    for name in ('clean', 'half', 'attack', 'everything')
    if name in accuracy
  ]
  png = plots.encode_png(
    plots.accuracy_curves({attack: points}, f'{setting} under {attack}', unit)
  )
  blocks: list[tuple] = [
    ('heading', 1, title),
    ('paragraph', _lead(results)),
    ('table', ('', 'what must hold', 'measured', 'allowed', 'if not'), [
      (
        _SIGNS[check['verdict']], check['item'], check['measured'],
        check['allowed'], check['advice'] * (check['verdict'] != PASS) or '–',
      )
      for check in results['checks']
    ]),
    ('heading', 2, 'What stands under each'),
    ('table', ('case', 'radius', 'right, in percent'), [
      (
        _CASES[name], f'{unit * radii[name]:g}',
        document.Compared(found.percent, found.low, found.high),
      )
      for name, found in accuracy.items()
    ]),
    ('figure', stem, png,
     'Accuracy against the radius of the attack, with exact 95% intervals.'),
    *pages.how_it_was_made(results),
  ]  # fmt: skip
  return pages.write_document(workdir, stem, title, blocks, {stem: png})


def _lead(results) -> str:
  verdicts = [check['verdict'] for check in results['checks']]
  counts = ', '.join(
    f'{verdicts.count(verdict)} {word}'
    for verdict, word in zip(VERDICTS, ('passed', 'warned', 'failed'))
  )
  total = results['accuracy']['attack']['total']
  unit = results['config']['threat']['unit']
  return (
    f'Of {len(verdicts)} checks of the attack on {total:,} '
    f'{caveats.images(results)} at radius {unit * results["eps"]:g}: {counts}. '
    'They are about the attack: one that fails says that accuracy under it is '
    'no measure of robustness, and if all pass another attack may still do '
    'more.'
  )

"""Results as `experiments.scaling` and `benchmark` publish them, made up."""

from experiments.scale import cases


def fake_results():
  """A Gflop and a MB for everything, but for what tells parts apart."""
  results = {}
  for case in cases.cases():
    start = f'network/{case.name}'
    results[f'{start}/parameters'] = 1e6
    for word in ('plain', case.defense):
      for program in ('gradient', 'forward', 'update'):
        results[f'{start}/{word}/{program}_flops'] = 1e9
        results[f'{start}/{word}/{program}_bytes'] = 1e6
    for name in ('collectives', 'collective_bytes', 'bytes_over_parameters'):
      results[f'training/{case.name}/{name}'] = 1.0
  for name in ('attack_step', 'attack_scan', 'judge', 'training_update'):
    for unit in ('flops', 'bytes'):
      results[f'devices/{name}/{unit}_1'] = 1e6
      for count in (2, 4, 8):
        results[f'devices/{name}/{unit}_{count}_over_1'] = 1.0
    results[f'devices/{name}/collectives_8'] = 0.0
  results['devices/compaction/collectives_8'] = 12.0
  about = {'device': 'cpu', 'date': '2026-01-01'}
  return {f'scaling/{k}': {'value': v} for k, v in results.items()} | {
    'benchmark/cpu_image_steps_per_second': {'value': 1000.0} | about,
    'benchmark/matmul_gflops': {'value': 100.0} | about,
    'benchmark/gradient_over_matmul': {'value': 0.6},
  }

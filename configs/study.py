"""What the configs of paper A's six settings have in common: plain data.

`six_settings` is the skeleton; `configs/digits.py`, `configs/mnist.py` and
`configs/fashion_mnist.py` fill in a dataset. Every config takes an argument of
comma-separated words: a preset (`small`, `paper` or `smoke`) and, where it
says so, a codebook.
"""

import ml_collections

# setting: (model in front of which, is the discretization deployed, what it is)
SETTINGS = {
  'nat_pre': ('nat', False, 'natural training, no defense'),
  'adv_pre': ('adv', False, 'adversarial training, no defense'),
  'disc_nat_pre': ('nat', True, 'natural model behind T, unchanged'),
  'disc_adv_pre': ('adv', True, 'adversarial model behind T, unchanged'),
  'disc_nat_re': ('nat_re', True, 'natural model re-trained on T(x)'),
  'disc_adv_re': ('adv_re', True, 'adversarial model re-trained on T(x)'),
}

CODEBOOKS = {
  'density': {'name': 'density', 'num_codes': 2, 'kernel': 'identity'},
  'medoids': {'name': 'medoids', 'num_codes': 2, 'norm': 'l1', 'seed': 0},
  'binning': {'name': 'grid', 'num_codes': 2},
}


def words(arg: str | None, **choices: tuple[str, ...]) -> dict[str, str]:
  """Reads `small,medoids`: one word of each choice, the first by default.

  Args:
    arg: what follows the colon after a config's name.
    **choices: for each thing to choose, the words there are.

  Raises:
    ValueError: on a word that belongs to no choice.
  """
  chosen = {name: options[0] for name, options in choices.items()}
  for word in filter(None, (arg or '').split(',')):
    owners = [name for name, options in choices.items() if word in options]
    if not owners:
      known = ', '.join(w for options in choices.values() for w in options)
      raise ValueError(f'unknown config name {word!r}; choose of: {known}.')
    chosen[owners[0]] = word
  return chosen


def model_run(method: str, **changes) -> dict:
  """One training run; `begin` is the model whose checkpoint it starts from."""
  run = {
    'method': method,
    'begin': '',
    'keep_optimizer': False,
    'discretized': False,
    'num_steps': 1000,
    'batch_size': 128,
    'learning_rate': 1e-3,
    'schedule': 'cosine',
    'reduction': 'mean',
    'eps_ramp': 0.0,
    'attack': {'name': 'pgd', 'num_steps': 0, 'step_size': 0.0, 'alpha': 10.0},
  }
  run['attack'] |= changes.pop('attack', {})
  return run | changes


def in_order(runs) -> list[str]:
  """Names of runs, each after the one it begins from.

  Raises:
    ValueError: where a run begins, perhaps through others, from itself.

  >>> in_order({'b': {'begin': 'c'}, 'c': {'begin': ''}})
  ['c', 'b']
  """
  order = ['']
  while len(order) <= len(runs):
    ready = [n for n in runs if n not in order and runs[n]['begin'] in order]
    if not ready:
      left = ', '.join(n for n in runs if n not in order)
      raise ValueError(f'runs {left} begin from no run of this config.')
    order += ready
  return order[1:]


def with_codebook(config, name: str, radius: float) -> None:
  """Sets the codebook by name; `radius` is Algorithm 1's, in [0, 1] units."""
  config.codebook_name = name
  extra = {'radius': radius} if name == 'density' else {}
  config.codebook = ml_collections.ConfigDict(CODEBOOKS[name] | extra)


def attack_run(name: str, on: str, **changes) -> dict:
  """One attack: at `threat.eps`, and at the radii of the curve.

  `on` is `plain`, `discretized` or `both`; `num_examples` and
  `curve_examples` are the first so many test images (0: all).
  """
  run = {
    'name': name,
    'on': on,
    'num_examples': 0,
    'curve': (),
    'curve_examples': 0,
    'num_steps': 100,
  }
  return run | changes


def six_settings(
  dataset: str, model: dict, eps: float, runs: dict, attacks: dict
) -> ml_collections.ConfigDict:
  """The skeleton.

  Args:
    dataset: name of the data.
    model: name and arguments of the network.
    eps: radius of training and of the tables, in [0, 1] pixel units.
    runs: `model_run`s by name (nat, adv, nat_re, adv_re), in training order.
    attacks: `attack_run`s by name.
  """
  return ml_collections.ConfigDict(
    {
      'name': dataset,
      'preset': 'small',
      'seed': 0,
      'data': {'name': dataset, 'train_examples': 0, 'test_examples': 0},
      'model': model,
      'threat': {'norm': 'linf', 'eps': eps},
      'defense': {'name': 'nearest_code', 'norm': 'linf'},
      'codebook_name': 'density',
      'codebook': CODEBOOKS['density'] | {'radius': 0.5},
      'pretrained': '',
      'checkpoint_every': 200,
      'log_every': 20,
      'runs': runs,
      'settings': tuple(SETTINGS),
      'attacks': attacks,
      'batch_size': 500,
      'strip': {'num_images': 8, 'attack': 'paper_a'},
    }
  )

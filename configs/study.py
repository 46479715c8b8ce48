"""What the configs have in common: whole studies, made of `configs/parts.py`.

`of_defenses` is the skeleton of any study; `six_settings` is paper A's, which
`configs/digits.py`, `configs/mnist.py` and `configs/fashion_mnist.py` fill in.
Every config takes an argument of comma-separated words: a preset (`small`,
`paper` or `smoke`) and, where it says so, a codebook.
"""

import ml_collections

from configs import parts

# setting: (which model, which defense in front of it, what it is)
SIX_SETTINGS = {
  'nat_pre': ('nat', 'none', 'natural training, no defense'),
  'adv_pre': ('adv', 'none', 'adversarial training, no defense'),
  'disc_nat_pre': ('nat', 'discretized', 'natural model behind T, unchanged'),
  'disc_adv_pre': (
    'adv',
    'discretized',
    'adversarial model behind T, unchanged',
  ),
  'disc_nat_re': ('nat_re', 'discretized', 'natural model re-trained on T(x)'),
  'disc_adv_re': (
    'adv_re',
    'discretized',
    'adversarial model re-trained on T(x)',
  ),
}

# Of these, those whose model has seen no attacks.
NATURAL = ('nat_pre', 'disc_nat_pre', 'disc_nat_re')


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


def check_defense(config, owner: str, name: str) -> None:
  """Raises `ValueError` where `owner` names no defense of the config."""
  if name not in config.defenses:
    listed = ', '.join(config.defenses)
    raise ValueError(
      f'{owner} names the defense {name!r}, which is none of this config: '
      f'{listed}.'
    )


def check_settings(config, only) -> None:
  """Raises `ValueError` where a study names what it has not.

  Args:
    config: of the study.
    only: settings that `--only` chooses.
  """
  for flag, names in (('--only', only), ('--config.only', config.only)):
    for name in names:
      if name not in config.settings:
        listed = ', '.join(config.settings)
        raise ValueError(
          f'{flag}={name} is no setting of this config: {listed}.'
        )
  for name, setting in config.settings.items():
    check_defense(config, f'setting {name}', setting.defense)
    if config.runs:  # and not weights of others
      _check_named(f'setting {name}: model', setting.model, config.runs)
  for name, attack in config.attacks.items():
    for kind in attack.on:
      _check_named(f'attack {name}: on', kind, parts.KINDS)
    if attack.source:
      _check_named(f'attack {name}: source', attack.source, config.settings)
  if not config.threat.unit > 0:
    raise ValueError(
      f'threat.unit={config.threat.unit} must be positive: radii are named in '
      'units of 1 / unit.'
    )
  _check_named('strip.attack', config.strip.attack, config.attacks)
  for name in config.radii_of:
    _check_named('radii_of', name, config.settings)


def _check_named(owner: str, name: str, known) -> None:
  if name not in known:
    raise ValueError(f'{owner}={name!r} is none of: {", ".join(known)}.')


def with_codebook(config, name: str, radius: float, num_codes: int = 2) -> None:
  """Sets the codebook by name; `radius` is Algorithm 1's, in [0, 1] units."""
  config.codebook_name = name if num_codes == 2 else f'{name}_k{num_codes}'
  extra = {'radius': radius} if name == 'density' else {}
  config.codebook = ml_collections.ConfigDict(
    parts.CODEBOOKS[name] | {'num_codes': num_codes, 'split': 'train'} | extra
  )


def of_defenses(
  name: str,
  dataset: str,
  model: dict,
  eps: float,
  runs: dict,
  defenses: dict,
  settings: dict,
  attacks: dict,
) -> ml_collections.ConfigDict:
  """The skeleton of any study: models, defenses, both together, attacks.

  Args:
    name: of the study; begins the keys of its figures.
    dataset: name of the data.
    model: name and arguments of the network.
    eps: radius of training and of the tables, in [0, 1] pixel units.
    runs: `model_run`s by name.
    defenses: name and arguments of each, by the name settings use.
    settings: `setting`s by name.
    attacks: `attack_run`s by name.
  """
  return ml_collections.ConfigDict(
    {
      'name': name,
      'title': name,
      'preset': 'small',
      'seed': 0,
      'data': {
        'name': dataset,
        'train_examples': 0,
        'test_examples': 0,
        'judged_on': 'test',  # or train, held_out (its rest), final (of nips17)
      },
      'model': model,
      'networks': {},  # others than `model`, by the name settings use
      # Conditions are named in units of 1 / unit: 255 counts grey levels.
      'threat': {'norm': 'linf', 'eps': eps, 'unit': 1},
      'defenses': defenses,
      'codebook_name': '',
      'codebook': {},
      'pretrained': '',
      'checkpoint_every': 200,
      'log_every': 20,
      'runs': runs,
      'settings': settings,
      'only': (),  # names of settings to evaluate and report; all if empty
      'radii_of': {},  # of settings with radii of their own
      'attacks': attacks,
      'num_draws': 20,  # of a randomised defense, to judge an example
      'batch_size': 500,
      'strip': {'num_images': 8, 'attack': next(iter(attacks))},
    }
  )


def smoke(config) -> None:
  """Makes a study small enough to show only that it runs."""
  config.preset = 'smoke'
  config.data.train_examples, config.data.test_examples = 256, 20
  config.batch_size, config.num_draws = 20, 3
  config.strip.num_images = 2
  for attack in config.attacks.values():
    attack.num_steps, attack.radii, attack.curve = 3, (), ()
    for name, few in (
      ('num_draws', 2),
      ('num_examples', 8),
      ('num_targets', 1),
    ):
      if attack.get(name):
        attack[name] = few
    if 'alphas' in attack:
      attack.alphas = attack.alphas[-1:]


def six_defenses() -> dict[str, dict]:
  """What stands in front of the models of paper A, by the settings' names."""
  return {
    'none': {'name': 'identity'},
    'discretized': {'name': 'nearest_code', 'norm': 'linf'},
  }


def six_settings(
  dataset: str, model: dict, eps: float, runs: dict, attacks: dict
) -> ml_collections.ConfigDict:
  """Paper A's six settings.

  Args:
    dataset: name of the data.
    model: name and arguments of the network.
    eps: radius of training and of the tables, in [0, 1] pixel units.
    runs: `model_run`s by name (nat, adv, nat_re, adv_re), in training order.
    attacks: `attack_run`s by name.
  """
  config = of_defenses(
    dataset,
    dataset,
    model,
    eps,
    runs,
    defenses=six_defenses(),
    settings={n: parts.setting(*s) for n, s in SIX_SETTINGS.items()},
    attacks=attacks,
  )
  config.title = f'{dataset}: six settings at eps {eps:g}'
  config.strip.attack = 'paper_a'
  with_codebook(config, 'density', 0.5)
  return config

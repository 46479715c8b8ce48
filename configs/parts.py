"""What studies are made of, as plain data: runs, settings, attacks, proofs.

Each function gives one part with its defaults; what is not said is as here.
"""

# What is attacked, by what is in front of the classifier: nothing, a
# deterministic transformation, a randomised one.
KINDS = ('plain', 'transformed', 'randomized')

CODEBOOKS = {
  'density': {'name': 'density', 'num_codes': 2, 'kernel': 'identity'},
  'medoids': {'name': 'medoids', 'num_codes': 2, 'norm': 'l1', 'seed': 0},
  'binning': {'name': 'grid', 'num_codes': 2},
}


def model_run(method: str, **changes) -> dict:
  """One training run; `begin` is the model whose checkpoint it starts from."""
  run = {
    'method': method,
    'seed': 0,  # added to that of the study
    'begin': '',
    'keep_optimizer': False,
    'defense': 'none',
    'eps': 0.0,  # 0 stands for that of the threat
    'num_steps': 1000,
    'batch_size': 128,
    'optimizer': 'adam',
    'learning_rate': 1e-3,
    'schedule': 'cosine',
    'boundaries': (),  # steps at which the rate falls; of the schedule `steps`
    'weight_decay': 0.0,
    'reduction': 'mean',
    'clip_norm': 0.0,
    'augment': {'padding': 0, 'flip': False},
    # Shares of the steps: at eps 0, then on the way to the whole eps.
    'eps_start': 0.0,
    'eps_ramp': 0.0,
    # Certified training: the weight of the loss without bounds at the end of
    # the ramp, and whether that is of attacked codes.
    'natural_weight': 1.0,
    'attacked': False,
    # Of adversarial training; here `step_size` is a multiple of eps.
    'attack': {'name': 'pgd', 'num_steps': 0, 'step_size': 0.0, 'alpha': 10.0},
  }
  run['attack'] |= changes.pop('attack', {})
  return run | changes


def setting(
  model: str, defense: str, description: str, network: str = ''
) -> dict:
  """What is evaluated: a model and, by their names, the defense before it.

  `network` is one of `config.networks`; by default `config.model`.
  """
  return {
    'model': model,
    'defense': defense,
    'description': description,
    'network': network,
  }


def attack_run(name: str, on: tuple[str, ...] = KINDS, **changes) -> dict:
  """One attack: at `radii`, or `threat.eps` alone, and at those of the curve.

  `on` says on which kinds of settings, see `KINDS`; `source` is the setting it
  is computed on, to be transferred to the others ('': on each itself);
  `precision` that of the network's products in the attack, lower than
  `highest` where that is faster (`high`, `default`); `num_examples` and
  `curve_examples` are the first so many test images (0: all).
  """
  run = {
    'name': name,
    'on': on,
    'source': '',
    'num_examples': 0,
    'radii': (),
    'curve': (),
    'curve_examples': 0,
    'num_steps': 100,
    'precision': 'highest',
  }
  return run | changes


def certification(**changes) -> dict:
  """How settings are certified at l_inf `radii`, or `config.radii_of`.

  Those are of paper A's Table IV by default; `num_examples` are the first so
  many test images (0: all). The nodes are of settings behind a codebook, the
  votes of randomised ones.
  """
  return {
    'radii': (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    'num_examples': 0,
    'max_nodes': 500,  # of an image
    'leaf_size': 16,  # nodes of so few images are enumerated
    'batch_size': 64,  # nodes at once
    'bounds': 'linear',  # or 'tables', see rdefense.certification
    'max_patterns': 1024,  # rows of a table
    'max_ambiguous': 0,  # pixels; one look at images with more (0: no limit)
    'table_iv': False,  # is paper A's Table IV about this?
    'num_votes': 1000,  # draws on an image
    'delta': 0.001,  # probability that the certificate of an image fails
    'shard_size': 100,  # images
    'key': '',  # of the figures published; the dataset's name if empty
    # Curves of several settings, each at radii of its own: name -> settings.
    'curves': {},
  } | changes


def honest_randomness(
  budget: int, num_draws: int, num_examples: int, alpha: float, eps: float
) -> dict[str, dict]:
  """What shows whether a randomised defense was attacked or only blurred.

  The randomness frozen to one known value and attacked by `adaptive`: what
  stands then is not due to randomness, and at radius 1/2, where any image can
  be made grey, nothing must. One budget of gradients spent on many steps of
  one draw and on few steps of `num_draws`; and draws a step from 1 to 64.

  Raises:
    ValueError: if the draws do not divide the budget.
  """
  if budget % num_draws:
    raise ValueError(
      f'budget={budget} is no multiple of num_draws={num_draws}: the two '
      'attacks would not cost the same.'
    )

  def run(**changes):
    return attack_run(
      'eot', ('randomized',), num_examples=num_examples, alpha=alpha, **changes
    )

  steps = budget // num_draws
  return {
    'frozen': attack_run(
      'adaptive',
      ('randomized',),
      num_examples=num_examples,
      num_steps=16,
      alphas=(4.0, alpha),
      radii=(eps, 0.5),
      frozen=True,
    ),
    f'eot1x{budget}': run(num_steps=budget, num_draws=1),
    f'eot{num_draws}x{steps}': run(num_steps=steps, num_draws=num_draws),
  } | {f'sweep{n}': run(num_steps=steps, num_draws=n) for n in (1, 4, 16, 64)}

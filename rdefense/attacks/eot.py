"""Recipes against randomised defenses: expectation over transformation.

Each step follows the gradient averaged over `num_draws` draws of the defense;
T steps of n draws cost (T + 1) n gradients an example. At one budget, many
steps of one draw and few steps of many draws are two attacks, and the stronger
counts: see `configs.parts.honest_randomness`.

References:
  Athalye, Engstrom, Ilyas, Kwok, Synthesizing robust adversarial examples,
  2018, https://arxiv.org/abs/1707.07397.
  Gao, Shumailov, Fawaz, Papernot, On the limitations of stochastic
  pre-processing defenses, 2022, https://arxiv.org/abs/2206.09491.
"""

from rdefense import checks, losses
from rdefense.attacks.assembly import Recipe
from rdefense.attacks.pgd import adam, sign

__all__ = [
  'eot',
  'paper_b',
  'paper_b_cw',
  'paper_b_imagenet',
  'strongest',
]

# One function each, so that what was compiled for it is found again.
_LOG_PROBABILITY = losses.log_probability(0.01)
_CW = losses.cw(50.0)


def eot(
  eps: float,
  num_steps: int = 40,
  num_draws: int = 20,
  average: str = 'loss',
  backward: str = 'bpda',
  alpha: float = 40.0,
  num_restarts: int = 1,
  start: str = 'random',
  keep: str = 'best',
  name: str = 'eot',
) -> tuple[Recipe, ...]:
  """Sign steps of 4 eps / num_steps on the averaged cross-entropy.

  Args:
    eps: radius in [0, 1] pixel units.
    num_steps: T.
    num_draws: n, fresh at each step; 0 attacks a deterministic defense.
    average: one of `gradients.AVERAGES`.
    backward: one of `defenses.BACKWARD`.
    alpha: steepness of the surrogate.
    num_restarts: copies side by side.
    start: one of `threats.STARTS`.
    keep: one of `pgd.KEEP`.
    name: of the recipe.

  Raises:
    ValueError: unless `num_steps` is a whole number of at least 1.
  """
  num_steps = checks.check_whole('num_steps', num_steps, 1)
  return (
    Recipe(
      name,
      losses.cross_entropy,
      sign,
      4 * eps / num_steps,
      num_steps,
      start=start,
      backward=backward,
      alpha=alpha,
      num_restarts=num_restarts,
      keep=keep,
      every_example=keep == 'last',
      num_draws=num_draws,
      average=average,
    ),
  )


def paper_b(
  eps: float, num_steps: int = 40, num_draws: int = 20, alpha: float = 40.0
) -> tuple[Recipe, ...]:
  """Paper B's attack: PGD on the averaged gradient of RandMix, last iterate.

  What it makes of RandMix is also what RandDisc is judged on. The start is
  uniform in the ball, here within [0, 1] at once.

  References:
    PROTOCOL B2: 40 steps of eps / 10 with 20 copies on MNIST, 10 with 100 on
    ImageNet; step and start are the code's, not the paper's.
  """
  return eot(
    eps,
    num_steps,
    num_draws,
    backward='surrogate',
    alpha=alpha,
    keep='last',
    name='paper_b',
  )


def paper_b_imagenet(
  eps: float, num_steps: int = 10, num_draws: int = 100, alpha: float = 40.0
) -> tuple[Recipe, ...]:
  """The same as the code runs it on ImageNet: PROTOCOL B2.

  From x itself, steps of 0.2 eps on log(0.01 + p_y). One draw's sign is that
  of the cross-entropy; averages of several weigh draws otherwise.
  """
  (recipe,) = paper_b(eps, num_steps, num_draws, alpha)
  return (
    recipe._replace(
      name='paper_b_imagenet',
      loss=_LOG_PROBABILITY,
      step_size=0.2 * eps,
      start='clean',
    ),
  )


def paper_b_cw(
  eps: float, num_steps: int = 10, num_draws: int = 100, alpha: float = 40.0
) -> tuple[Recipe, ...]:
  """The same with the loss of Carlini and Wagner at kappa 50 (B6, prose)."""
  (recipe,) = paper_b_imagenet(eps, num_steps, num_draws, alpha)
  return (recipe._replace(name='paper_b_cw', loss=_CW),)


def strongest(
  eps: float,
  num_steps: int = 60,
  num_draws: int = 20,
  alphas: tuple[float, ...] = (10.0, 40.0, 160.0),
  num_restarts: int = 1,
) -> tuple[Recipe, ...]:
  """Every average and loss, ways of differentiating, alphas and starts.

  An example is submitted as the recipe left it that did most harm on draws
  of its own; it is judged on others.

  Args:
    eps: radius in [0, 1] pixel units.
    num_steps: of each recipe.
    num_draws: of each gradient.
    alphas: steepnesses of the surrogate.
    num_restarts: copies side by side.

  Raises:
    ValueError: without any alpha: nothing would be attacked; unless `num_steps`
      is a whole number of at least 1.
  """
  num_steps = checks.check_whole('num_steps', num_steps, 1)
  if not alphas:
    raise ValueError(
      'alphas=() must not be empty: no attack would be left and every example '
      'would count as robust.'
    )
  common = Recipe(
    '',
    losses.cross_entropy,
    sign,
    4 * eps / num_steps,
    num_steps,
    num_restarts=num_restarts,
    num_draws=num_draws,
  )
  through_alphas = tuple(
    common._replace(
      name=f'log_probability/{way}{alpha:g}',
      average='log_probability',
      backward=way,
      alpha=alpha,
    )
    for alpha in alphas
    for way in ('bpda', 'surrogate')
  )
  middle = alphas[len(alphas) // 2]
  others = (
    common._replace(name='margin', loss=losses.margin, alpha=middle),
    common._replace(name='loss', alpha=middle, start='clean'),
    common._replace(
      name='loss/adam', optimizer=adam, step_size=eps / 8, alpha=middle
    ),
    common._replace(name='identity', backward='identity'),
  )
  return through_alphas + others

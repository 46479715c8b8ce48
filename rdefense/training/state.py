"""What training is at: parameters, optimiser, steps; and one step further."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rdefense.models.base import Classifier
from rdefense.types import Array, Key, PyTree

__all__ = ['TrainState', 'compiled', 'descend', 'initial']

# Of XLA's two libraries for CPUs (jaxlib 0.10.2) the newer one is slow at a
# convolution's derivative by the weights: `experiments.benchmark` compares
# them. The flag is experimental, and may go.
_CPU = {
  'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'
}


class TrainState(NamedTuple):
  """Everything a checkpoint holds."""

  step: Array  # shape=(), int32: steps taken
  params: PyTree
  opt_state: optax.OptState


def initial(
  classifier: Classifier,
  tx: optax.GradientTransformation,
  key: Key,
  x: Array,
) -> TrainState:
  """A fresh state.

  Args:
    classifier: the network.
    tx: its optimiser.
    key: consumed by the initialisation.
    x: one image `[H, W, C]` as the network sees it, after the defense.
  """
  params = classifier.init(key, x)
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params))


def descend(
  tx: optax.GradientTransformation,
  objective: Callable,
  state: TrainState,
  *batch,
) -> tuple[TrainState, dict[str, Array]]:
  """One step of the optimiser, and the metrics on the way.

  Args:
    tx: the optimiser.
    objective: `(params, *batch) -> (loss, (params, metrics))`; the params it
      gives are those of `state` with running statistics brought up to date.
    state: before the step.
    *batch: what else the objective takes.
  """
  grads, (params, metrics) = jax.grad(objective, has_aux=True)(
    state.params, *batch
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(params, updates)
  return TrainState(state.step + 1, params, opt_state), metrics


def compiled(update, copied, *rest) -> Callable:
  """Jits an update whose state is donated, by the shardings of its arguments.

  Args:
    update: `(state, *rest) -> (state, metrics)`.
    copied: sharding of the state and of the metrics.
    *rest: shardings of the other arguments.
  """
  return jax.jit(
    update,
    in_shardings=(copied, *rest),
    out_shardings=copied,
    donate_argnums=0,
    compiler_options=_options(jax.default_backend()),
  )


@functools.cache
def _options(backend: str) -> dict[str, str]:
  """How XLA is to compile a step, where it has that choice."""
  if backend != 'cpu':
    return {}
  try:
    jax.jit(lambda: 0, compiler_options=_CPU).lower().compile()
  except jax.errors.JaxRuntimeError:
    return {}
  return _CPU
